//! The time between frames: of real files, thinned, kept in the cache, and in common.

use std::path::Path;
use std::process::Command;

use protoguard_core::FrameInterval;
use protoguard_datasets::{
    Dataset, DatasetError, DecodedVideo, FrameCache, Half, LoadOptions, Survey, SurveyOptions,
    common_interval, load,
};
use protoguard_frames::files::Video;
use protoguard_frames::pace::{Clock, Wanted};
use tempfile::TempDir;

use crate::fixture::{put_picture, shape};

/// Draws a file whose frame `n` is gray of level `4 n`, shown at `time` seconds, where `ffmpeg` is
/// installed.
#[must_use]
fn draw(path: &Path, frames: usize, time: &str, codec: &[&str]) -> bool {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let picture = "color=black:size=32x32:rate=25,format=gbrp,geq=r='4*N':g='4*N':b='4*N'";
    let drawn = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-f", "lavfi"])
        .args(["-i", &format!("{picture},settb=1/1000,setpts='({time})/TB'")])
        .args(["-frames:v", &frames.to_string(), "-fps_mode", "passthrough"])
        .args(codec)
        .arg(format!("file:{}", path.display()))
        .status();
    match drawn {
        Ok(status) => assert!(status.success()),
        Err(_) => println!("skipped: the program ffmpeg is not installed"),
    }
    drawn.is_ok()
}

const LOSSLESS: [&str; 4] = ["-c:v", "ffv1", "-pix_fmt", "bgr0"];
/// Twenty frames at 25 a second, the others at 10.
const NIGHTFALL: &str = "if(lt(N,20),0.04*N,0.8+0.1*(N-20))";

fn ms(milliseconds: f64) -> FrameInterval {
    milliseconds.try_into().unwrap()
}

fn read(root: &TempDir, wanted: Wanted) -> Result<Vec<Video>, DatasetError> {
    let clock = Clock { untimed: None, wanted };
    Dataset::open(root.path(), None).unwrap().videos_at(Half::Training, clock)
}

fn intervals(videos: &[Video]) -> Vec<Option<f64>> {
    videos.iter().map(|video| Some(video.pace.interval?.milliseconds().round())).collect()
}

/// Which frames these are, by their level.
fn numbers(video: &DecodedVideo) -> Vec<u8> {
    (0..video.len()).map(|at| video.frame(at).unwrap().unwrap().pixels()[0] / 4).collect()
}

fn loaded(videos: &[Video], cache: Option<&FrameCache>) -> Vec<Vec<u8>> {
    let options = LoadOptions { cache, ..LoadOptions::in_memory(shape()) };
    load(videos, &options, |_| ()).unwrap().iter().map(numbers).collect()
}

/// Files of 10, of 25 and of changing frames a second.
fn three_rates() -> Option<TempDir> {
    let root = tempfile::tempdir().unwrap();
    let drawn = draw(&root.path().join("1.mkv"), 12, "0.1*N", &LOSSLESS)
        && draw(&root.path().join("2.mkv"), 30, "0.04*N", &LOSSLESS)
        && draw(&root.path().join("3.mkv"), 30, NIGHTFALL, &LOSSLESS);
    drawn.then_some(root)
}

#[test]
fn files_tell_their_interval_in_every_container() {
    let root = tempfile::tempdir().unwrap();
    let reordered = ["-c:v", "mpeg4", "-bf", "2"];
    for name in ["1.mp4", "2.avi", "3.mkv"] {
        let codec = [&reordered[..], &["-r", "25"]].concat();
        if !draw(&root.path().join(name), 30, "0.04*N", &codec) {
            return;
        }
    }
    // A bare row of pictures has no rate.
    let bare = ["-c:v", "mjpeg", "-pix_fmt", "yuvj420p", "-f", "mjpeg"];
    assert!(draw(&root.path().join("4.mjpeg"), 12, "0.1*N", &bare));
    let found = read(&root, Wanted::AsTheyAre).unwrap();
    assert_eq!(intervals(&found), [Some(40.0), Some(40.0), Some(40.0), None]);
}

#[test]
fn frames_are_thinned_to_the_wanted_interval() {
    let Some(root) = three_rates() else { return };
    let all: Vec<Vec<u8>> = [12, 30, 30].map(|frames| (0..frames).collect()).into();
    let as_they_are = read(&root, Wanted::AsTheyAre).unwrap();
    assert_eq!(intervals(&as_they_are), [Some(100.0), Some(40.0), None]);
    assert_eq!(loaded(&as_they_are, None), all);

    let third: Vec<u8> = (0..30).step_by(3).collect();
    let grid: Vec<u8> = [0, 2, 5, 7, 10, 12, 15, 17].into_iter().chain(20..30).collect();
    let at = read(&root, Wanted::At(ms(100.0))).unwrap();
    assert_eq!(intervals(&at), [Some(100.0), Some(120.0), Some(100.0)]);
    assert_eq!(loaded(&at, None), [all[0].clone(), third, grid.clone()]);
    assert_eq!(at.iter().map(|video| video.all_frames(0)).collect::<Vec<_>>(), [0, 30, 30]);
    // Training lays video of no even rate on the grid that it keeps.
    let even = read(&root, Wanted::Even).unwrap();
    assert_eq!(loaded(&even, None), [all[0].clone(), all[1].clone(), grid]);

    let error = read(&root, Wanted::At(ms(40.0))).unwrap_err().to_string();
    assert!(error.contains("1.mkv") && error.contains("100.0 ms"), "{error}");
    assert!(error.contains("40.0 ms"), "{error}");
}

#[test]
fn the_cache_tells_thinned_frames_from_others() {
    let Some(root) = three_rates() else { return };
    let folder = tempfile::tempdir().unwrap();
    let cache = FrameCache::open(folder.path(), 1 << 30).unwrap();
    let wanted = [Wanted::AsTheyAre, Wanted::At(ms(100.0)), Wanted::At(ms(200.0))];
    for _ in 0..2 {
        for wanted in wanted {
            let videos = read(&root, wanted).unwrap();
            assert_eq!(loaded(&videos, Some(&cache)), loaded(&videos, None), "{wanted:?}");
        }
    }
    // The first file's frames are the same at 100 ms and as they are.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 8);
}

#[test]
fn videos_have_one_interval_or_are_named() {
    let Some(root) = three_rates() else { return };
    let error = common_interval(&read(&root, Wanted::Even).unwrap()).unwrap_err().to_string();
    let expected =
        "frames of video \"2\" are 40 ms apart (25 a second), those of \"3\" 100 ms apart";
    assert!(error.starts_with(expected) && error.contains("--train-fps"), "{error}");
    let videos = read(&root, Wanted::At(ms(100.0))).unwrap();
    let mean = common_interval(&videos).unwrap().unwrap();
    assert!((mean.milliseconds() - 320.0 / 3.0).abs() < 1.0, "{mean:?}");
    // Of a folder of frames nothing is known, so that nothing is of all.
    for frame in 0..6u8 {
        put_picture(&root.path().join("4").join(format!("{frame}.png")), 20, frame);
    }
    let videos = read(&root, Wanted::At(ms(100.0))).unwrap();
    assert_eq!(common_interval(&videos).unwrap(), None);
    assert_eq!(common_interval(&[]).unwrap(), None);
}

#[test]
fn folders_of_frames_are_of_the_rate_that_is_given() {
    let root = tempfile::tempdir().unwrap();
    for frame in 0..12u8 {
        put_picture(&root.path().join("1").join(format!("{frame}.png")), 16, 4 * frame);
    }
    let dataset = Dataset::open(root.path(), None).unwrap();
    let of = |untimed: Option<f64>, wanted| {
        let clock = dataset.clock(untimed.map(ms), wanted);
        dataset.videos_at(Half::Training, clock)
    };
    let thinned = of(Some(50.0), Wanted::At(ms(100.0))).unwrap();
    assert_eq!(thinned[0].known_frames(), Some(6));
    assert_eq!((thinned[0].all_frames(6), intervals(&thinned)), (12, vec![Some(100.0)]));
    assert_eq!(loaded(&thinned, None), [[0, 2, 4, 6, 8, 10]]);
    // Without a rate they are what they are.
    let unknown = of(None, Wanted::At(ms(100.0))).unwrap();
    assert_eq!((unknown[0].known_frames(), intervals(&unknown)), (Some(12), vec![None]));
    assert!(of(Some(250.0), Wanted::At(ms(100.0))).is_err());
}

#[test]
fn a_survey_tells_intervals_and_uneven_steps() {
    let Some(root) = three_rates() else { return };
    let dataset = Dataset::open(root.path(), None).unwrap();
    let survey = Survey::of(&dataset, SurveyOptions::default(), |_| ()).unwrap();
    let found = survey.halves[0].frame_intervals().unwrap();
    assert_eq!(found.map(|it| it.milliseconds().round()), [40.0, 100.0]);
    let uneven = &survey.oddities[0];
    assert!(!uneven.problem && uneven.message.contains("3.mkv\" is of no even rate"));
    let json = serde_json::to_value(&survey.halves[0].videos[1]).unwrap();
    assert_eq!((&json["frame_interval_ms"], &json["frames"]), (&40.0.into(), &30.into()));
}
