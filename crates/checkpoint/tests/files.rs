//! Writing a file and reading it, and files that are none or not whole.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod fixture;

use std::fs;

use protoguard_checkpoint::{Checkpoint, CheckpointError};

use fixture::{names, written};

#[test]
fn a_round_trip_loses_nothing() {
    let (folder, path, checkpoint) = written();
    let read = Checkpoint::read(&path).unwrap();
    assert_eq!(read, checkpoint);
    assert_eq!(read.version().len(), 12);
    assert!(read.content_hash().starts_with(read.version()));
    assert_eq!(names(folder.path()), ["model.safetensors"]);

    let again = folder.path().join("again.safetensors");
    read.write(&again).unwrap();
    assert_eq!(fs::read(&path).unwrap(), fs::read(&again).unwrap());
}

#[test]
fn a_header_is_not_looked_at_beyond_its_bound() {
    let (_folder, path, _) = written();
    // A header of exactly so many bytes, and then one more: blanks after JSON are JSON.
    let bytes = fs::read(&path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let (header, data) = bytes[8..].split_at(length);
    let with_header = |length: usize| {
        let blanks = vec![b' '; length - header.len()];
        [&(length as u64).to_le_bytes()[..], header, &blanks, data].concat()
    };
    fs::write(&path, with_header(4 << 20)).unwrap();
    Checkpoint::read(&path).unwrap();
    fs::write(&path, with_header((4 << 20) + 1)).unwrap();
    let error = Checkpoint::read(&path).unwrap_err().to_string();
    let expected = "its header has 4194305 bytes; at most 4194304 are expected";
    assert!(error.ends_with(expected), "{error}");
    // Nor is one written that could not be read.
    let mut content = fixture::content();
    content.training.data = "a".repeat(4 << 20);
    let error = Checkpoint::new(content).unwrap().write(&path).unwrap_err().to_string();
    assert!(error.ends_with("bytes; at most 4194304 are expected"), "{error}");
}

#[test]
fn a_truncated_file_is_recognised_wherever_it_ends() {
    let (_folder, path, _) = written();
    let bytes = fs::read(&path).unwrap();
    // What is expected is known once the length of the header is, and then the header.
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    for (length, expected) in [
        (0, 8),
        (7, 8),
        (8, header),
        (header - 1, header),
        (header, bytes.len()),
        (bytes.len() - 1, bytes.len()),
    ] {
        fs::write(&path, &bytes[..length]).unwrap();
        let error = Checkpoint::read(&path).unwrap_err();
        let (found, expected) = (length as u64, expected as u64);
        assert_eq!(error, CheckpointError::Truncated { path: path.clone(), found, expected });
    }
}

#[test]
fn other_files_are_no_checkpoints() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other");
    let plain = {
        let bytes = [0u8; 4];
        let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![1], &bytes);
        safetensors::serialize([("weight", view.unwrap())], None).unwrap()
    };
    let (_guard, checkpoint, _) = written();
    let mut longer = fs::read(checkpoint).unwrap();
    longer.push(0);
    let files: [&[u8]; 5] = [
        b"PK\x03\x04 a pickle of PyTorch in a zip archive",
        b"just some text, long enough to hold a header",
        &[0u8; 64],
        &plain,
        &longer,
    ];
    for bytes in files {
        fs::write(&path, bytes).unwrap();
        let error = Checkpoint::read(&path).unwrap_err();
        assert!(matches!(error, CheckpointError::NotACheckpoint { .. }), "{error}");
        assert!(!error.to_string().contains('\n'));
    }
    let error = Checkpoint::read(&path).unwrap_err().to_string();
    assert!(error.ends_with("it has 1 bytes after its last tensor"), "{error}");
}

#[test]
fn a_file_that_is_not_there_is_an_io_error() {
    let folder = tempfile::tempdir().unwrap();
    for path in [folder.path().join("absent"), folder.path().to_owned()] {
        let error = Checkpoint::read(&path).unwrap_err();
        assert!(matches!(error, CheckpointError::Io { action: "read", .. }), "{error}");
    }
    let path = folder.path().join("absent").join("model.safetensors");
    let error = Checkpoint::new(fixture::content()).unwrap().write(&path).unwrap_err();
    assert!(matches!(error, CheckpointError::Io { action: "written", .. }), "{error}");
}

#[test]
fn concurrent_writers_leave_one_whole_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let checkpoints: Vec<Checkpoint> = (0..4)
        .map(|seed| {
            let mut content = fixture::content();
            content.training.seed = seed;
            Checkpoint::new(content).unwrap()
        })
        .collect();
    std::thread::scope(|scope| {
        for checkpoint in &checkpoints {
            scope.spawn(|| (0..5).for_each(|_| checkpoint.write(&path).unwrap()));
        }
        scope.spawn(|| {
            // Whoever reads in the meantime sees a whole file or none.
            for _ in 0..10 {
                match Checkpoint::read(&path) {
                    Ok(read) => assert!(checkpoints.contains(&read)),
                    Err(error) => assert!(matches!(error, CheckpointError::Io { .. }), "{error}"),
                }
            }
        });
    });
    assert!(checkpoints.contains(&Checkpoint::read(&path).unwrap()));
    assert_eq!(names(folder.path()), ["model.safetensors"]);
}

#[test]
fn a_failed_write_leaves_the_old_file() {
    let (folder, path, checkpoint) = written();
    let blocked = folder.path().join("folder");
    fs::create_dir(&blocked).unwrap();
    let error = checkpoint.write(&blocked).unwrap_err();
    assert!(matches!(error, CheckpointError::Io { action: "written", .. }), "{error}");
    assert_eq!(Checkpoint::read(&path).unwrap(), checkpoint);
    let mut found = names(folder.path());
    found.sort();
    assert_eq!(found, ["folder", "model.safetensors"]);
}
