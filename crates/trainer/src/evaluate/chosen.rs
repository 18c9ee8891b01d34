//! Which frames are worth a look.

use std::cmp::Ordering;

use protoguard_core::normalise::Grouping;

use super::measured::Measured;
use super::normalised::Signal;

/// Frames of one video that are nearer than this show the same event.
const APART: usize = 12;

/// One scored frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChosenFrame {
    /// Index of its video.
    pub video: usize,
    /// Index in the video's scores: the oldest frame of its clip.
    pub position: usize,
    /// What it was chosen by: its smoothed surprise, or the score S where there is no detector.
    pub anomaly: f64,
    /// Whether it is labelled abnormal.
    pub abnormal: bool,
}

/// The frames that a report shows, each list worst first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chosen {
    /// The highest anomaly scores, right or wrong.
    pub anomalous: Vec<ChosenFrame>,
    /// Normal frames of the highest anomaly scores.
    pub false_alarms: Vec<ChosenFrame>,
    /// Abnormal frames of the lowest anomaly scores.
    pub misses: Vec<ChosenFrame>,
}

impl Chosen {
    /// Up to six of the most anomalous frames and four of each kind of error, by what raises the
    /// alarm. Without a detector it is S, min–max over the whole data set: by video, every video
    /// has a frame of score 1, and calibrated scores are clamped.
    pub fn of(measured: &Measured<'_>) -> Self {
        let paper = || Some(measured.normalise(Grouping::Dataset, Signal::Combined)?.videos);
        let Some(scores) = measured.smoothed().or_else(paper) else { return Self::default() };
        let videos = scores.iter().zip(measured.labels).enumerate();
        let frames: Vec<ChosenFrame> = videos
            .flat_map(|(video, (scores, labels))| {
                scores.iter().zip(labels).enumerate().map(
                    move |(position, (&anomaly, &abnormal))| ChosenFrame {
                        video,
                        position,
                        anomaly,
                        abnormal,
                    },
                )
            })
            .collect();
        let of_class = |class| frames.iter().filter(|f| f.abnormal == class).copied().collect();
        let high = |a: &ChosenFrame, b: &ChosenFrame| b.anomaly.total_cmp(&a.anomaly);
        let low = |a: &ChosenFrame, b: &ChosenFrame| a.anomaly.total_cmp(&b.anomaly);
        let videos = scores.len();
        Self {
            anomalous: spread(frames.clone(), Spread { count: 6, videos }, high),
            false_alarms: spread(of_class(false), Spread { count: 4, videos }, high),
            misses: spread(of_class(true), Spread { count: 4, videos }, low),
        }
    }
}

#[derive(Clone, Copy)]
struct Spread {
    count: usize,
    videos: usize,
}

/// The first `count` in order, spread over the videos as far as that many can be, and never next
/// to each other.
fn spread(
    mut frames: Vec<ChosenFrame>,
    wanted: Spread,
    order: impl Fn(&ChosenFrame, &ChosenFrame) -> Ordering,
) -> Vec<ChosenFrame> {
    frames.sort_by(&order);
    let share = wanted.count.div_ceil(wanted.videos.max(1));
    let mut chosen: Vec<ChosenFrame> = Vec::new();
    for limit in [share, wanted.count] {
        for frame in &frames {
            let mine = || chosen.iter().filter(|other| other.video == frame.video);
            let near = mine().any(|other| other.position.abs_diff(frame.position) < APART);
            if chosen.len() < wanted.count && !near && mine().count() < limit {
                chosen.push(*frame);
            }
        }
    }
    chosen.sort_by(order);
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(video: usize, position: usize, anomaly: f64) -> ChosenFrame {
        ChosenFrame { video, position, anomaly, abnormal: false }
    }

    #[test]
    fn frames_are_spread_and_apart() {
        let frames = vec![
            frame(0, 10, 0.9),
            frame(0, 11, 0.8),
            frame(0, 40, 0.7),
            frame(1, 10, 0.3),
            frame(1, 90, 0.2),
        ];
        let high = |a: &ChosenFrame, b: &ChosenFrame| b.anomaly.total_cmp(&a.anomaly);
        let places = |count| -> Vec<[usize; 2]> {
            let chosen = spread(frames.clone(), Spread { count, videos: 2 }, high);
            chosen.iter().map(|frame| [frame.video, frame.position]).collect()
        };
        assert_eq!(places(2), [[0, 10], [1, 10]]);
        assert_eq!(places(4), [[0, 10], [0, 40], [1, 10], [1, 90]]);
        assert_eq!(places(9).len(), 4, "the neighbour of a chosen frame is never chosen");
    }
}
