//! From surprises to alarms: when one is raised, and when it ends.
//!
//! A threshold alone flickers: one odd frame is an alarm, and an event whose score dips for a frame
//! is two. So an alarm takes several frames to be raised, and outlasts a dip.

use std::collections::VecDeque;

use serde::Serialize;

/// When an alarm is raised and when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct AlarmRule {
    /// A frame is unusual above this surprise.
    pub threshold: f64,
    /// The alarm is raised when at least so many ...
    pub unusual: usize,
    /// ... of so many frames in a row, the newest the last, are unusual.
    pub among: usize,
    /// It stands while at most so many frames in a row are not unusual.
    pub hold: usize,
}

impl AlarmRule {
    /// The usual rule above a threshold: two of three frames, and three frames of hold. The first
    /// frame above is never an alarm, and the second or third of an event is.
    pub fn above(threshold: f64) -> Self {
        Self { threshold, unusual: 2, among: 3, hold: 3 }
    }

    /// An alarm at the start of a video.
    pub fn start(self) -> Alarm {
        Alarm { rule: self, recent: VecDeque::with_capacity(self.among), state: State::Quiet }
    }
}

/// The alarm of one video.
#[derive(Clone, Debug)]
pub struct Alarm {
    rule: AlarmRule,
    /// Whether each of the last [`AlarmRule::among`] frames was unusual, the newest last; empty
    /// while the alarm is raised.
    recent: VecDeque<bool>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Quiet,
    /// With the number of frames since the last unusual one.
    Raised {
        usual: usize,
    },
}

impl Alarm {
    /// Takes the surprise of the next frame; whether the alarm stands at that frame. NaN is not
    /// unusual.
    pub fn push(&mut self, surprise: f64) -> bool {
        let unusual = surprise > self.rule.threshold;
        self.state = match self.state {
            State::Quiet => self.count(unusual),
            State::Raised { .. } if unusual => State::Raised { usual: 0 },
            State::Raised { usual } if usual < self.rule.hold => State::Raised { usual: usual + 1 },
            State::Raised { .. } => State::Quiet,
        };
        self.state != State::Quiet
    }

    fn count(&mut self, unusual: bool) -> State {
        if self.recent.len() >= self.rule.among {
            self.recent.pop_front();
        }
        self.recent.push_back(unusual);
        if self.recent.iter().filter(|&&unusual| unusual).count() < self.rule.unusual {
            return State::Quiet;
        }
        self.recent.clear();
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
        let plain = AlarmRule { threshold: 2.0, unusual: 1, among: 1, hold: 0 };
        assert_eq!(alarms(plain, "#.##..#"), "#.##..#");
        let mut alarm = plain.start();
        assert!(!alarm.push(f64::NAN) && alarm.push(f64::INFINITY));
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
        ) {
            let rule = AlarmRule { threshold: 0.5, unusual: 1 + share % among, among, hold };
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
                }
                if stands[at] && before && !frames[at] {
                    let usual = frames[..=at].iter().rev().take_while(|&&odd| !odd).count();
                    prop_assert!(usual <= hold);
                }
            }
        }
    }
}
