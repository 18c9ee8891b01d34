//! The files of a crate and which of them names which.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::source::{Named, Source};

/// Names of modules from the root of the crate, which is empty.
type Module = Vec<String>;

/// So many re-exports are followed to where a name is defined.
const LONGEST_WAY: usize = 8;

struct File {
    /// Relative to the root's folder.
    path: String,
    source: Source,
}

/// A top-level module and those that it may use besides itself.
pub(crate) struct Room {
    pub(crate) name: &'static str,
    pub(crate) may_use: &'static [&'static str],
}

/// The modules of one crate that are files.
pub(crate) struct Graph {
    files: BTreeMap<Module, File>,
    arrows: BTreeMap<Module, BTreeSet<Module>>,
}

impl Graph {
    /// Reads a crate from its `lib.rs` or `main.rs`.
    pub(crate) fn read(root: &Path) -> io::Result<Self> {
        let folder = root.parent().unwrap_or(Path::new(""));
        let mut files = BTreeMap::new();
        let mut waiting = vec![(Module::new(), root.to_owned(), folder.to_owned())];
        while let Some((module, path, below)) = waiting.pop() {
            let source = Source::parse(&fs::read_to_string(&path)?)
                .map_err(|error| io::Error::other(format!("{}: {error}", path.display())))?;
            for child in &source.children {
                let mut module = module.clone();
                module.push(child.clone());
                waiting.push((module, file_of(&below, child), below.join(child)));
            }
            let path = path.strip_prefix(folder).unwrap_or(&path).display().to_string();
            files.insert(module, File { path, source });
        }
        let mut graph = Self { files, arrows: BTreeMap::new() };
        graph.arrows =
            graph.files.iter().map(|(it, file)| (it.clone(), graph.used(it, file))).collect();
        Ok(graph)
    }

    /// The other modules whose items a file names.
    fn used(&self, module: &Module, file: &File) -> BTreeSet<Module> {
        let named = file.source.named.iter();
        named
            .filter_map(|it| self.definer(module, it, LONGEST_WAY))
            .filter(|it| it != module)
            .collect()
    }

    /// The module that defines what a path names, if it is one of this crate.
    fn definer(&self, module: &Module, named: &Named, ways_left: usize) -> Option<Module> {
        let (mut at, mut rest) = self.start(module, named)?;
        while let Some(next) = rest.first() {
            let mut child = at.clone();
            child.push(next.clone());
            if !self.files.contains_key(&child) {
                break;
            }
            at = child;
            rest = &rest[1..];
        }
        let passed_on = &self.files[&at].source.passed_on;
        let from = rest.first().and_then(|name| passed_on.iter().find(|(it, _)| it == name));
        let Some((_, path)) = from else { return Some(at) };
        if ways_left == 0 {
            return Some(at);
        }
        let path = path.iter().chain(&rest[1..]).cloned().collect();
        // A name of another crate that is passed on is this module's as far as arrows go.
        Some(self.definer(&at, &Named { path, depth: 0 }, ways_left - 1).unwrap_or(at))
    }

    /// The module where a path begins, and what follows.
    fn start<'a>(&self, module: &Module, named: &'a Named) -> Option<(Module, &'a [String])> {
        let mut at = module.clone();
        let mut depth = named.depth;
        let mut rest: &[String] = &named.path;
        match rest.first()?.as_str() {
            "crate" => (at.clear(), rest = &rest[1..]).1,
            "self" => rest = &rest[1..],
            "super" => {
                while rest.first().is_some_and(|it| it == "super") {
                    match depth {
                        0 => drop(at.pop()?),
                        _ => depth -= 1,
                    }
                    rest = &rest[1..];
                }
            }
            child
                if depth == 0
                    && self.files[module].source.children.iter().any(|it| it == child) => {}
            _ => return None,
        }
        Some((at, rest))
    }

    /// Sets of files that reach one another, longest first, each in the order of its names.
    pub(crate) fn cycles(&self) -> Vec<Vec<&str>> {
        let reached: BTreeMap<&Module, BTreeSet<&Module>> =
            self.files.keys().map(|it| (it, self.reached(it))).collect();
        let mut cycles = BTreeSet::new();
        for (from, to) in &reached {
            let cycle: BTreeSet<&str> = to
                .iter()
                .filter(|it| reached[**it].contains(from))
                .map(|it| self.files[*it].path.as_str())
                .collect();
            if cycle.len() > 1 {
                cycles.insert(cycle);
            }
        }
        let mut cycles: Vec<Vec<&str>> =
            cycles.into_iter().map(|it| it.into_iter().collect()).collect();
        cycles.sort_by_key(|it| std::cmp::Reverse(it.len()));
        cycles
    }

    fn reached<'a>(&'a self, from: &'a Module) -> BTreeSet<&'a Module> {
        let mut reached = BTreeSet::new();
        let mut waiting = vec![from];
        while let Some(next) = waiting.pop() {
            for to in &self.arrows[next] {
                if reached.insert(to) {
                    waiting.push(to);
                }
            }
        }
        reached
    }

    /// Arrows between top-level modules that are not drawn, and modules and rooms that are one and
    /// not the other. The root may use all, and nobody the root.
    pub(crate) fn complaints(&self, rooms: &[Room]) -> Vec<String> {
        let mut complaints = Vec::new();
        for (from, arrows) in &self.arrows {
            let Some(room) = from.first().and_then(|name| rooms.iter().find(|it| it.name == name))
            else {
                continue;
            };
            let is_drawn = |to: &&Module| {
                to.first().is_some_and(|it| it == room.name || room.may_use.contains(&it.as_str()))
            };
            complaints.extend(arrows.iter().filter(|to| !is_drawn(to)).map(|to| {
                let [user, used] = [from, to].map(|it| &self.files[it].path);
                format!("{user} uses {used}, which {} may not", room.name)
            }));
        }
        let modules = || self.files.keys().filter(|it| it.len() == 1).map(|it| it[0].as_str());
        let without = modules().filter(|name| !rooms.iter().any(|room| room.name == *name));
        complaints.extend(without.map(|name| format!("{name} is a module without a room")));
        let gone = rooms.iter().filter(|room| !modules().any(|name| name == room.name));
        complaints.extend(gone.map(|room| format!("{} is a room without a module", room.name)));
        complaints
    }
}

/// Where a module's file lies, below the folder of its parent's modules.
fn file_of(below: &Path, name: &str) -> PathBuf {
    let flat = below.join(format!("{name}.rs"));
    if flat.exists() { flat } else { below.join(name).join("mod.rs") }
}
