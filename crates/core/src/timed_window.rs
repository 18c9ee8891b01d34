//! The window of a camera: frames with capture times in, clips out.

use crate::capture::{CaptureTime, FrameGrid, FrameInterval, Placement, Restart};
use crate::clip::{Clip, ClipError, ClipWindow};
use crate::frame::Frame;
use crate::shape::ClipShape;

/// The last frames of a camera, as far as they follow each other at the model's interval.
///
/// A frame is placed first, by its time alone, so that one which is not wanted need not be decoded;
/// it counts only once it is pushed, so that one which cannot be decoded leaves its place to the
/// next.
#[derive(Clone, Debug)]
pub struct TimedWindow {
    shape: ClipShape,
    window: ClipWindow,
    times: Times,
    last: Option<Frame>,
    /// Why the window is being filled, while it is.
    filling: Restart,
}

/// How capture times are understood.
#[derive(Clone, Copy, Debug)]
enum Times {
    /// On the grid of a model's interval.
    Grid(FrameGrid),
    /// By their order alone, where the model's interval is not known.
    Order(Option<CaptureTime>),
}

/// Where a frame belongs; what [`TimedWindow::push`] takes beside it.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    times: Times,
    restart: Option<Restart>,
}

/// What a window says of a frame that was pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Windowed {
    /// The clip that ends with it.
    Clip(Clip),
    /// There are too few frames before it.
    Filling(Restart),
}

impl TimedWindow {
    /// An empty window, whose frames are taken as they come where no interval is known.
    pub fn new(shape: ClipShape, interval: Option<FrameInterval>) -> Self {
        let times = match interval {
            Some(interval) => Times::Grid(FrameGrid::new(interval)),
            None => Times::Order(None),
        };
        let window = ClipWindow::new(shape);
        Self { shape, window, times, last: None, filling: Restart::Start }
    }

    /// Takes frames at another interval from here on, as [`FrameGrid::set_interval`].
    pub fn set_interval(&mut self, interval: FrameInterval) {
        if let Times::Grid(grid) = &mut self.times {
            grid.set_interval(interval);
        }
    }

    /// Where a frame of this time belongs; nothing where it is not wanted. Nothing is changed but
    /// what time the newest frame has.
    pub fn place(&mut self, at: CaptureTime) -> Option<Place> {
        let mut times = self.times;
        let restart = match &mut times {
            Times::Grid(grid) => match grid.place(at) {
                Placement::Next => None,
                Placement::First(why) => Some(why),
                Placement::OffGrid => {
                    self.times = times;
                    return None;
                }
            },
            Times::Order(newest) => match newest.replace(at) {
                None => Some(Restart::Start),
                Some(before) if at < before => Some(Restart::Backwards),
                Some(_) => None,
            },
        };
        Some(Place { times, restart })
    }

    /// Takes a frame at its place.
    ///
    /// # Errors
    /// When the frame is not of the model's side; the window is then as before.
    pub fn push(&mut self, place: Place, frame: Frame) -> Result<Windowed, ClipError> {
        let mut window = match place.restart {
            Some(_) => ClipWindow::new(self.shape),
            None => self.window.clone(),
        };
        let clip = window.push(frame.clone())?;
        (self.window, self.times, self.last) = (window, place.times, Some(frame));
        // A window that has seen nothing knows better why.
        let known = place.restart.filter(|why| *why != Restart::Start);
        self.filling = known.unwrap_or(self.filling);
        Ok(clip.map_or(Windowed::Filling(self.filling), Windowed::Clip))
    }

    /// Empties the window: the next frame is the first of a new one.
    pub fn restart(&mut self, why: Restart) {
        self.window = ClipWindow::new(self.shape);
        self.last = None;
        self.filling = why;
    }

    /// The newest frame of the window.
    pub fn last(&self) -> Option<&Frame> {
        self.last.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIDE: usize = 16;

    fn frame(value: u8) -> Frame {
        Frame::new(SIDE, SIDE, vec![value; SIDE * SIDE * 3]).unwrap()
    }

    fn window(interval: Option<f64>) -> TimedWindow {
        let interval = interval.map(|it| it.try_into().unwrap());
        TimedWindow::new(ClipShape::new(2, SIDE).unwrap(), interval)
    }

    /// What becomes of frames at these milliseconds, whose pixels are their positions: the pixels
    /// of each clip, or why there is none.
    fn pushed(window: &mut TimedWindow, times: &[i64]) -> Vec<Result<Vec<u8>, Option<Restart>>> {
        let push = |(index, at): (usize, &i64)| {
            let place = window.place(CaptureTime(1000 * at)).ok_or(None)?;
            match window.push(place, frame(index as u8)).unwrap() {
                Windowed::Clip(clip) => Ok(clip.frames().iter().map(|it| it.pixels()[0]).collect()),
                Windowed::Filling(why) => Err(Some(why)),
            }
        };
        times.iter().enumerate().map(push).collect()
    }

    #[test]
    fn clips_are_made_of_frames_that_follow_each_other() {
        use Restart::{Backwards, Gap, Start};
        let found = pushed(&mut window(Some(100.0)), &[0, 50, 100, 150, 200, 300, 900, 1000, 950]);
        let expected = [
            Err(Some(Start)),
            Err(None),
            Err(Some(Start)),
            Err(None),
            Ok(vec![0, 2, 4]),
            Ok(vec![2, 4, 5]),
            Err(Some(Gap)),
            Err(Some(Gap)),
            Err(Some(Backwards)),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn without_an_interval_frames_are_taken_in_their_order() {
        use Restart::{Backwards, Start};
        let found = pushed(&mut window(None), &[7, 7, 7, 90_000, 8]);
        let clips = [Ok(vec![0, 1, 2]), Ok(vec![1, 2, 3])];
        let starts = [Err(Some(Start)), Err(Some(Start))];
        assert_eq!(found[..2], starts);
        assert_eq!(found[2..4], clips);
        assert_eq!(found[4], Err(Some(Backwards)));
    }

    #[test]
    fn a_frame_that_cannot_be_pushed_leaves_its_place_to_the_next() {
        let mut window = window(Some(100.0));
        pushed(&mut window, &[0, 100]);
        let place = window.place(CaptureTime(190_000)).unwrap();
        let odd = Frame::new(SIDE, 8, vec![0; SIDE * 8 * 3]).unwrap();
        assert!(window.push(place, odd).is_err());
        // 210 would be off the grid beside a frame at 190.
        let place = window.place(CaptureTime(210_000)).unwrap();
        assert!(matches!(window.push(place, frame(9)), Ok(Windowed::Clip(_))));
        assert_eq!(window.last(), Some(&frame(9)));
    }

    #[test]
    fn a_window_that_was_emptied_says_why_until_it_is_full() {
        let mut window = window(Some(100.0));
        pushed(&mut window, &[0, 100, 200]);
        window.restart(Restart::Size);
        assert_eq!(window.last(), None);
        let found = pushed(&mut window, &[300, 400, 500]);
        let emptied = Err(Some(Restart::Size));
        assert_eq!(found, [emptied.clone(), emptied, Ok(vec![0, 1, 2])]);
    }
}
