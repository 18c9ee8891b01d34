use serde_json::{Value, json};

use super::*;

/// A graph in the shape of `cargo metadata`, from `crate -> dependency` pairs and their kinds.
struct Fixture {
    members: Vec<&'static str>,
    arrows: Vec<(&'static str, &'static str, Option<&'static str>)>,
}

impl Fixture {
    /// The house as it should be.
    fn sound() -> Self {
        let members = ROOMS.iter().map(|room| room.name).collect();
        let mut arrows = vec![
            (CORE, "serde", None),
            (CORE, "proptest", Some("dev")),
            (MODEL, "tch", None),
            (TRAINER, "tch", None),
            ("tch", "torch-sys", None),
            (SERVICE, "tokio", None),
        ];
        for room in &ROOMS {
            arrows.extend(room.may_use.iter().map(|other| (room.name, *other, None)));
            arrows.extend(room.tests_may_use.iter().map(|other| (room.name, *other, Some("dev"))));
        }
        Self { members, arrows }
    }

    fn with(mut self, from: &'static str, to: &'static str, kind: Option<&'static str>) -> Self {
        self.arrows.push((from, to, kind));
        self
    }

    fn complaints(&self) -> Vec<String> {
        let outside = self.arrows.iter().flat_map(|(from, to, _)| [*from, *to]);
        let all: BTreeSet<&str> = outside.chain(self.members.iter().copied()).collect();
        let packages: Vec<Value> = all.iter().map(|name| package(name)).collect();
        let nodes: Vec<Value> = all.iter().map(|name| self.node(name)).collect();
        let members: Vec<String> = self.members.iter().map(|name| format!("id:{name}")).collect();
        let metadata = json!({
            "packages": packages, "workspace_members": members,
            "resolve": {"nodes": nodes},
            "target_directory": "/t", "workspace_root": "/w", "version": 1,
        });
        complaints(&serde_json::from_value(metadata).unwrap())
    }

    fn node(&self, name: &str) -> Value {
        let own = self.arrows.iter().filter(|(from, _, _)| *from == name);
        let deps: Vec<Value> = own.map(|(_, to, kind)| dependency(to, *kind)).collect();
        json!({"id": format!("id:{name}"), "dependencies": [], "deps": deps})
    }
}

fn package(name: &str) -> Value {
    json!({
        "id": format!("id:{name}"), "name": name, "version": "1.0.0", "manifest_path": "/w/Cargo.toml",
        "dependencies": [], "targets": [], "features": {},
    })
}

fn dependency(name: &str, kind: Option<&str>) -> Value {
    json!({"name": name, "pkg": format!("id:{name}"), "dep_kinds": [{"kind": kind}]})
}

#[test]
fn the_house_is_sound() {
    assert_eq!(Fixture::sound().complaints(), Vec::<String>::new());
}

#[test]
fn an_arrow_that_points_back_is_found() {
    let found = Fixture::sound().with(CORE, DATASETS, None).complaints();
    assert!(
        found.contains(
            &"protoguard-core -> protoguard-datasets is not an arrow of the house".to_owned()
        ),
        "{found:?}"
    );
    let found = Fixture::sound().with(PROTO, DATASETS, Some("build")).complaints();
    assert!(found[0].starts_with("protoguard-proto -> protoguard-datasets"), "{found:?}");
}

#[test]
fn tests_have_arrows_too() {
    let found = Fixture::sound().with(DATASETS, CLIENT, Some("dev")).complaints();
    assert_eq!(found, ["protoguard-datasets's tests may not use protoguard-client"]);
}

#[test]
fn libtorch_is_found_behind_other_crates() {
    let found = Fixture::sound().with("tokio", "torch-sys", None).complaints();
    assert!(
        found.contains(
            &"protoguard-service reaches torch-sys; it must build without libtorch".to_owned()
        ),
        "{found:?}"
    );
    // The client only tests with the service: that counts.
    assert!(found.iter().any(|line| line.starts_with("protoguard-client reaches")), "{found:?}");
    let found = Fixture::sound().with(CLIENT, "tch", Some("dev")).complaints();
    assert!(
        found.iter().any(|line| line.starts_with("protoguard-client reaches tch")),
        "{found:?}"
    );
}

#[test]
fn tensors_stay_where_they_are() {
    let found = Fixture::sound().with(SERVER, "tch", None).complaints();
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("protoguard-server names tch"), "{found:?}");
}

#[test]
fn a_misspelt_name_fails() {
    let mut fixture = Fixture::sound();
    fixture.members.retain(|name| *name != CLIENT);
    fixture.members.push("protoguard-cliend");
    let found = fixture.complaints();
    assert!(
        found.contains(
            &"protoguard-cliend is a crate of the workspace without a row in ROOMS".to_owned()
        ),
        "{found:?}"
    );
    assert!(
        found.contains(&"protoguard-client has a row in ROOMS but is no crate".to_owned()),
        "{found:?}"
    );

    let mut fixture = Fixture::sound();
    for arrow in &mut fixture.arrows {
        arrow.1 = if arrow.1 == "torch-sys" { "torchsys" } else { arrow.1 };
    }
    assert_eq!(fixture.complaints(), ["torch-sys of LIBTORCH is nowhere in the graph"]);
}

#[test]
fn core_stays_small() {
    let found = Fixture::sound().with(CORE, "tokio", None).complaints();
    assert_eq!(found, ["protoguard-core uses tokio; only serde and thiserror may be"]);
}

#[test]
fn this_workspace_holds() {
    let workspace = protoguard_launch::workspace::Workspace::locate().unwrap();
    let found = complaints(&workspace.metadata().unwrap());
    assert_eq!(found, Vec::<String>::new());
}
