//! The camera's own state on real video: normal video of another part of the same camera raises
//! none, and each fault its own within ten frames.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
#![allow(clippy::print_stdout, reason = "a skipped test says so, and numbers are told")]

use std::path::{Path, PathBuf};

use protoguard_core::{CHANNELS, CameraBounds, CameraState, CameraWatch, ClipShape, Frame, Look};
use protoguard_datasets::{Dataset, DecodedVideo, Half, LoadOptions, load};
use protoguard_frames::files::{Video, VideoSource};
use protoguard_frames::pace::Pace;

const SIDE: usize = 128;

fn shared(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(name);
    if !path.exists() {
        println!("skipped: {path:?} is not here");
        return None;
    }
    Some(path)
}

fn frames(video: &DecodedVideo) -> Vec<Frame> {
    (0..video.len()).map(|at| video.frame(at).unwrap().unwrap()).collect()
}

fn decoded(videos: &[Video]) -> Vec<Vec<Frame>> {
    let options = LoadOptions::in_memory(ClipShape::new(4, SIDE).unwrap());
    load(videos, &options, |_| ()).unwrap().iter().map(frames).collect()
}

fn looks(frames: &[Frame]) -> Vec<Look> {
    let before = std::iter::once(None).chain(frames.iter().map(Some));
    frames.iter().zip(before).map(|(frame, before)| Look::of(frame, before)).collect()
}

/// The states of a watch that begins with these frames, one a frame.
fn states(bounds: &CameraBounds, frames: &[Frame]) -> Vec<Option<CameraState>> {
    let mut watch = CameraWatch::new(bounds.clone());
    looks(frames).iter().map(|look| watch.push(look).state).collect()
}

fn drawn(change: impl Fn(usize, usize, usize) -> u8) -> Frame {
    let pixels = (0..SIDE * SIDE * CHANNELS).map(|at| {
        let (pixel, channel) = (at / CHANNELS, at % CHANNELS);
        change(pixel / SIDE, pixel % SIDE, channel)
    });
    Frame::new(SIDE, SIDE, pixels.collect::<Vec<_>>()).unwrap()
}

fn level(frame: &Frame, [y, x, channel]: [usize; 3]) -> u8 {
    frame.pixels()[(y * SIDE + x) * CHANNELS + channel]
}

/// A mean over a sixteenth of the picture's side, by columns and then rows.
fn blurred(frame: &Frame) -> Frame {
    let mean = |of: &dyn Fn(usize) -> u8, at: usize| {
        let near = at.saturating_sub(SIDE / 32)..(at + SIDE / 32 + 1).min(SIDE);
        let count = near.len();
        (near.map(|at| usize::from(of(at))).sum::<usize>() / count) as u8
    };
    let columns = drawn(|y, x, channel| mean(&|y| level(frame, [y, x, channel]), y));
    drawn(|y, x, channel| mean(&|x| level(&columns, [y, x, channel]), x))
}

type Fault = (CameraState, fn(&Frame, usize) -> Frame);

/// What a fault makes of a frame; noise is of one level, by the frame's number.
const FAULTS: [Fault; 7] = [
    (CameraState::Dark, |_, at| drawn(|y, x, _| ((y + x + at) % 3) as u8)),
    (CameraState::Covered, |_, at| drawn(|y, x, _| 100 + ((y * 5 + x + at) % 3) as u8)),
    (CameraState::Blurred, |frame, _| blurred(frame)),
    (CameraState::Moved, |frame, _| {
        drawn(|y, x, channel| level(frame, [SIDE - 1 - y, SIDE - 1 - x, channel]))
    }),
    (CameraState::Moved, |frame, _| {
        drawn(|y, x, channel| level(frame, [SIDE - 1 - y, x, channel]))
    }),
    (CameraState::Moved, |frame, _| {
        drawn(|y, x, channel| level(frame, [(y + SIDE / 8).min(SIDE - 1), x, channel]))
    }),
    (CameraState::Bright, |frame, _| {
        drawn(|y, x, channel| 255 - (255 - level(frame, [y, x, channel])) / 8)
    }),
];

/// After so many normal frames each fault begins; in how many more frames it is told.
const BEFORE: usize = 20;

fn check_faults(bounds: &CameraBounds, video: &[Frame]) {
    for (number, (expected, fault)) in FAULTS.into_iter().enumerate() {
        let with = |(at, frame): (usize, &Frame)| {
            if at < BEFORE { frame.clone() } else { fault(frame, at) }
        };
        let frames: Vec<Frame> = video[..BEFORE + 30].iter().enumerate().map(with).collect();
        let found = states(bounds, &frames);
        let first = found.iter().position(Option::is_some);
        let late = first.map(|at| at + 1 - BEFORE);
        println!("fault {number}: {:?} after {late:?} frames", first.and_then(|at| found[at]));
        assert_eq!(first.and_then(|at| found[at]), Some(expected), "fault {number}: {found:?}");
        assert!(late.is_some_and(|late| late <= 10), "fault {number}: {found:?}");
        assert!(found[first.unwrap()..].iter().all(|it| *it == Some(expected)), "{found:?}");
    }
    let frozen = vec![video[BEFORE].clone(); 60];
    let found = states(bounds, &[&video[..BEFORE], &frozen].concat());
    let first = found.iter().position(Option::is_some).map(|at| at + 1 - BEFORE);
    println!("frozen after {first:?} frames, normal stands still for {}", bounds.longest_still);
    assert_eq!(found[BEFORE + 59], Some(CameraState::Frozen), "{found:?}");
}

/// Tells how far normal frames are from the bounds.
fn tell(bounds: &CameraBounds, videos: &[Vec<Frame>]) {
    let looks: Vec<Look> = videos.iter().flat_map(|frames| looks(frames)).collect();
    let range = |of: &dyn Fn(&Look) -> f64| {
        let values = || looks.iter().map(of);
        (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max))
    };
    println!("{} frames, still for {} at most", looks.len(), bounds.longest_still);
    println!(
        "brightness {:.1?} of {:.1}..{:.1}",
        range(&|it| it.brightness),
        bounds.darkest,
        bounds.brightest
    );
    println!("contrast {:.1?} of {:.1}", range(&|it| it.contrast), bounds.least_contrast);
    println!("sharpness {:.4?} of {:.4}", range(&|it| it.sharpness), bounds.least_sharpness);
    println!("colour {:.2?} of {:.2}", range(&|it| it.colour), bounds.least_colour);
    println!("likeness of {:.4}", bounds.least_likeness);
    println!("change {:.3?}", range(&|it| it.change.unwrap_or(1.0)));
}

#[test]
fn ped2_is_told_from_its_faults() {
    let Some(root) = shared("ped2") else { return };
    let dataset = Dataset::open(&root, None).unwrap();
    let of = |half| decoded(&dataset.videos(half).unwrap());
    let learnt: Vec<Vec<Look>> = of(Half::Training).iter().map(|video| looks(video)).collect();
    let bounds = CameraBounds::of(&learnt).unwrap();
    let test = of(Half::Testing);
    tell(&bounds, &test);
    for video in &test {
        assert!(states(&bounds, video).iter().all(Option::is_none));
    }
    // One after the other, as a camera's frames are.
    assert!(states(&bounds, &test.concat()).iter().all(Option::is_none));
    check_faults(&bounds, &test[0]);
}

#[test]
fn a_shops_camera_is_told_from_its_faults() {
    let Some(path) = shared("sample/intel_one-by-one-person-detection.mp4") else { return };
    let source = VideoSource::File(path);
    let video = Video { name: String::new(), scene: None, source, pace: Pace::default() };
    let frames = decoded(&[video]).remove(0);
    let (learnt, watched) = frames.split_at(frames.len() / 2);
    for (learnt, watched) in [(learnt, watched), (watched, learnt)] {
        let bounds = CameraBounds::of(&[looks(learnt)]).unwrap();
        tell(&bounds, &[watched.to_vec()]);
        assert!(states(&bounds, watched).iter().all(Option::is_none));
        check_faults(&bounds, watched);
        let gray = |frame: &Frame| drawn(|y, x, _| level(frame, [y, x, 1]));
        let gray: Vec<Frame> = watched[..40].iter().map(gray).collect();
        let found = states(&bounds, &gray);
        println!("gray: {:?}", found[9]);
        assert_eq!(found[9], Some(CameraState::ColourLost), "{:?}", found);
    }
}
