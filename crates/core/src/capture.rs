//! Time as cameras tell it: when a frame was taken, and whether it belongs to the model's rate.
//!
//! A model that learnt at ten frames a second sees everything run too slowly at twenty-five. So
//! frames are laid on a grid of the model's interval before anything else is done with them, by
//! their capture times alone: what lies between two places of the grid is passed over, and what
//! does not follow on the frame before it begins a new window.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// When a frame was taken, in microseconds since a moment that the camera chooses: only
/// differences count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CaptureTime(pub i64);

impl CaptureTime {
    /// The time between an earlier frame and this one; nothing where this one is the earlier.
    pub fn since(self, earlier: Self) -> Option<Duration> {
        let micros = i128::from(self.0) - i128::from(earlier.0);
        u64::try_from(micros).ok().map(Duration::from_micros)
    }

    /// This time and so much more, or the last that can be told.
    fn after(self, wait: Duration) -> Self {
        let micros = i64::try_from(wait.as_micros()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(micros))
    }
}

/// The time between two frames that follow each other, in milliseconds: from one microsecond to
/// an hour.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct FrameInterval(f64);

/// A number of milliseconds that is no interval between frames.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("is {0} ms; an interval between frames from 0.001 to 3600000 ms is expected")]
pub struct FrameIntervalError(pub f64);

impl TryFrom<f64> for FrameInterval {
    type Error = FrameIntervalError;

    fn try_from(milliseconds: f64) -> Result<Self, FrameIntervalError> {
        let is_one = (1e-3..=3.6e6).contains(&milliseconds);
        if is_one { Ok(Self(milliseconds)) } else { Err(FrameIntervalError(milliseconds)) }
    }
}

impl From<FrameInterval> for f64 {
    fn from(interval: FrameInterval) -> Self {
        interval.0
    }
}

impl FrameInterval {
    /// Milliseconds.
    pub fn milliseconds(self) -> f64 {
        self.0
    }

    /// The same as a duration.
    pub fn duration(self) -> Duration {
        Duration::from_secs_f64(self.0 / 1e3)
    }

    /// Frames an hour.
    pub fn frames_an_hour(self) -> f64 {
        3.6e6 / self.0
    }

    /// Whether frames of this interval look to a model of another as if they were its own: it lies
    /// at most a quarter off.
    pub fn suits(self, model: Self) -> bool {
        (self.0 - model.0).abs() <= OFF * model.0
    }
}

/// The interval of a source of frames, which does not suit a model's.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error(
    "the interval between frames is {:.1} ms, and the model's is {:.1} ms: neither that nor a whole \
     multiple of the source's comes within a quarter of it",
    found.0, model.0
)]
pub struct IntervalError {
    /// The source's.
    pub found: FrameInterval,
    /// What the model was trained with.
    pub model: FrameInterval,
}

/// How many frames of a source make one step of a model, both told by their intervals: the whole
/// number that comes nearest.
///
/// # Errors
/// When it comes no nearer than a quarter of the model's interval: a slower source, or a faster one
/// that cannot be thinned to it.
pub fn frames_a_step(source: FrameInterval, model: FrameInterval) -> Result<u32, IntervalError> {
    let frames = (model.0 / source.0).round().clamp(1.0, f64::from(u32::MAX));
    if FrameInterval(frames * source.0).suits(model) {
        Ok(frames as u32)
    } else {
        Err(IntervalError { found: source, model })
    }
}

/// Finds a source's interval from the times of its first frames.
#[derive(Clone, Debug, Default)]
pub struct SourceInterval {
    last: Option<CaptureTime>,
    /// Milliseconds between frames that came in order.
    steps: Vec<f64>,
    is_told: bool,
}

impl SourceInterval {
    /// How many frames are looked at.
    pub const FRAMES: usize = 16;

    /// Takes a frame's time. At the last of the first [`SourceInterval::FRAMES`] frames that came
    /// in order it gives the median of the times between them, and then nothing more.
    pub fn push(&mut self, at: CaptureTime) -> Option<FrameInterval> {
        let passed = self.last.replace(at).and_then(|last| at.since(last));
        if self.is_told {
            return None;
        }
        self.steps.extend(passed.map(|step| 1e3 * step.as_secs_f64()).filter(|&step| step > 0.0));
        if self.steps.len() + 1 < Self::FRAMES {
            return None;
        }
        self.is_told = true;
        self.steps.sort_by(f64::total_cmp);
        self.steps[self.steps.len() / 2].try_into().ok()
    }
}

/// The interval at which a source's frames are taken for a model: so many of the source's as come
/// nearest to the model's.
///
/// # Errors
/// As [`frames_a_step`].
pub fn step(source: FrameInterval, model: FrameInterval) -> Result<FrameInterval, IntervalError> {
    let frames = frames_a_step(source, model)?;
    Ok(FrameInterval(f64::from(frames) * source.0))
}

/// How far an interval may be from the model's, as a share of it.
const OFF: f64 = 0.25;
/// A frame that comes more than so many intervals after the last of its window is none of it: one
/// may be missing.
const GAP: f64 = 2.0 + OFF;

/// The places in time at which a model takes frames.
#[derive(Clone, Copy, Debug)]
pub struct FrameGrid {
    interval: Duration,
    /// The last frame that was taken, and the place of the grid that it filled.
    taken: Option<Taken>,
    /// The newest frame, taken or not.
    newest: Option<CaptureTime>,
}

#[derive(Clone, Copy, Debug)]
struct Taken {
    at: CaptureTime,
    place: CaptureTime,
}

/// What a frame is for a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// The next of the window.
    Next,
    /// Between two places of the grid, or no newer than the frame before: not for the window.
    OffGrid,
    /// The first of a new window.
    First(Restart),
}

/// Why a window begins anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// It is the source's first frame.
    Start,
    /// More than two and a quarter intervals passed.
    Gap,
    /// The frame is older than the one before it.
    Backwards,
    /// The frame has another size than the one before it.
    Size,
    /// A model of another shape or interval takes over.
    Model,
    /// The camera shows something again.
    CameraState,
}

impl FrameGrid {
    /// A grid of this interval that begins with the first frame.
    pub fn new(interval: FrameInterval) -> Self {
        Self { interval: interval.duration(), taken: None, newest: None }
    }

    /// Takes frames at another interval from here on, which is a camera's own way to the model's.
    pub fn set_interval(&mut self, interval: FrameInterval) {
        self.interval = interval.duration();
    }

    /// Where the next frame belongs, by its time alone.
    ///
    /// The first frame at most a quarter of an interval before a place fills it, so that a source
    /// of two and a half times the rate alternates between its second and third frame and keeps
    /// step. One that comes more than half an interval late moves the grid.
    pub fn place(&mut self, at: CaptureTime) -> Placement {
        let newest = self.newest.replace(at);
        let Some(taken) = self.taken else { return self.first(at, Restart::Start) };
        if newest.is_some_and(|newest| at < newest) {
            return self.first(at, Restart::Backwards);
        }
        let passed = at.since(taken.at).unwrap_or_default();
        if passed > self.interval.mul_f64(GAP) {
            return self.first(at, Restart::Gap);
        }
        let due = taken.place.after(self.interval);
        if at.after(self.interval.mul_f64(OFF)) < due || newest == Some(at) {
            return Placement::OffGrid;
        }
        let late = at.since(due).unwrap_or_default() > self.interval / 2;
        self.taken = Some(Taken { at, place: if late { at } else { due } });
        Placement::Next
    }

    fn first(&mut self, at: CaptureTime, why: Restart) -> Placement {
        self.taken = Some(Taken { at, place: at });
        Placement::First(why)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(milliseconds: u32) -> FrameInterval {
        f64::from(milliseconds).try_into().unwrap()
    }

    /// Where frames at these milliseconds belong on a grid of 100 ms.
    fn places(times: impl IntoIterator<Item = i64>) -> Vec<Placement> {
        let mut grid = FrameGrid::new(ms(100));
        times.into_iter().map(|at| grid.place(CaptureTime(1000 * at))).collect()
    }

    /// The milliseconds of the frames that are taken of a source of this interval.
    fn taken(interval: f64, frames: u32) -> Vec<i64> {
        let times: Vec<i64> =
            (0..frames).map(|frame| (f64::from(frame) * interval).round() as i64).collect();
        let placed = places(times.clone()).into_iter().zip(times);
        placed.filter(|(it, _)| *it != Placement::OffGrid).map(|(_, at)| at).collect()
    }

    #[test]
    fn a_source_is_thinned_to_the_models_rate() {
        assert_eq!(taken(100.0, 5), [0, 100, 200, 300, 400]);
        // 25 frames a second: the second and the third in turn.
        assert_eq!(taken(40.0, 11), [0, 80, 200, 280, 400]);
        // 30 a second, every third; 12.5 a second, nearly all.
        assert_eq!(taken(100.0 / 3.0, 10), [0, 100, 200, 300]);
        assert_eq!(taken(80.0, 7), [0, 80, 240, 320, 400, 480]);
        // A source that is a tenth slower keeps its own step.
        assert_eq!(taken(110.0, 5), [0, 110, 220, 330, 440]);
    }

    #[test]
    fn a_window_begins_anew_where_time_does() {
        use Placement::{First, Next, OffGrid};
        let found = places([0, 100, 201, 426, 652, 552, 652, 652, 750]);
        let expected = [
            First(Restart::Start),
            Next,
            Next,
            // Two intervals and a quarter are no gap yet, and one millisecond more is.
            Next,
            First(Restart::Gap),
            First(Restart::Backwards),
            Next,
            // Time that stands still is no frame.
            OffGrid,
            Next,
        ];
        assert_eq!(found, expected);
        let day = 86_400_000;
        assert_eq!(places([0, day, day + 100])[1..], [First(Restart::Gap), Next]);
        // The ends of what can be told are times like others.
        let mut grid = FrameGrid::new(ms(100));
        assert_eq!(grid.place(CaptureTime(i64::MIN)), First(Restart::Start));
        assert_eq!(grid.place(CaptureTime(i64::MAX)), First(Restart::Gap));
        assert_eq!(grid.place(CaptureTime(i64::MIN)), First(Restart::Backwards));
    }

    #[test]
    fn intervals_suit_or_are_told_beside_each_other() {
        let steps = |source: u32, model: u32| frames_a_step(ms(source), ms(model));
        for (source, frames) in [(100, 1), (80, 1), (125, 1), (50, 2), (40, 3), (33, 3), (10, 10)] {
            assert_eq!(steps(source, 100), Ok(frames), "{source} ms");
        }
        for source in [67, 126, 250, 1000] {
            assert!(steps(source, 100).is_err(), "{source} ms");
        }
        assert_eq!(
            steps(250, 100).unwrap_err().to_string(),
            "the interval between frames is 250.0 ms, and the model's is 100.0 ms: neither that nor \
             a whole multiple of the source's comes within a quarter of it"
        );
    }

    #[test]
    fn a_source_near_the_models_rate_is_taken_frame_for_frame() {
        for (source, expected) in [(90, 90), (80, 80), (40, 120), (33, 99), (120, 120)] {
            let interval = step(ms(source), ms(100)).unwrap();
            assert_eq!(interval, ms(expected), "{source}");
            let mut grid = FrameGrid::new(ms(100));
            grid.set_interval(interval);
            let times = (0..60).map(|frame| i64::from(source) * frame);
            let taken: Vec<i64> = times
                .filter(|&at| grid.place(CaptureTime(1000 * at)) != Placement::OffGrid)
                .collect();
            assert!(
                taken.windows(2).all(|pair| pair[1] - pair[0] == i64::from(expected)),
                "{source}: {taken:?}"
            );
        }
    }

    #[test]
    fn the_interval_of_a_source_is_the_median_of_its_first() {
        let mut source = SourceInterval::default();
        // One jump of a second and one step back, among frames 40 ms apart.
        let times = (0..20).map(|frame| match frame {
            3 => 80,
            frame if frame > 9 => 40 * frame + 1000,
            frame => 40 * frame,
        });
        let told: Vec<(i64, FrameInterval)> = times
            .filter_map(|at| source.push(CaptureTime(1000 * at)).map(|found| (at, found)))
            .collect();
        assert_eq!(told, [(1640, ms(40))]);
    }

    #[test]
    fn an_interval_is_a_time_that_passes() {
        for wrong in [0.0, -40.0, 1e-4, 3.7e6, f64::INFINITY, f64::NAN] {
            assert!(FrameInterval::try_from(wrong).is_err(), "{wrong}");
        }
        assert_eq!(ms(40).frames_an_hour(), 90_000.0);
        assert_eq!(ms(40).duration(), Duration::from_millis(40));
        assert_eq!([75, 74, 125, 126].map(|it| ms(it).suits(ms(100))), [true, false, true, false]);
    }

    proptest! {
        /// Whatever the times are, taken frames of one window lie in order, none nearer than three
        /// quarters of what the grid asks for on average, and none beyond a gap.
        #[test]
        fn windows_hold_what_follows(steps in prop::collection::vec(-300i64..700, 1..200)) {
            let mut grid = FrameGrid::new(ms(100));
            let (mut at, mut window) = (0, Vec::new());
            for step in steps {
                // Most steps are short and forward.
                at += if step < -250 { step } else { step.abs() / 4 };
                match grid.place(CaptureTime(1000 * at)) {
                    Placement::OffGrid => continue,
                    Placement::First(_) => window = vec![at],
                    Placement::Next => window.push(at),
                }
                if let [.., before, last] = window[..] {
                    prop_assert!(last > before && last - before <= 225);
                }
                // The grid never runs ahead of time by more than its tolerance.
                let asked = 100 * (window.len() as i64 - 1);
                prop_assert!(window[window.len() - 1] - window[0] >= asked - 25);
            }
        }
    }
}
