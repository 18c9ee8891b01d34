//! Where something is in each frame.

/// Where something is at one frame, and how it holds itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Step {
    /// Where it touches the ground, in pixels.
    pub(super) x: f32,
    pub(super) y: f32,
    /// Height above the ground, in pixels.
    pub(super) lift: f32,
    /// Pixels travelled so far: what legs and wheels turn by.
    pub(super) travelled: f32,
    /// 1 to the right, -1 to the left.
    pub(super) facing: f32,
    /// Radians by which the arms are raised.
    pub(super) gesture: f32,
}

/// A path sampled at every frame, from frame `start` on; `start` may lie before the video.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Track {
    pub(super) start: i32,
    pub(super) steps: Vec<Step>,
}

impl Track {
    pub(super) fn at(&self, frame: usize) -> Option<&Step> {
        let index = i32::try_from(frame).ok()?.checked_sub(self.start)?;
        self.steps.get(usize::try_from(index).ok()?)
    }

    /// A straight way across the picture.
    pub(super) fn crossing(way: Crossing) -> Self {
        let Crossing { start, width, margin, y, speed, drift, band } = way;
        let entry = if speed > 0.0 { -margin } else { width + margin };
        let frames = ((width + 2.0 * margin) / speed.abs()).ceil() as usize;
        let step = |frame: usize| {
            let t = frame as f32;
            Step {
                x: entry + speed * t,
                y: (y + drift * t).clamp(band[0], band[1]),
                lift: 0.0,
                travelled: speed.abs() * t,
                facing: speed.signum(),
                gesture: 0.0,
            }
        };
        Self { start, steps: (0..=frames).map(step).collect() }
    }

    /// Goes on from the last step towards the right or left edge until `margin` beyond it.
    pub(super) fn leave(&mut self, speed: f32, width: f32, margin: f32) {
        while let Some(&last) = self.steps.last() {
            if last.x < -margin || last.x > width + margin {
                return;
            }
            self.steps.push(Step {
                x: last.x + speed,
                travelled: last.travelled + speed.abs(),
                facing: speed.signum(),
                gesture: 0.0,
                ..last
            });
        }
    }
}

/// A straight way across a picture of `width` pixels; speeds in pixels a frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Crossing {
    /// The frame at which it begins.
    pub(super) start: i32,
    pub(super) width: f32,
    /// How far outside the picture it begins and ends, in pixels.
    pub(super) margin: f32,
    /// Where the feet start.
    pub(super) y: f32,
    /// To the right where positive.
    pub(super) speed: f32,
    /// Downwards where positive.
    pub(super) drift: f32,
    /// The feet stay between these lines.
    pub(super) band: [f32; 2],
}
