//! A clock that jumps changes nothing: nothing reads it.

use std::path::{Path, PathBuf};

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

#[test]
fn deadlines_timers_and_the_watchdog_know_monotonic_time_only() {
    let found = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    assert!(found.len() > 20, "{found:?}");
    for path in found {
        let text = std::fs::read_to_string(&path).unwrap();
        for clock in ["SystemTime", "UNIX_EPOCH", ".modified()"] {
            assert!(!text.contains(clock), "{} reads the wall clock by {clock}", path.display());
        }
    }
}
