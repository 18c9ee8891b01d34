//! The set-up against a package index in a folder.

use super::super::index::{Index, TORCH};
use super::*;

fn fetch(home: &Index, wheels: &Wheels) -> Result<()> {
    wheels.fetch(&home.at("downloads"), &home.at("view"))
}

fn downloads(home: &Index) -> Vec<String> {
    let entries = fs::read_dir(home.at("downloads")).unwrap().map(Result::unwrap);
    let wheels = entries.filter(|entry| entry.metadata().unwrap().is_file());
    wheels.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

#[test]
fn what_is_pinned_becomes_a_view() {
    let home = Index::draw();
    fetch(&home, &home.wheels()).unwrap();
    view::finish(&home.at("view")).unwrap();
    assert!(view::is_complete(&home.at("view")));
    assert!(!home.at("view/lib/libtorch_cuda.so").exists());
}

#[test]
fn a_finished_download_is_kept_and_a_broken_one_is_made_again() {
    let home = Index::draw();
    fetch(&home, &home.wheels()).unwrap();
    assert_eq!(downloads(&home).len(), 3);
    let cupti = "nvidia_cuda_cupti-13.0.85-py3-none-manylinux_2_25_x86_64.whl";
    fs::write(home.at("downloads").join(cupti), "the first half").unwrap();
    // A page that still names torch's wheel, which the index has no more.
    fs::remove_file(home.at("simple/torch").join(TORCH)).unwrap();
    view::remove(&home.at("view")).unwrap();
    fetch(&home, &home.wheels()).unwrap();
    view::finish(&home.at("view")).unwrap();
}

#[test]
fn a_file_that_is_not_the_pinned_one_is_refused_and_not_kept() {
    let home = Index::draw();
    let wheel = home.at("simple/torch").join(TORCH);
    let mut bytes = fs::read(&wheel).unwrap();
    bytes[100] ^= 1;
    fs::write(&wheel, bytes).unwrap();
    let message = fetch(&home, &home.wheels()).unwrap_err().to_string();
    assert!(message.starts_with("a package is not the one whose sha256"), "{message}");
    let kept = downloads(&home);
    assert!(kept.len() == 2 && !kept.contains(&TORCH.to_owned()), "those before it: {kept:?}");
    assert!(!home.at("view").exists());
}

#[test]
fn without_network_the_message_says_what_to_check() {
    // Nobody listens on the port of `discard`.
    let home = Index::draw();
    let wheels = Wheels { index: Some("http://127.0.0.1:9/simple".to_owned()), ..home.wheels() };
    let message = fetch(&home, &wheels).unwrap_err().to_string();
    assert!(message.starts_with("the package index cannot be reached"), "{message}");
    assert!(message.contains("check the network"), "{message}");
}

#[test]
fn a_disk_that_is_too_small_is_refused_before_anything_is_fetched() {
    let here = tempfile::tempdir().unwrap();
    need_space(here.path(), 1).unwrap();
    fs::write(here.path().join(TORCH), "present").unwrap();
    let message = need_space(here.path(), u64::MAX).unwrap_err().to_string();
    assert!(message.ends_with("18446744073710 MB are needed for libtorch"), "{message}");
}

#[test]
fn what_an_interruption_left_behind_counts_as_free() {
    let home = Index::draw();
    let left = home.at("downloads/unfinished/pip-unpack");
    fs::create_dir_all(&left).unwrap();
    fs::write(left.join(TORCH), "the first half").unwrap();
    let message =
        fetch(&home, &Wheels { needed: u64::MAX, ..home.wheels() }).unwrap_err().to_string();
    assert!(message.ends_with("MB are needed for libtorch"), "{message}");
    assert!(!left.exists(), "it is removed before free space is counted");
}

#[test]
fn a_requirement_is_read_with_all_its_hashes() {
    let text =
        "# two\n\na==1 \\\n    --hash=sha256:1 \\\n    --hash=sha256:2\nb==2 --hash=sha256:3\n";
    let read = ["a==1      --hash=sha256:1      --hash=sha256:2", "b==2 --hash=sha256:3"];
    assert_eq!(pins(text), read);
}

#[test]
fn every_pin_has_a_hash_and_the_versions_that_are_linked() {
    let wheels = Wheels::pinned(&Workspace::locate().unwrap());
    let pins = pins(&fs::read_to_string(wheels.requirements).unwrap());
    assert_eq!(pins.len(), 3);
    for pin in &pins {
        let mut words = pin.split_whitespace();
        assert!(words.next().unwrap().contains("=="), "{pin}");
        let hashes: Vec<_> = words.map(|word| word.strip_prefix("--hash=sha256:")).collect();
        let digits = |hash: &str| hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit());
        assert!(!hashes.is_empty() && hashes.iter().all(|hash| hash.is_some_and(digits)), "{pin}");
    }
    // The largest comes last.
    assert!(pins[2].starts_with(&format!("torch=={} ", super::super::VERSION)), "{pins:?}");
}
