use proptest::prelude::*;

use super::*;
use crate::metrics::roc_auc;

/// One video from pictures of maps (digits are tenths) and masks (`#` is marked).
struct Drawn {
    maps: Vec<Plane>,
    masks: Vec<Mask>,
}

fn map(rows: &[&str]) -> Plane {
    let digit = |byte: u8| f32::from(byte - b'0') / 10.0;
    let values: Vec<f32> = rows.iter().flat_map(|row| row.bytes().map(digit)).collect();
    Plane { height: rows.len(), width: rows[0].len(), channels: 1, values: values.into() }
}

fn mask(rows: &[&str]) -> Mask {
    Mask::from_fn(rows.len(), rows[0].len(), |y, x| rows[y].as_bytes()[x] == b'#')
}

impl Drawn {
    fn new(frames: &[[&[&str]; 2]]) -> Self {
        Self {
            maps: frames.iter().map(|frame| map(frame[0])).collect(),
            masks: frames.iter().map(|frame| mask(frame[1])).collect(),
        }
    }

    fn frames(&self) -> Vec<MappedFrame<'_>> {
        self.maps.iter().zip(&self.masks).map(|(map, mask)| MappedFrame { map, mask }).collect()
    }
}

fn detection(drawn: &Drawn) -> RegionDetection {
    region_detection(&[drawn.frames()], RegionRule::default()).unwrap()
}

const CORNER: &[&str] = &["##..", "##..", "....", "...."];
const NOTHING: &[&str] = &["....", "....", "....", "...."];

#[test]
fn a_map_that_is_the_mask_is_perfect() {
    let drawn = Drawn::new(&[
        [&["9900", "9900", "0000", "0000"], CORNER],
        [&["5000", "0000", "0000", "0000"], NOTHING],
    ]);
    let found = detection(&drawn);
    assert_eq!((found.rbdc, found.tbdc), (1.0, 1.0));
    assert_eq!((found.regions, found.tracks, found.frames), (1, 1, 2));
    assert_eq!(found.points[0].threshold, 0.9);
}

#[test]
fn a_false_region_above_the_true_one_costs_its_share() {
    let drawn = Drawn::new(&[
        [&["5500", "5500", "0000", "0000"], CORNER],
        [&["0000", "0090", "0000", "0000"], NOTHING],
    ]);
    let found = detection(&drawn);
    // At 0.9 one false positive on two frames and nothing found; at 0.5 the region as well. From
    // (0, 0) to (0.5, 1), then level: 0.25 + 0.5.
    assert!((found.rbdc - 0.75).abs() < 1e-12, "{found:?}");
    // At 0 both frames are one region: 4 of 16 pixels overlap enough, and the other is false.
    let last = found.points.last().unwrap();
    assert_eq!((last.threshold, last.false_positives_a_frame), (0.0, 0.5));
    assert_eq!((last.region_rate, last.track_rate), (1.0, 1.0));
}

#[test]
fn more_than_one_false_positive_a_frame_is_cut_off_on_the_line() {
    // At 0.9 two false regions in the one frame, at 0.5 the true one too: from (0, 0) to (2, 1),
    // of which the half up to 1 is a triangle of height 0.5.
    let drawn = Drawn::new(&[[&["5500", "5500", "0000", "9090"], CORNER]]);
    let rule = RegionRule { thresholds: 2, ..RegionRule::default() };
    let cut = area(
        &[
            RegionPoint {
                threshold: 0.9,
                false_positives_a_frame: 2.0,
                region_rate: 0.0,
                track_rate: 0.0,
            },
            RegionPoint {
                threshold: 0.5,
                false_positives_a_frame: 2.0,
                region_rate: 1.0,
                track_rate: 1.0,
            },
        ],
        |point| point.region_rate,
    );
    assert!((cut - 0.25).abs() < 1e-12);
    // The sweep goes on to 0, where the whole frame is one region that overlaps enough.
    let found = region_detection(&[drawn.frames()], rule).unwrap();
    assert_eq!(found.points[0].false_positives_a_frame, 2.0);
    assert_eq!(found.rbdc, 1.0);
}

#[test]
fn overlap_is_intersection_over_union_and_touching_corners_join() {
    // One pixel of a ground truth of 9: 1/9 is enough. With one more outside it: 1/10 still is.
    let truth: &[&str] = &["###..", "###..", "###..", ".....", "....."];
    for (rows, rate) in [
        ([&["00000", "00000", "00900", "00000", "00000"][..], truth], 1.0),
        ([&["00000", "00000", "00900", "00090", "00000"][..], truth], 1.0),
        ([&["00000", "00000", "00900", "00090", "00009"][..], truth], 0.0),
    ] {
        let point = detection(&Drawn::new(&[rows])).points[0];
        assert_eq!(point.region_rate, rate, "{rows:?}");
        assert_eq!(point.false_positives_a_frame, 1.0 - rate);
    }
}

#[test]
fn maps_of_any_grid_lie_over_the_mask() {
    // A cell of 2 × 2 pixels, then a map twice as fine as its mask.
    let coarse = Drawn::new(&[[&["90", "00"], CORNER], [&["00", "00"], NOTHING]]);
    let point = detection(&coarse).points[0];
    assert_eq!((point.region_rate, point.false_positives_a_frame), (1.0, 0.0));
    assert_eq!(pixel_auc(&[coarse.frames()]).unwrap(), 1.0);
    let fine = Drawn::new(&[[&["0000", "0900", "0000", "0000"], &["#.", ".."]]]);
    let point = detection(&fine).points[0];
    assert_eq!((point.threshold, point.region_rate), (0.9, 1.0));
    assert_eq!(pixel_auc(&[fine.frames()]).unwrap(), 1.0);
}

#[test]
fn tracks_follow_the_larger_share_and_end_with_a_gap() {
    let flat: &[&str] = &["00000"];
    let frames = ["##...", ".##..", "#.##.", ".....", "..##."];
    let rows: Vec<[&str; 1]> = frames.iter().map(|row| [*row]).collect();
    let frames: Vec<[&[&str]; 2]> = rows.iter().map(|row| [flat, &row[..]]).collect();
    let found = detection(&Drawn::new(&frames));
    // Five regions: one track of three, the single pixel, and what comes after the gap.
    assert_eq!((found.regions, found.tracks), (5, 3));
    // The same frames as five videos: nothing links.
    let drawn = Drawn::new(&frames);
    let single: Vec<_> = drawn.frames().into_iter().map(|frame| vec![frame]).collect();
    assert_eq!(region_detection(&single, RegionRule::default()).unwrap().tracks, 5);
}

#[test]
fn two_that_merge_go_on_as_the_larger_one() {
    let mut tracks = Tracks::default();
    let frames = [&["#.###"], &["#####"]].map(|rows| Rc::new(Components::of(&mask(rows))));
    assert_eq!(frames.map(|truth| tracks.follow(&truth)), [vec![0, 1], vec![1]]);
    assert_eq!(tracks.lengths(), [1, 2]);
}

#[test]
fn a_tenth_of_a_track_is_enough() {
    let quiet: [&[&str]; 2] = [&["00", "00"], &["#.", ".."]];
    let loud: [&[&str]; 2] = [&["90", "00"], &["#.", ".."]];
    let with = |frames: usize| {
        let mut frames = vec![quiet; frames];
        frames[1] = loud;
        detection(&Drawn::new(&frames)).points[0]
    };
    let (ten, eleven) = (with(10), with(11));
    assert_eq!((ten.threshold, ten.region_rate, ten.track_rate), (0.9, 0.1, 1.0));
    assert_eq!(eleven.track_rate, 0.0);
}

#[test]
fn of_two_that_are_there_at_once_one_is_half() {
    let frame: [&[&str]; 2] = [&["9000", "0000"], &["#..#", "...."]];
    let point = detection(&Drawn::new(&[frame, frame])).points[0];
    assert_eq!((point.region_rate, point.track_rate), (0.5, 0.5));
    assert_eq!(point.false_positives_a_frame, 0.0);
}

#[test]
fn thresholds_are_even_in_the_largest_values_and_below_them_in_all() {
    let row = |first: u8| Plane {
        height: 1,
        width: 8,
        channels: 1,
        values: (first..first + 8).map(f32::from).collect(),
    };
    let (low, high, mask) = (row(1), row(9), Mask::from_fn(1, 8, |_, _| false));
    let frames = [&low, &high].map(|map| MappedFrame { map, mask: &mask });
    // The largest values are 8 and 16; of four even ranks of 1 to 16, those of 1 and 6 lie below.
    assert_eq!(thresholds(&[frames.into()], 16), [16.0, 8.0, 6.0, 1.0]);
}

#[test]
fn where_no_share_is_asked_for_something_must_be_found_all_the_same() {
    let drawn = Drawn::new(&[[&["0000", "0000", "0000", "0009"], CORNER]]);
    let rule = RegionRule { overlap: 0.0, track_share: 0.0, ..RegionRule::default() };
    let point = region_detection(&[drawn.frames()], rule).unwrap().points[0];
    assert_eq!((point.region_rate, point.track_rate), (0.0, 0.0));
    assert_eq!(point.false_positives_a_frame, 1.0);
}

#[test]
fn constant_maps_have_one_threshold() {
    let drawn = Drawn::new(&[[&["3333"; 4], CORNER], [&["3333"; 4], NOTHING]]);
    let found = detection(&drawn);
    assert_eq!(found.points.len(), 1);
    // Both frames are one region each; the one with truth overlaps by 4 of 16.
    assert!((found.rbdc - 0.75).abs() < 1e-12);
    assert_eq!(pixel_auc(&[drawn.frames()]), Ok(0.5));
}

#[test]
fn without_truth_there_is_no_figure() {
    let drawn = Drawn::new(&[[&["9000"; 4], NOTHING]]);
    let videos = [drawn.frames()];
    let error = region_detection(&videos, RegionRule::default()).unwrap_err();
    assert_eq!(error, MetricError::NoRegions { frames: 1 });
    let error = pixel_auc(&videos).unwrap_err();
    assert_eq!(error, MetricError::OnePixelClass { pixels: 16, only: "normal" });
    let none = region_detection(&[], RegionRule::default()).unwrap_err();
    assert_eq!(none, MetricError::NoRegions { frames: 0 });
    assert!(pixel_auc(&[]).is_err());
}

#[test]
fn maps_and_masks_that_do_not_fit_are_named() {
    let mut drawn = Drawn::new(&[[&["9000"; 4], CORNER], [&["9000"; 4], &["##", "##"]]]);
    let message = pixel_auc(&[drawn.frames()]).unwrap_err().to_string();
    assert!(message.starts_with("the mask of frame 1 of video 0 is 2x2 pixels; 4x4 is expected"));
    drawn.masks[1] = mask(NOTHING);
    drawn.maps[1].values = vec![f32::NAN; 16].into();
    let message = pixel_auc(&[drawn.frames()]).unwrap_err().to_string();
    assert!(message.contains("frame 1 of video 0 is NaN at value 0"), "{message}");
    drawn.maps[1].values = vec![0.0; 15].into();
    let message = pixel_auc(&[drawn.frames()]).unwrap_err().to_string();
    assert!(message.contains("is 4x4 with 15 values"), "{message}");
    drawn.maps[1].channels = 3;
    let message = region_detection(&[drawn.frames()], RegionRule::default()).unwrap_err();
    assert!(message.to_string().contains("is 4x4x3"), "{message}");
    for (height, width) in [(4, 0), (0, 4)] {
        drawn.maps[1] = Plane { height, width, channels: 1, values: Vec::new().into() };
        let message = pixel_auc(&[drawn.frames()]).unwrap_err().to_string();
        assert!(message.contains(&format!("is {height}x{width}x1")), "{message}");
    }
}

/// Detected regions of a map at a threshold, labelled from scratch at the mask's size.
fn labelled(map: &Plane, at: &Mask, threshold: f32) -> Components {
    let pixel = |y: usize, x: usize| {
        let (row, column) = (y * map.height / at.height(), x * map.width / at.width());
        map.values[row * map.width + column] >= threshold
    };
    Components::of(&Mask::from_fn(at.height(), at.width(), pixel))
}

proptest! {
    #[test]
    fn one_pass_agrees_with_labelling_every_threshold(
        values in proptest::collection::vec(0u8..8, 36),
        marks in proptest::collection::vec(proptest::bool::weighted(0.3), 144),
    ) {
        let values: Vec<f32> = values.into_iter().map(f32::from).collect();
        let map = Plane { height: 6, width: 6, channels: 1, values: values.into() };
        let mask = Mask::from_fn(12, 12, |y, x| marks[y * 12 + x]);
        prop_assume!(mask.any());
        let frames = vec![MappedFrame { map: &map, mask: &mask }];
        let found = region_detection(&[frames], RegionRule::default()).unwrap();
        let truth = Components::of(&mask);
        for point in &found.points {
            let detected = labelled(&map, &mask, point.threshold);
            let overlaps = detected.overlaps(&truth);
            let enough: Vec<_> = overlaps.iter().filter(|overlap| {
                let union = detected.pixels()[overlap.mine] + truth.pixels()[overlap.other]
                    - overlap.pixels;
                f64::from(overlap.pixels) / f64::from(union) >= 0.1
            }).collect();
            let hits = |i: usize| enough.iter().any(|overlap| overlap.mine == i);
            let wrong = (0..detected.pixels().len()).filter(|&i| !hits(i)).count();
            prop_assert_eq!(point.false_positives_a_frame, wrong as f64);
            let hit = |i: usize| enough.iter().any(|overlap| overlap.other == i);
            let right = (0..truth.pixels().len()).filter(|&i| hit(i)).count();
            prop_assert_eq!(point.region_rate, right as f64 / truth.pixels().len() as f64);
        }
        prop_assert!((0.0..=1.0).contains(&found.rbdc));
    }

    #[test]
    fn pixel_auc_is_that_of_the_ranking(
        values in proptest::collection::vec(-4i8..4, 9),
        marks in proptest::collection::vec(any::<bool>(), 36),
    ) {
        let values: Vec<f32> = values.into_iter().map(f32::from).collect();
        let scores: Vec<f64> =
            (0..36).map(|i| f64::from(values[i / 12 * 3 + i % 6 / 2])).collect();
        let map = Plane { height: 3, width: 3, channels: 1, values: values.into() };
        let mask = Mask::from_fn(6, 6, |y, x| marks[y * 6 + x]);
        let found = pixel_auc(&[vec![MappedFrame { map: &map, mask: &mask }]]);
        match roc_auc(&scores, &marks) {
            Ok(expected) => prop_assert!((found.unwrap() - expected).abs() < 1e-12),
            Err(_) => prop_assert!(found.is_err()),
        }
    }
}
