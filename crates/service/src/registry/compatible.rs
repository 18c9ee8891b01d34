//! Whether a checkpoint may take another's place.
//!
//! The rule: it must answer every request that the one it replaces answers. So the network may be
//! wider or better trained, but frames, outputs, scenes, detectors, thresholds and what streams rest
//! on (the interval, counted alarms, the camera's look) must not be lost; for that a model of another
//! name is the way.

use std::collections::BTreeSet;

use protoguard_core::{Calibration, ModelCard};

/// What requests would miss, one item each; nothing where `fresh` may replace `old`.
pub(crate) fn missing(old: &ModelCard, fresh: &ModelCard, false_alarm_rate: f64) -> Vec<String> {
    let mut found = Vec::new();
    let mut differs = |what: &str, expected: usize, found_there: usize| {
        if expected != found_there {
            found.push(format!("{what} is {found_there}; {expected} is expected"));
        }
    };
    differs("past_frames", old.shape.past_frames(), fresh.shape.past_frames());
    differs("side", old.shape.side(), fresh.shape.side());
    if old.motion_branch && !fresh.motion_branch {
        found.push("it has no motion branch; one is expected".to_owned());
    }
    if old.memory_items > 0 && fresh.memory_items == 0 {
        found.push("it has no memory; one is expected".to_owned());
    }
    match (old.frame_interval, fresh.frame_interval) {
        (Some(old), None) => {
            let expected = old.milliseconds();
            found.push(format!("it does not know its frame interval; {expected} ms is expected"));
        }
        (Some(old), Some(fresh)) if !fresh.suits(old) => found.push(format!(
            "its frame interval is {} ms; one within a quarter of {} ms is expected",
            fresh.milliseconds(),
            old.milliseconds()
        )),
        _ => {}
    }
    let scenes = |card: &ModelCard| -> BTreeSet<Option<String>> {
        card.calibrations.iter().map(|calibration| calibration.scene.clone()).collect()
    };
    for lost in scenes(old).difference(&scenes(fresh)) {
        let scene =
            lost.as_ref().map_or("all scenes".to_owned(), |scene| format!("scene `{scene}`"));
        found.push(format!("it has no calibration for {scene}; one is expected"));
    }
    for calibration in &old.calibrations {
        let Some(same) = fresh.calibration(calibration.scene.as_deref()) else { continue };
        let scene = calibration.scene.as_deref().unwrap_or("all scenes");
        let alarms = |of: &Calibration| of.detector.as_ref().is_some_and(|it| it.alarms.is_some());
        if same.detector.is_some() && alarms(calibration) && !alarms(same) {
            found.push(format!(
                "its calibration for {scene} has not counted alarms; one that has is expected"
            ));
        }
        if calibration.camera.is_some() && same.camera.is_none() {
            found.push(format!(
                "its calibration for {scene} does not know how the camera looks; one that does is \
                 expected"
            ));
        }
        if calibration.detector.is_some() && same.detector.is_none() {
            found.push(format!("its calibration for {scene} has no detector; one is expected"));
        } else if calibration.can_alarm(false_alarm_rate) && !same.can_alarm(false_alarm_rate) {
            found.push(format!(
                "its calibration for {scene} has no threshold for a false alarm rate of \
                 {false_alarm_rate}; one is expected"
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use protoguard_core::{AlarmFrequency, CameraBounds, ClipShape, Detector, ScorerFactory};

    use super::*;
    use crate::testing::{FakeFactory, detector};

    fn card(change: impl FnOnce(&mut ModelCard)) -> ModelCard {
        FakeFactory::new("hall").with_card(change).card().clone()
    }

    #[test]
    fn more_is_welcome() {
        let old = card(|card| card.calibrations.truncate(1));
        let fresh = card(|card| {
            card.version = "next".to_owned();
            card.base_width = 64;
            card.memory_items = 100;
        });
        assert_eq!(missing(&old, &fresh, 0.01), Vec::<String>::new());
        let bare = card(|card| (card.motion_branch, card.memory_items) = (false, 0));
        assert_eq!(missing(&bare, &bare, 0.01), Vec::<String>::new());
        assert_eq!(missing(&bare, &card(|_| {}), 0.01), Vec::<String>::new());
    }

    #[test]
    fn a_lost_detector_is_named_and_a_new_one_is_welcome() {
        let plain = card(|_| {});
        let with_detector = |lost: usize| {
            card(|card| {
                let calibrations = card.calibrations.iter_mut().skip(lost);
                calibrations.for_each(|of| of.detector = Some(detector()));
            })
        };
        let whole = with_detector(0);
        assert_eq!(missing(&plain, &whole, 0.01), Vec::<String>::new());
        assert_eq!(missing(&whole, &whole, 0.01), Vec::<String>::new());
        let lost = |scene| format!("its calibration for {scene} has no detector; one is expected");
        assert_eq!(missing(&whole, &plain, 0.01), [lost("all scenes"), lost("hall")]);
        assert_eq!(missing(&whole, &with_detector(1), 0.01), [lost("all scenes")]);
        // A detector has a threshold for every rate.
        let mut bare = whole.clone();
        bare.calibrations.iter_mut().for_each(|of| of.thresholds.clear());
        assert_eq!(missing(&plain, &bare, 0.01), Vec::<String>::new());
    }

    #[test]
    fn what_streams_rest_on_is_not_lost() {
        let interval = |milliseconds: f64| Some(milliseconds.try_into().unwrap());
        let alarms = AlarmFrequency { per_unusual_frame: 0.5, alarms: 20, frames: 9000 };
        let bounds = CameraBounds {
            darkest: 60.0,
            brightest: 140.0,
            least_contrast: 20.0,
            least_sharpness: 0.1,
            least_colour: 4.0,
            longest_still: 7,
            layout: vec![90.0; 256],
            least_likeness: 0.8,
        };
        let card = |milliseconds: Option<f64>, alarms: Option<AlarmFrequency>, camera| {
            card(|card| {
                card.frame_interval = milliseconds.and_then(interval);
                let calibration = &mut card.calibrations[0];
                calibration.detector = Some(Detector { alarms, ..detector() });
                calibration.camera = camera;
            })
        };
        let old = card(Some(100.0), Some(alarms), Some(bounds.clone()));
        let near = card(Some(120.0), Some(alarms), Some(bounds.clone()));
        assert_eq!(missing(&old, &near, 0.01), Vec::<String>::new());
        let bare = card(None, None, None);
        assert_eq!(missing(&bare, &old, 0.01), Vec::<String>::new());
        let expected = [
            "it does not know its frame interval; 100 ms is expected",
            "its calibration for all scenes has not counted alarms; one that has is expected",
            "its calibration for all scenes does not know how the camera looks; one that does is \
             expected",
        ];
        assert_eq!(missing(&old, &bare, 0.01), expected);
        let slow = card(Some(130.0), Some(alarms), Some(bounds));
        let expected = "its frame interval is 130 ms; one within a quarter of 100 ms is expected";
        assert_eq!(missing(&old, &slow, 0.01), [expected]);
    }

    #[test]
    fn everything_lost_is_named() {
        let old = card(|_| {});
        let fresh = card(|card| {
            card.shape = ClipShape::new(3, 32).unwrap();
            card.motion_branch = false;
            card.memory_items = 0;
            card.calibrations.remove(1);
            card.calibrations[0].thresholds.clear();
        });
        let expected = [
            "past_frames is 3; 4 is expected",
            "side is 32; 16 is expected",
            "it has no motion branch; one is expected",
            "it has no memory; one is expected",
            "it has no calibration for scene `hall`; one is expected",
            "its calibration for all scenes has no threshold for a false alarm rate of 0.01; one \
             is expected",
        ];
        assert_eq!(missing(&old, &fresh, 0.01), expected);
    }
}
