//! From surprises to alarms: when one is raised, and when it ends.
//!
//! A threshold alone flickers: one odd frame is an alarm, and an event whose score dips for a frame
//! is two. So an alarm takes several frames to be raised, and outlasts a dip.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// When an alarm is raised and when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct AlarmRule {
    /// A frame is unusual above this surprise.
    pub threshold: f64,
    /// While the alarm stands, a frame is usual at this surprise or below; at most the threshold.
    pub clear: f64,
    /// The alarm is raised when at least so many ...
    pub unusual: usize,
    /// ... of so many frames in a row, the newest the last, are unusual.
    pub among: usize,
    /// It stands while at most so many frames in a row are usual.
    pub hold: usize,
    /// After its end so many frames pass before it can stand again.
    pub cool_down: usize,
}

impl AlarmRule {
    /// The usual rule above a threshold: two of three frames, and three frames of hold. The first
    /// frame above is never an alarm, and the second or third of an event is.
    pub fn above(threshold: f64) -> Self {
        Self { threshold, clear: threshold, unusual: 2, among: 3, hold: 3, cool_down: 0 }
    }

    /// An alarm at the start of a video.
    pub fn start(self) -> Alarm {
        let recent = VecDeque::with_capacity(self.among);
        self.resume(AlarmMemory { recent, state: State::Quiet { cooling: 0 } })
    }

    /// The alarm that goes on from what another of this rule knew.
    pub fn resume(self, memory: AlarmMemory) -> Alarm {
        Alarm { rule: self, memory }
    }
}

/// The alarm of one video, or of a camera.
#[derive(Clone, Debug)]
pub struct Alarm {
    rule: AlarmRule,
    memory: AlarmMemory,
}

/// What an alarm knows of the frames before: enough for another alarm of the same rule to go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlarmMemory {
    /// Whether each of the last [`AlarmRule::among`] frames was unusual, the newest last; empty
    /// while the alarm is raised.
    recent: VecDeque<bool>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    /// With the number of frames for which it cannot be raised.
    Quiet { cooling: usize },
    /// With the number of usual frames in a row.
    Raised { usual: usize },
}

impl Alarm {
    /// Takes the surprise of the next frame; whether the alarm stands at that frame. NaN is not
    /// unusual.
    pub fn push(&mut self, surprise: f64) -> bool {
        let rule = self.rule;
        self.memory.state = match self.memory.state {
            State::Quiet { cooling } => self.count(surprise > rule.threshold, cooling),
            State::Raised { .. } if surprise > rule.clear => State::Raised { usual: 0 },
            State::Raised { usual } if usual < rule.hold => State::Raised { usual: usual + 1 },
            State::Raised { .. } => State::Quiet { cooling: rule.cool_down },
        };
        self.stands()
    }

    /// Whether it stands at the last frame.
    pub fn stands(&self) -> bool {
        matches!(self.memory.state, State::Raised { .. })
    }

    /// What another alarm of the same rule needs to go on.
    pub fn memory(&self) -> &AlarmMemory {
        &self.memory
    }

    /// Ends it, as where the camera's frames end.
    pub(crate) fn end(&mut self) {
        if self.stands() {
            self.memory.state = State::Quiet { cooling: self.rule.cool_down };
        }
        self.memory.recent.clear();
    }

    fn count(&mut self, unusual: bool, cooling: usize) -> State {
        let recent = &mut self.memory.recent;
        while recent.len() >= self.rule.among {
            recent.pop_front();
        }
        recent.push_back(unusual);
        let enough = recent.iter().filter(|&&unusual| unusual).count() >= self.rule.unusual;
        if cooling > 0 || !(unusual && enough) {
            return State::Quiet { cooling: cooling.saturating_sub(1) };
        }
        recent.clear();
        State::Raised { usual: 0 }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Of frames above (`#`) and below (`.`) the threshold, those at which the alarm stands.
    fn alarms(rule: AlarmRule, frames: &str) -> String {
        let mut alarm = rule.start();
        let push = |frame| if alarm.push(if frame == '#' { 2.5 } else { 2.0 }) { '#' } else { '.' };
        frames.chars().map(push).collect()
    }

    #[test]
    fn one_odd_frame_is_none_and_a_dip_ends_none() {
        let rule = AlarmRule::above(2.0);
        let of = |frames| alarms(rule, frames);
        assert_eq!(of("..#....#...."), "............");
        assert_eq!(of("..##........"), "...####.....");
        assert_eq!(of("..#.#......."), "....####....");
        assert_eq!(of("..##...##...#."), "...###########");
        // After its end it takes two of three again, and none of the old ones.
        assert_eq!(of("##....#.##.."), ".####...####");
        assert_eq!(of("##.........#"), ".####.......");
    }

    #[test]
    fn a_rule_of_one_frame_without_hold_is_the_threshold() {
        let plain = AlarmRule { unusual: 1, among: 1, hold: 0, ..AlarmRule::above(2.0) };
        assert_eq!(alarms(plain, "#.##..#"), "#.##..#");
        let mut alarm = plain.start();
        assert!(!alarm.push(f64::NAN) && alarm.push(f64::INFINITY));
    }

    #[test]
    fn it_stands_above_a_lower_bound_and_cools_down() {
        let rule = AlarmRule { clear: 1.0, hold: 0, cool_down: 3, ..AlarmRule::above(2.0) };
        let mut alarm = rule.start();
        let surprises = [2.5, 2.5, 1.5, 1.1, 0.5, 2.5, 2.5, 2.5, 2.5, 0.5];
        let stands: Vec<bool> = surprises.iter().map(|&surprise| alarm.push(surprise)).collect();
        let expected = [false, true, true, true, false, false, false, false, true, false];
        assert_eq!(stands, expected);
    }

    #[test]
    fn another_alarm_goes_on_from_its_memory() {
        let rule = AlarmRule { cool_down: 2, ..AlarmRule::above(2.0) };
        let frames: Vec<f64> =
            "..#.##....#...##.##".chars().map(|it| if it == '#' { 3.0 } else { 0.0 }).collect();
        let mut whole = rule.start();
        for cut in 0..frames.len() {
            let mut first = rule.start();
            for &frame in &frames[..cut] {
                first.push(frame);
            }
            let told = serde_json::to_string(first.memory()).unwrap();
            let mut second = rule.resume(serde_json::from_str(&told).unwrap());
            assert_eq!(second.push(frames[cut]), whole.push(frames[cut]), "{cut}");
        }
    }

    proptest! {
        /// Every alarm begins with enough unusual frames, ends with a whole hold of usual ones, and
        /// two never lie side by side.
        #[test]
        fn alarms_begin_and_end_by_the_rule(
            frames in prop::collection::vec(any::<bool>(), 0..200),
            among in 1usize..6,
            share in 0usize..6,
            hold in 0usize..6,
            cool_down in 0usize..6,
        ) {
            let unusual = 1 + share % among;
            let rule = AlarmRule { unusual, among, hold, cool_down, ..AlarmRule::above(0.5) };
            let mut alarm = rule.start();
            let stands: Vec<bool> =
                frames.iter().map(|&odd| alarm.push(f64::from(u8::from(odd)))).collect();
            for at in 0..frames.len() {
                let before = at > 0 && stands[at - 1];
                if stands[at] && !before {
                    let window = &frames[(at + 1).saturating_sub(among)..=at];
                    prop_assert!(window.iter().filter(|&&odd| odd).count() >= rule.unusual);
                    prop_assert!(frames[at]);
                }
                if !stands[at] && before {
                    prop_assert!(frames[at - hold..=at].iter().all(|&odd| !odd));
                    let cooling = (at + 1 + cool_down).min(stands.len());
                    prop_assert!(stands[at..cooling].iter().all(|&stands| !stands));
                }
                if stands[at] && before && !frames[at] {
                    let usual = frames[..=at].iter().rev().take_while(|&&odd| !odd).count();
                    prop_assert!(usual <= hold);
                }
            }
        }
    }
}
