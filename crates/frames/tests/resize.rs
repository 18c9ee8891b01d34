//! The one resizer against OpenCV's (tests/golden/resize.py), and on cases done by hand.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::path::Path;

use proptest::prelude::*;
use protoguard_core::Frame;
use protoguard_frames::resize;

fn golden(name: &str) -> Frame {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(name);
    let bytes = std::fs::read(path).unwrap();
    let npy = npyz::NpyFile::new(&bytes[..]).unwrap();
    let [height, width, 3] = *npy.shape() else { panic!("{:?}", npy.shape()) };
    Frame::new(height as usize, width as usize, npy.into_vec::<u8>().unwrap()).unwrap()
}

#[test]
fn agrees_with_opencv_within_one_grey_level() {
    for name in ["shrink", "grow", "mixed"] {
        let input = golden(&format!("resize_{name}_in.npy"));
        let expected = golden(&format!("resize_{name}_out.npy"));
        let found = resize(&input, expected.height());
        let worst = expected.pixels().iter().zip(found.pixels()).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(worst <= Some(1), "{name}: {worst:?} grey levels apart");
    }
}

#[test]
fn a_frame_of_the_size_is_shared() {
    let frame = Frame::new(16, 16, vec![7; 768]).unwrap();
    assert!(std::ptr::eq(frame.pixels(), resize(&frame, 16).pixels()));
}

#[test]
fn halving_averages_the_four_pixels_under_an_output_pixel() {
    let gray: Vec<u8> = (0..32 * 32).map(|i| (i % 32 * 4 + i / 32 * 2) as u8).collect();
    let half = resize(&Frame::from_gray(32, 32, &gray).unwrap(), 16);
    for (y, row) in half.pixels().chunks(16 * 3).enumerate() {
        for (x, pixel) in row.chunks(3).enumerate() {
            // The mean of 4 and 2 levels a step around (2x + 0.5, 2y + 0.5).
            assert_eq!(pixel, [(8 * x + 2 + 4 * y + 1) as u8; 3]);
        }
    }
}

#[test]
fn shrinking_skips_pixels_instead_of_averaging_them() {
    // Stripes of 8 pixels shrunk eightfold: an antialiased kernel would give grey.
    let gray: Vec<u8> = (0..128 * 128).map(|i| if i % 8 == 0 { 255 } else { 0 }).collect();
    let small = resize(&Frame::from_gray(128, 128, &gray).unwrap(), 16);
    assert!(small.pixels().iter().all(|&value| value == 0));
}

/// Between which input positions an output position lies, and the second's weight in 2048ths.
struct Place {
    first: usize,
    second: usize,
    weight: u64,
}

impl Place {
    fn of(i: usize, input: usize, output: usize) -> Self {
        let last = input - 1;
        let at = (i as f64 + 0.5) * (input as f64 / output as f64) - 0.5;
        let at = at.clamp(0.0, last as f64);
        let weight = (at.fract() * 2048.0).round() as u64;
        Self { first: at as usize, second: (at as usize + 1).min(last), weight }
    }
}

/// The rule without regard to time: every output value from its four input values.
fn by_the_rule(frame: &Frame, side: usize) -> Vec<u8> {
    let mut pixels = Vec::new();
    for y in 0..side {
        let down = Place::of(y, frame.height(), side);
        for x in 0..side {
            let across = Place::of(x, frame.width(), side);
            for channel in 0..3 {
                let value = |y, x| u64::from(frame.pixels()[(y * frame.width() + x) * 3 + channel]);
                let between = |first, second, place: &Place| {
                    first * (2048 - place.weight) + second * place.weight
                };
                let row = |y| between(value(y, across.first), value(y, across.second), &across);
                let sum = between(row(down.first), row(down.second), &down);
                pixels.push(((sum + (1 << 21)) >> 22) as u8);
            }
        }
    }
    pixels
}

#[test]
fn frames_of_a_cameras_size_follow_the_rule_to_the_bit() {
    for (height, width) in [(108, 192), (432, 768), (60, 80)] {
        let pixels: Vec<u8> = (0..height * width * 3).map(|i| (i * 31 % 251) as u8).collect();
        let frame = Frame::new(height, width, pixels).unwrap();
        assert_eq!(resize(&frame, 128).pixels(), by_the_rule(&frame, 128), "{frame:?}");
    }
}

proptest! {
    #[test]
    fn every_frame_follows_the_rule_to_the_bit(
        height in 1usize..70,
        width in 1usize..70,
        side in 1usize..70,
        noise in proptest::collection::vec(any::<u8>(), 97),
    ) {
        let pixels: Vec<u8> = noise.into_iter().cycle().take(height * width * 3).collect();
        let frame = Frame::new(height, width, pixels).unwrap();
        let found = resize(&frame, side);
        prop_assert_eq!(found.pixels(), &by_the_rule(&frame, side)[..]);
    }

    #[test]
    fn a_flat_frame_stays_flat(
        height in 1usize..70,
        width in 1usize..70,
        side in 1usize..70,
        colour in any::<[u8; 3]>(),
    ) {
        let frame = Frame::new(height, width, colour.repeat(height * width)).unwrap();
        let found = resize(&frame, side);
        prop_assert_eq!(found.pixels(), &colour.repeat(side * side)[..]);
    }
}
