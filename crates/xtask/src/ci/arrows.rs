//! The arrows between the rooms, checked on cargo's own metadata.
//!
//! A negated `cargo tree` also passes on a misspelt name. Here every name in the tables must exist
//! in the graph, and every crate of the workspace must have a row, so a renamed crate breaks the
//! check instead of passing it.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Metadata, NodeDep};
use protoguard_launch::workspace::WITH_LIBTORCH;

/// A crate of the workspace and what it may use of the others.
struct Room {
    name: &'static str,
    may_use: &'static [&'static str],
    /// What its tests may use besides.
    tests_may_use: &'static [&'static str],
}

const CORE: &str = "protoguard-core";
const FRAMES: &str = "protoguard-frames";
const DATASETS: &str = "protoguard-datasets";
const CHECKPOINT: &str = "protoguard-checkpoint";
const KERNELS: &str = "protoguard-kernels";
const MODEL: &str = "protoguard-model";
const PROTO: &str = "protoguard-proto";
const SERVICE: &str = "protoguard-service";
const TRAINER: &str = "protoguard-trainer";
const SERVER: &str = "protoguard-server";
const CLIENT: &str = "protoguard-client";
const FUZZ: &str = "protoguard-fuzz";
const LAUNCH: &str = "protoguard-launch";

/// ARCHITECTURE.md shows the same arrows.
const ROOMS: [Room; 16] = [
    Room { name: CORE, may_use: &[], tests_may_use: &[] },
    Room { name: FRAMES, may_use: &[CORE], tests_may_use: &[] },
    Room { name: DATASETS, may_use: &[CORE, FRAMES], tests_may_use: &[] },
    Room { name: CHECKPOINT, may_use: &[CORE], tests_may_use: &[FUZZ] },
    Room { name: KERNELS, may_use: &[], tests_may_use: &[] },
    Room { name: MODEL, may_use: &[CORE, CHECKPOINT, KERNELS], tests_may_use: &[FUZZ] },
    Room {
        name: TRAINER,
        may_use: &[CORE, FRAMES, DATASETS, CHECKPOINT, KERNELS, MODEL],
        tests_may_use: &[FUZZ],
    },
    Room { name: PROTO, may_use: &[CORE], tests_may_use: &[] },
    Room { name: SERVICE, may_use: &[CORE, FRAMES, PROTO], tests_may_use: &[FUZZ] },
    Room {
        name: SERVER,
        may_use: &[CORE, SERVICE, CHECKPOINT, KERNELS, MODEL],
        tests_may_use: &[FUZZ],
    },
    // Its tests meet the service in the same process, with a scorer that needs no libtorch.
    Room { name: CLIENT, may_use: &[CORE, FRAMES, PROTO], tests_may_use: &[SERVICE] },
    // Its mutator needs nothing of ours; its targets, a feature, read what the network sends.
    Room { name: FUZZ, may_use: &[CORE, FRAMES, PROTO, SERVICE], tests_may_use: &[] },
    Room { name: LAUNCH, may_use: &[], tests_may_use: &[] },
    Room { name: "protoguard-lab", may_use: &[LAUNCH], tests_may_use: &[] },
    Room { name: "xtask", may_use: &[LAUNCH], tests_may_use: &[] },
    Room {
        name: "protoguard-tests",
        may_use: &[
            CORE, FRAMES, DATASETS, CHECKPOINT, KERNELS, MODEL, TRAINER, PROTO, SERVICE, SERVER,
            CLIENT, FUZZ,
        ],
        tests_may_use: &[],
    },
];

/// Bindings to libtorch. Only crates of [`WITH_LIBTORCH`] may reach them, by any path.
const LIBTORCH: [&str; 2] = ["tch", "torch-sys"];

/// Crates that may name tch themselves: tensors stay here.
const TENSORS: [&str; 3] = [KERNELS, MODEL, TRAINER];

/// All that core may use from outside the workspace.
const CORE_MAY_USE: [&str; 2] = ["serde", "thiserror"];

/// What breaks the architecture, one line each; none when it holds.
pub(super) fn complaints(metadata: &Metadata) -> Vec<String> {
    let graph = Graph::new(metadata);
    let mut complaints = graph.unknown_names();
    for room in &ROOMS {
        complaints.extend(graph.arrows(room));
    }
    complaints.extend(graph.libtorch());
    complaints.extend(graph.outside_core());
    complaints
}

/// Direct dependencies by crate name; two versions of a crate count as one.
#[derive(Default)]
struct Graph<'a> {
    members: BTreeSet<&'a str>,
    needs: BTreeMap<&'a str, BTreeSet<&'a str>>,
    tests_need: BTreeMap<&'a str, BTreeSet<&'a str>>,
}

impl<'a> Graph<'a> {
    fn new(metadata: &'a Metadata) -> Self {
        let members =
            metadata.workspace_packages().into_iter().map(|it| it.name.as_str()).collect();
        let mut graph = Self { members, ..Self::default() };
        for node in metadata.resolve.iter().flat_map(|resolve| &resolve.nodes) {
            let name = metadata[&node.id].name.as_str();
            for dependency in &node.deps {
                let side =
                    if is_dev_only(dependency) { &mut graph.tests_need } else { &mut graph.needs };
                side.entry(name).or_default().insert(metadata[&dependency.pkg].name.as_str());
            }
            graph.needs.entry(name).or_default();
        }
        graph
    }

    fn needs(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.needs.get(name).into_iter().flatten().copied()
    }

    fn tests_need(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.tests_need.get(name).into_iter().flatten().copied()
    }

    fn unknown_names(&self) -> Vec<String> {
        let rooms: BTreeSet<&str> = ROOMS.iter().map(|room| room.name).collect();
        let without_row = self.members.difference(&rooms);
        let without_crate = rooms.difference(&self.members);
        let heavy = WITH_LIBTORCH.iter().filter(|name| !self.members.contains(*name));
        let bindings = LIBTORCH.iter().filter(|name| !self.needs.contains_key(*name));
        without_row
            .map(|name| format!("{name} is a crate of the workspace without a row in ROOMS"))
            .chain(without_crate.map(|name| format!("{name} has a row in ROOMS but is no crate")))
            .chain(heavy.map(|name| format!("{name} of WITH_LIBTORCH is no crate")))
            .chain(bindings.map(|name| format!("{name} of LIBTORCH is nowhere in the graph")))
            .collect()
    }

    fn arrows(&self, room: &Room) -> Vec<String> {
        let name = room.name;
        let inside = |other: &&str| self.members.contains(other);
        let allowed = |other: &&str| room.may_use.contains(other);
        let for_tests = |other: &&str| allowed(other) || room.tests_may_use.contains(other);
        let wrong = self.needs(name).filter(inside).filter(|other| !allowed(other));
        let wrong_in_tests = self.tests_need(name).filter(inside).filter(|other| !for_tests(other));
        wrong
            .map(|other| format!("{name} -> {other} is not an arrow of the house"))
            .chain(wrong_in_tests.map(|other| format!("{name}'s tests may not use {other}")))
            .collect()
    }

    fn libtorch(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        for &name in &self.members {
            let light = !WITH_LIBTORCH.contains(&name);
            let reached = self.reached(name);
            for binding in LIBTORCH {
                if light && reached.contains(binding) {
                    complaints
                        .push(format!("{name} reaches {binding}; it must build without libtorch"));
                }
                let direct =
                    self.needs(name).chain(self.tests_need(name)).any(|other| other == binding);
                if direct && !TENSORS.contains(&name) {
                    complaints.push(format!(
                        "{name} names {binding}; tensors stay in {}",
                        TENSORS.join(", ")
                    ));
                }
            }
        }
        complaints
    }

    /// Everything that building a crate and its tests compiles.
    fn reached(&self, name: &'a str) -> BTreeSet<&'a str> {
        let mut reached = BTreeSet::new();
        let mut waiting: Vec<&str> = self.tests_need(name).collect();
        waiting.push(name);
        while let Some(next) = waiting.pop() {
            if reached.insert(next) {
                waiting.extend(self.needs(next));
            }
        }
        reached
    }

    fn outside_core(&self) -> Vec<String> {
        let foreign = self.needs(CORE).filter(|name| !CORE_MAY_USE.contains(name));
        foreign
            .map(|name| format!("{CORE} uses {name}; only {} may be", CORE_MAY_USE.join(" and ")))
            .collect()
    }
}

/// Whether tests, benches and examples alone need it.
fn is_dev_only(dependency: &NodeDep) -> bool {
    dependency.dep_kinds.iter().all(|it| it.kind == DependencyKind::Development)
}

#[cfg(test)]
mod tests;
