use super::look::{luma, mean};
use super::*;
use crate::{CHANNELS, Frame};

const SIDE: usize = 64;

/// A street: a bright wall above, dark road below, with a texture, and something that passes.
fn street(at: usize) -> Vec<u8> {
    let pixel = |index: usize| {
        let (y, x) = (index / SIDE, index % SIDE);
        let base = if y < 24 { [150, 120, 100] } else { [60, 70, 60] };
        let texture = ((x * 7 + y * 13) % 11) as u8;
        let passes = y > 40 && y < 50 && x.abs_diff(at % SIDE) < 3;
        let noise = ((x * 31 + y * 17 + at * 7) % 3) as u8;
        base.map(|level: u8| level + texture + noise + if passes { 90 } else { 0 })
    };
    (0..SIDE * SIDE).flat_map(pixel).collect()
}

fn looks(frames: impl IntoIterator<Item = Vec<u8>>) -> Vec<Look> {
    let mut before: Option<Frame> = None;
    let look = |pixels: Vec<u8>| {
        let frame = Frame::new(SIDE, SIDE, pixels).unwrap();
        let look = Look::of(&frame, before.as_ref());
        before = Some(frame);
        look
    };
    frames.into_iter().map(look).collect()
}

fn watch() -> CameraWatch {
    CameraWatch::new(CameraBounds::of(&[looks((0..300).map(street))]).unwrap())
}

/// The state after so many frames of a picture that was changed.
fn after(frames: usize, change: impl Fn(Vec<u8>) -> Vec<u8>) -> Option<CameraState> {
    let mut watch = watch();
    let looks = looks((0..frames).map(|at| change(street(at))));
    looks.iter().map(|look| watch.push(look).state).last().unwrap()
}

fn every(change: impl Fn(f64) -> f64) -> impl Fn(Vec<u8>) -> Vec<u8> {
    move |pixels| pixels.into_iter().map(|it| change(f64::from(it)) as u8).collect()
}

fn blurred(pixels: Vec<u8>) -> Vec<u8> {
    let level = |index: usize| {
        let (at, channel) = (index / CHANNELS, index % CHANNELS);
        let (y, x) = (at / SIDE, at % SIDE);
        let rows = y.saturating_sub(5)..(y + 6).min(SIDE);
        let near = rows.flat_map(|y| {
            (x.saturating_sub(5)..(x + 6).min(SIDE)).map(move |x| (y * SIDE + x) * CHANNELS)
        });
        mean(near.map(|at| f64::from(pixels[at + channel]))) as u8
    };
    (0..pixels.len()).map(level).collect()
}

#[test]
fn each_fault_has_its_state_and_normal_video_none() {
    use CameraState::{Blurred, Bright, ColourLost, Covered, Dark, Moved};
    assert_eq!(after(300, |pixels| pixels), None);
    assert_eq!(after(9, every(|level| level * 0.1)), Some(Dark));
    assert_eq!(after(9, every(|level| 255.0 - 0.2 * (255.0 - level))), Some(Bright));
    assert_eq!(after(9, every(|level| 90.0 + 0.1 * (level - 90.0))), Some(Covered));
    assert_eq!(after(9, blurred), Some(Blurred));
    let turned = |pixels: Vec<u8>| pixels.chunks(CHANNELS).rev().flatten().copied().collect();
    assert_eq!(after(9, turned), Some(Moved));
    let gray = |pixels: Vec<u8>| {
        let gray = |pixel: &[u8]| [luma(pixel); CHANNELS];
        pixels.chunks(CHANNELS).flat_map(gray).collect()
    };
    assert_eq!(after(9, gray), Some(ColourLost));
    // Half the light is an evening.
    assert_eq!(after(9, every(|level| level * 0.6)), None);
}

#[test]
fn a_camera_that_is_black_from_its_first_frame_is_dark() {
    let mut watch = watch();
    let black = looks((0..6).map(|_| vec![0; SIDE * SIDE * CHANNELS]));
    let states: Vec<_> = black.iter().map(|look| watch.push(look).state).collect();
    assert_eq!(states[3..], [None, Some(CameraState::Dark), Some(CameraState::Dark)]);
}

#[test]
fn a_picture_that_stands_still_is_frozen_and_wakes_up() {
    let mut watch = watch();
    let frames = (0..3).chain([3; 25]).chain(4..12).map(street);
    let states: Vec<_> = looks(frames).iter().map(|look| watch.push(look).state).collect();
    // 3 and its twenty repetitions.
    assert!(states[..23].iter().all(Option::is_none), "{states:?}");
    assert!(states[23..28].iter().all(|it| *it == Some(CameraState::Frozen)), "{states:?}");
    assert_eq!(states[35], None);
}

#[test]
fn video_that_often_stands_still_is_allowed_to() {
    let still = looks((0..10).flat_map(|at| [at; 40]).map(street));
    let bounds = CameraBounds::of(&[still]).unwrap();
    assert_eq!(bounds.longest_still, 39);
    let mut watch = CameraWatch::new(bounds);
    let states = looks([street(0)].into_iter().chain((0..60).map(|_| street(1))));
    assert!(states.iter().all(|look| watch.push(look).state.is_none()));
}

#[test]
fn a_state_is_neither_entered_nor_left_by_a_single_frame() {
    let mut watch = watch();
    let black = || vec![0; SIDE * SIDE * CHANNELS];
    let frames = [street(0), black(), street(2), street(3)];
    assert!(looks(frames).iter().all(|look| watch.push(look).state.is_none()));
    let dark: Vec<_> = (0..6).map(|_| black()).chain([street(1)]).collect();
    let last = looks(dark).iter().map(|look| watch.push(look).state).last().unwrap();
    assert_eq!(last, Some(CameraState::Dark));
}

#[test]
fn without_video_there_are_no_bounds() {
    assert_eq!(CameraBounds::of(&[]), None);
    assert_eq!(CameraBounds::of(&[vec![]]), None);
}

#[test]
fn a_look_is_in_levels_of_eight_bits() {
    let half = |left: [u8; 3], right: [u8; 3]| {
        let pixel = |at: usize| if at % 32 < 16 { left } else { right };
        Frame::new(16, 32, (0..16 * 32).flat_map(pixel).collect::<Vec<u8>>()).unwrap()
    };
    let (dark, gray) = (half([0; 3], [0; 3]), half([0; 3], [200; 3]));
    let look = Look::of(&gray, Some(&dark));
    assert_eq!((look.brightness, look.contrast, look.colour), (100.0, 100.0, 0.0));
    // One step of 200 a row, of 31 to the right and, but for the last row, 32 down.
    let steps = 16.0 * 200.0 / (16.0 * 31.0 + 15.0 * 32.0);
    assert!((look.sharpness - steps / 100.0).abs() < 1e-12);
    assert_eq!((look.change, Look::of(&gray, None).change), (Some(100.0), None));
    let row: Vec<f64> = (0..16).map(|square| if square < 8 { 0.0 } else { 200.0 }).collect();
    assert_eq!(look.layout, row.repeat(16));
    // 54, 183 and 19 of 256 of the three, to the nearest level.
    let coloured = Look::of(&half([255, 0, 0], [10, 200, 30]), None);
    assert_eq!((coloured.brightness, coloured.colour), ((54.0 + 147.0) / 2.0, 222.5));
    // Pictures smaller than the layout are looked at like others.
    assert_eq!(Look::of(&Frame::new(3, 5, vec![7; 45]).unwrap(), None).brightness, 7.0);
}

fn gray(pixels: Vec<u8>) -> Vec<u8> {
    let gray = |pixel: &[u8]| [luma(pixel); CHANNELS];
    pixels.chunks(CHANNELS).flat_map(gray).collect()
}

/// As an infrared lamp shows it: without colour and at a third of the light.
fn infrared(pixels: Vec<u8>) -> Vec<u8> {
    gray(pixels).into_iter().map(|level| level / 3).collect()
}

#[test]
fn a_dark_infrared_picture_is_the_night_that_is_known() {
    let night = CameraBounds::of(&[looks((0..300).map(|at| infrared(street(at))))]).unwrap();
    let after = |watch: CameraWatch, frames: Vec<Vec<u8>>| {
        let mut watch = watch;
        looks(frames).iter().map(|look| watch.push(look).state).last().unwrap()
    };
    let lamp = || (0..9).map(|at| infrared(street(at))).collect::<Vec<_>>();
    assert_eq!(after(watch(), lamp()), Some(CameraState::Dark));
    let gray = Some(CameraState::ColourLost);
    assert_eq!(after(watch().with_night(Some(night.clone())), lamp()), gray);
    assert_eq!(after(watch().with_night(None), lamp()), gray);
    // A lamp that fails at night leaves a picture that is darker than any night was.
    let black = || (0..9).map(|_| vec![0; SIDE * SIDE * CHANNELS]).collect::<Vec<_>>();
    assert_eq!(after(watch().with_night(Some(night)), black()), Some(CameraState::Dark));
}

#[test]
fn frames_that_say_something_else_are_in_doubt_whatever_they_say() {
    let mut watch = watch();
    let level = |level: u8| vec![level; SIDE * SIDE * CHANNELS];
    // Black and white in turn are neither dark nor bright for long, and no normal picture.
    let frames = [street(0), level(0), level(255), level(0), level(255), level(0), street(1)];
    let views: Vec<CameraView> = looks(frames).iter().map(|look| watch.push(look)).collect();
    let doubts: Vec<bool> = views.iter().map(|view| view.in_doubt).collect();
    assert_eq!(doubts, [false, true, true, true, true, false, true]);
    assert_eq!(views[5].state, Some(CameraState::Dark));
}

#[test]
fn a_watch_goes_on_from_what_another_knew() {
    let frames = || looks((0..3).chain([3; 30]).map(street));
    let mut one = watch();
    let whole: Vec<CameraView> = frames().iter().map(|look| one.push(look)).collect();
    let mut two = watch();
    let split: Vec<CameraView> = frames()
        .iter()
        .map(|look| {
            let told = serde_json::to_string(&two.memory()).unwrap();
            two = watch().after(serde_json::from_str(&told).unwrap());
            two.push(look)
        })
        .collect();
    assert_eq!(whole, split);
    assert_eq!(two.memory().state(), Some(CameraState::Frozen));
}
