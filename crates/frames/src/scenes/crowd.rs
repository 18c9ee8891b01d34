//! The people who walk through every video.

use rand::RngExt;
use rand::rngs::ChaCha8Rng;

use super::figure::{Figure, Person};
use super::ground::Ground;
use super::track::{Crossing, Track};

/// Something that moves through a video.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Actor {
    pub(super) figure: Figure,
    pub(super) track: Track,
}

/// The size of a video and the ways of its scene.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Stage {
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) frames: usize,
}

impl Stage {
    /// Height of a person in the middle of the paving, in pixels.
    pub(super) fn person(self) -> f32 {
        0.2 * self.height as f32
    }

    /// The speed of the stream in the middle of the paving, in pixels a frame.
    pub(super) fn stream(self) -> f32 {
        0.026 * self.width as f32
    }

    /// A line on the walkway where feet may stand, in pixels.
    pub(super) fn lane(self, rng: &mut ChaCha8Rng) -> f32 {
        let [far, near] = Ground::walkway(self.height);
        rng.random_range(far..near)
    }

    /// A way across at `times` the speed of the stream, against it where negative.
    pub(super) fn crossing(
        self,
        start: i32,
        reach: f32,
        times: f32,
        rng: &mut ChaCha8Rng,
    ) -> Crossing {
        let y = self.lane(rng);
        let scale = Ground::scale(self.height, y);
        let speed = self.stream() * scale * times;
        Crossing {
            start,
            width: self.width as f32,
            margin: reach * 1.3 * scale,
            y,
            speed,
            drift: speed.abs() * rng.random_range(-0.07..0.07),
            band: Ground::walkway(self.height),
        }
    }
}

/// The normal walkers of a video: everybody walks to the right. How many come changes slowly and
/// widely, within a video and between videos.
pub(super) fn walkers(stage: Stage, rng: &mut ChaCha8Rng) -> Vec<Actor> {
    const WARM_UP: i32 = 90;
    let arrivals = Arrivals::draw(stage.frames + WARM_UP as usize, rng);
    let mut actors = Vec::new();
    for (frame, &chance) in arrivals.chances.iter().enumerate() {
        if rng.random_bool(f64::from(chance)) {
            walker(stage, frame as i32 - WARM_UP, rng, &mut actors);
        }
    }
    actors
}

/// One person, or one in five times two side by side.
fn walker(stage: Stage, start: i32, rng: &mut ChaCha8Rng, actors: &mut Vec<Actor>) {
    let person = Person::draw(stage.person(), rng);
    let way = stage.crossing(start, 0.4 * stage.person(), rng.random_range(0.8..1.25), rng);
    if rng.random_bool(0.2) {
        let beside = Crossing {
            y: way.y + stage.person() * rng.random_range(0.25..0.4),
            start: start + rng.random_range(0..3),
            ..way
        };
        let companion = Person::draw(stage.person(), rng);
        actors.push(Actor { figure: Figure::Person(companion), track: Track::crossing(beside) });
    }
    actors.push(Actor { figure: Figure::Person(person), track: Track::crossing(way) });
}

/// The chance of an arrival at every frame.
struct Arrivals {
    chances: Vec<f32>,
}

impl Arrivals {
    /// Frames between changes of the rate.
    const SPACING: usize = 40;

    fn draw(frames: usize, rng: &mut ChaCha8Rng) -> Self {
        let video: f32 = rng.random_range(-0.5..0.5);
        let knots: Vec<f32> = (0..frames / Self::SPACING + 2)
            .map(|_| (0.085 * (video + rng.random_range(-2.0..1.3f32)).exp()).clamp(0.004, 0.3))
            .collect();
        let chance = |frame: usize| {
            let (knot, share) = (frame / Self::SPACING, frame % Self::SPACING);
            let share = share as f32 / Self::SPACING as f32;
            knots[knot] + (knots[knot + 1] - knots[knot]) * share
        };
        Self { chances: (0..frames).map(chance).collect() }
    }
}
