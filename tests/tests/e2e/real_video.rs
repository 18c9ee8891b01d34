//! Real surveillance video, where it lies beside the workspace.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use npyz::{NpyFile, WriterBuilder};

use crate::clips::sorted;
use crate::programs::workspace;
use crate::scores::{assert_same, served};
use crate::server::Server;
use crate::trained::{evaluate, train_on, trained};

/// A file or folder of the shared data, or nothing, said aloud.
pub(crate) fn shared(name: &str) -> Option<PathBuf> {
    let path = workspace().join("../shared/data").join(name);
    if path.exists() {
        return Some(path.canonicalize().unwrap());
    }
    println!("skipped: {} is not here", path.display());
    None
}

#[tokio::test]
async fn ped2_is_served_as_it_is_evaluated() {
    let Some(ped2) = shared("ped2") else { return };
    // One training video and test video 4, whose labels start after those of videos 1 to 3.
    let root = tempfile::tempdir().unwrap();
    for (half, video) in [("training", "01"), ("testing", "04")] {
        let frames = root.path().join(half).join("frames");
        fs::create_dir_all(&frames).unwrap();
        symlink(ped2.join(half).join("frames").join(video), frames.join(video)).unwrap();
    }
    let counts: Vec<usize> =
        sorted(&ped2.join("testing/frames")).iter().map(|video| sorted(video).len()).collect();
    let file = File::open(ped2.join("ped2_frame_labels.npy")).unwrap();
    let labels: Vec<u8> = NpyFile::new(file).unwrap().into_vec().unwrap();
    let before: usize = counts[..3].iter().sum();
    let mut file = File::create(root.path().join("frame_labels.npy")).unwrap();
    let writer = npyz::WriteOptions::new().default_dtype().shape(&[counts[3] as u64]);
    let mut writer = writer.writer(&mut file).begin_nd().unwrap();
    writer.extend(labels[before..before + counts[3]].iter().copied()).unwrap();
    writer.finish().unwrap();

    let checkpoint = root.path().join("ped2.safetensors");
    train_on(root.path(), &checkpoint).await;
    let evaluated = evaluate(&checkpoint, root.path(), &root.path().join("frames.jsonl")).await;
    let server = Server::start(&checkpoint).await;
    let served = served(&server, &root.path().join("testing/frames/04"), &[]).await;
    assert_eq!(served.len(), counts[3] - 4);
    assert_same(&served, &evaluated);
}

#[tokio::test]
async fn a_video_file_is_scored_frame_by_frame() {
    let Some(sample) = shared("sample/intel_one-by-one-person-detection.mp4") else { return };
    let trained = trained().await;
    let server = Server::start(&trained.checkpoint).await;
    let served = served(&server, &sample, &["--concurrency", "8"]).await;
    assert_eq!(served.len(), 1394 - 4);
    let frames: Vec<u64> = served.iter().map(|line| line["frame"].as_u64().unwrap()).collect();
    assert_eq!(frames, (4..1394).collect::<Vec<u64>>());
    assert!(served.iter().all(|line| line["psnr_db"].as_f64().unwrap() > 0.0));
}
