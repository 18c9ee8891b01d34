//! The arrows between the modules of a crate: short cycles only, and rooms in their order.
//!
//! Cargo refuses a cycle of crates, and nothing refuses one of modules, which ties files together
//! so that none can be read, tested or moved without the others.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod graph;
mod source;

use std::fs;
use std::path::{Path, PathBuf};

use graph::{Graph, Room};

/// As many files may import one another in a circle.
const LONGEST_CYCLE: usize = 4;

/// The rooms of the service, lowest first. ARCHITECTURE.md shows the same table.
const SERVICE: [Room; 13] = [
    Room { name: "error", may_use: &[] },
    Room { name: "file_stamp", may_use: &[] },
    Room { name: "metrics", may_use: &[] },
    Room { name: "health", may_use: &[] },
    Room { name: "transport", may_use: &["health", "metrics", "error", "file_stamp"] },
    Room { name: "queue", may_use: &["metrics", "error"] },
    Room { name: "worker", may_use: &["queue", "health", "metrics", "error"] },
    Room { name: "config", may_use: &["queue", "transport"] },
    Room {
        name: "registry",
        may_use: &["config", "worker", "queue", "health", "metrics", "error", "file_stamp"],
    },
    Room { name: "rpc", may_use: BELOW },
    Room { name: "serve_error", may_use: BELOW },
    Room { name: "service", may_use: ALL },
    Room { name: "testing", may_use: ALL },
];

/// What lies below the life of a server.
const BELOW: &[&str] = ALL.split_at(2).1;
/// What tests may use: the life of a server and why it ends, and the rest.
const ALL: &[&str] = &[
    "service",
    "serve_error",
    "rpc",
    "registry",
    "config",
    "worker",
    "queue",
    "transport",
    "health",
    "metrics",
    "error",
    "file_stamp",
];

fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The roots of a crate's library and programs.
fn roots(source: &Path) -> Vec<PathBuf> {
    let programs = fs::read_dir(source.join("bin")).into_iter().flatten();
    let programs = programs.map(|entry| entry.unwrap().path().join("main.rs"));
    let usual = ["lib.rs", "main.rs"].map(|name| source.join(name));
    usual.into_iter().chain(programs).filter(|it| it.exists()).collect()
}

#[test]
fn cycles_of_modules_are_short() {
    let mut seen = 0;
    let mut complaints = Vec::new();
    for entry in fs::read_dir(crates()).unwrap() {
        let folder = entry.unwrap().path();
        for root in roots(&folder.join("src")) {
            seen += 1;
            for cycle in Graph::read(&root).unwrap().cycles() {
                if cycle.len() > LONGEST_CYCLE {
                    let name = folder.file_name().unwrap().display();
                    complaints.push(format!(
                        "{name}: {} files import one another in a circle: {}",
                        cycle.len(),
                        cycle.join(", ")
                    ));
                }
            }
        }
    }
    assert!(seen > 10, "{seen} crates were read");
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn rooms_of_the_service_use_those_that_they_may() {
    let root = crates().join("service/src/lib.rs");
    let graph = Graph::read(&root).unwrap();
    let complaints = graph.complaints(&SERVICE);
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    // A parent and its child at most.
    assert!(graph.cycles().iter().all(|cycle| cycle.len() <= 2), "{:?}", graph.cycles());
}

/// Writes a crate whose files are `(path, content)`, and reads its graph.
fn graph_of(files: &[(&str, &str)]) -> Graph {
    let folder = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    Graph::read(&folder.path().join("lib.rs")).unwrap()
}

#[test]
fn every_way_to_name_another_module_is_an_arrow() {
    for body in [
        "use crate::b::B;",
        "use super::b::{self, B};",
        "use crate::{b::B as Other};",
        "fn f() { crate::b::make(); }",
        "fn f(b: &super::b::B) {}",
        "fn f() { println!(\"{}\", crate::b::make()); }",
        // The root passes this name on.
        "use crate::B;",
        "mod inner { use super::super::b::B; }",
    ] {
        let graph = graph_of(&[
            ("lib.rs", "mod a; mod b; pub use b::B;"),
            ("a.rs", body),
            ("b.rs", "use crate::a::A;"),
        ]);
        assert_eq!(graph.cycles(), [["a.rs", "b.rs"]], "{body}");
    }
}

#[test]
fn a_module_that_is_only_passed_through_or_used_by_tests_is_no_arrow() {
    for body in [
        "pub(in crate::b) fn f() {}",
        "#[cfg(test)] mod tests { use crate::b::B; }",
        "#[cfg(test)] use crate::b::B;",
        "use b::B;",
        "// use crate::b::B;",
        "use crate::b::below::Below;",
    ] {
        let graph = graph_of(&[
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", body),
            ("b/mod.rs", "mod below; use crate::a::A;"),
            ("b/below.rs", ""),
        ]);
        assert!(graph.cycles().is_empty(), "{body}: {:?}", graph.cycles());
    }
}

#[test]
fn a_parent_and_its_child_may_be_a_cycle() {
    let graph = graph_of(&[
        ("lib.rs", "mod a; mod c;"),
        ("a.rs", "mod child; use child::Child; pub struct A;"),
        ("a/child.rs", "use super::A; use crate::c::C;"),
        ("c.rs", ""),
    ]);
    assert_eq!(graph.cycles(), [["a.rs", "a/child.rs"]]);
}

#[test]
fn an_arrow_that_is_not_drawn_and_a_module_without_a_room_are_named() {
    let graph = graph_of(&[
        ("lib.rs", "mod low; mod high; mod new;"),
        ("low.rs", "mod inner;"),
        ("low/inner.rs", "use crate::high::High;"),
        ("high.rs", "use crate::low::Low;"),
        ("new.rs", ""),
    ]);
    let room = |name, may_use| Room { name, may_use };
    let all = graph_of(&[("lib.rs", "mod low; pub use low::Low;"), ("low.rs", "use crate::*;")]);
    assert_eq!(all.complaints(&[room("low", &[])]), ["low.rs uses lib.rs, which low may not"]);
    assert_eq!(
        graph.complaints(&[room("low", &[]), room("high", &["low"]), room("gone", &[])]),
        [
            "low/inner.rs uses high.rs, which low may not",
            "new is a module without a room",
            "gone is a room without a module"
        ]
    );
    let drawn = [room("low", &["high"]), room("high", &["low"]), room("new", &[])];
    assert!(graph.complaints(&drawn).is_empty());
}
