//! People, cyclists, carts and objects, drawn from limbs and discs.

use std::f32::consts::{PI, TAU};

use rand::RngExt;
use rand::rngs::ChaCha8Rng;

use super::canvas::{Canvas, Paint, Point, Rgb, point};
use super::ground::muted;
use super::track::Step;

/// What something looks like. Sizes are in pixels at the middle of the paving.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Figure {
    Person(Person),
    Cyclist(Person),
    Cart { height: f32, panel: Rgb, trim: Rgb },
    Object { radius: f32, halves: [Rgb; 2] },
}

/// A person's build and clothes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Person {
    height: f32,
    /// Width of the trunk as a share of the height.
    girth: f32,
    shirt: Rgb,
    /// A second colour for a striped shirt.
    stripe: Option<Rgb>,
    trousers: Rgb,
    skin: Rgb,
    hair: Rgb,
    bag: Option<Rgb>,
    /// Length of a double step as a share of the height, and the legs' largest angle.
    stride: f32,
    swing: f32,
    /// Where in the double step it begins, in radians.
    phase: f32,
    /// How far the trunk leans forward, in radians.
    lean: f32,
}

impl Person {
    /// Somebody of about `height` pixels.
    pub(super) fn draw(height: f32, rng: &mut ChaCha8Rng) -> Self {
        let striped = rng.random_bool(0.3);
        let bag = rng.random_bool(0.25);
        Self {
            height: height * rng.random_range(0.8..1.2),
            girth: rng.random_range(0.12..0.17),
            shirt: muted(rng, 50.0..215.0, 24.0),
            stripe: striped.then(|| muted(rng, 60.0..200.0, 16.0)),
            trousers: muted(rng, 35.0..110.0, 14.0),
            skin: [172.0, 134.0, 110.0].map(|v: f32| v * rng.random_range(0.65..1.15)),
            hair: muted(rng, 25.0..90.0, 10.0),
            bag: bag.then(|| muted(rng, 40.0..160.0, 18.0)),
            stride: rng.random_range(1.0..1.2),
            swing: rng.random_range(0.35..0.5),
            phase: rng.random_range(0.0..TAU),
            lean: 0.04,
        }
    }

    /// The same person running: long steps, wide swings, leaning forward.
    pub(super) fn running(self) -> Self {
        Self { stride: 1.9, swing: 0.85, lean: 0.25, ..self }
    }

    fn shirt(&self, height: f32, y: f32) -> Paint {
        let Some(stripe) = self.stripe else { return Paint::Plain(self.shirt) };
        Paint::Stripes { colours: [self.shirt, stripe], period: height * 0.13, origin: y }
    }
}

impl Figure {
    /// Half of what it covers from left to right, in pixels at the middle of the paving.
    pub(super) fn reach(&self) -> f32 {
        match self {
            Self::Person(person) => person.height * 0.3,
            Self::Cyclist(person) => person.height * 0.72,
            Self::Cart { height, .. } => height * 0.95,
            Self::Object { radius, .. } => *radius,
        }
    }

    /// Draws it at a step, `scale` times as large as at the middle of the paving.
    pub(super) fn paint(&self, canvas: &mut Canvas, step: &Step, scale: f32) {
        let reach = self.reach() * scale;
        let shadow = point(reach * 0.9, (reach * 0.22).max(1.0));
        canvas.ellipse(point(step.x, step.y), shadow, Paint::Shade(0.22));
        match self {
            Self::Person(person) => Pose::walking(person, step, scale).paint(canvas),
            Self::Cyclist(person) => cyclist(canvas, person, step, scale),
            Self::Cart { height, panel, trim } => {
                cart(canvas, step, height * scale, [*panel, *trim]);
            }
            Self::Object { radius, halves } => object(canvas, step, radius * scale, *halves),
        }
    }
}

/// Where a person's joints are in one frame.
struct Pose<'a> {
    person: &'a Person,
    height: f32,
    hip: Point,
    shoulder: Point,
    /// Angles of the legs and of the arms, in radians from straight down.
    legs: [f32; 2],
    arms: [f32; 2],
    facing: f32,
}

impl<'a> Pose<'a> {
    fn walking(person: &'a Person, step: &Step, scale: f32) -> Self {
        let height = person.height * scale;
        let phase = person.phase + step.travelled / (person.stride * height) * TAU;
        let swing = person.swing * phase.sin();
        let bob = 0.015 * height * (2.0 * phase).cos();
        let hip = point(step.x, step.y - step.lift - 0.47 * height + bob);
        let shoulder = hip.hang(0.33 * height, PI - person.lean * step.facing);
        let raised = step.gesture;
        Self {
            person,
            height,
            hip,
            shoulder,
            legs: [swing, -swing],
            arms: [-0.8 * swing + raised, 0.8 * swing - raised],
            facing: step.facing,
        }
    }

    fn paint(&self, canvas: &mut Canvas) {
        let Self { person, height, hip, shoulder, .. } = *self;
        let shirt = person.shirt(height, hip.y);
        canvas.limb([shoulder, shoulder.hang(0.34 * height, self.arms[0])], 0.045 * height, shirt);
        for angle in self.legs {
            let foot = hip.hang(0.47 * height, angle);
            canvas.limb([hip, foot], 0.06 * height, Paint::Plain(person.trousers));
        }
        let girth = person.girth * height;
        canvas.limb([hip, point(shoulder.x, shoulder.y + 0.06 * height)], girth, shirt);
        if let Some(bag) = person.bag {
            let at = point(hip.x - self.facing * girth, hip.y - 0.16 * height);
            canvas.ellipse(at, point(0.1 * height, 0.13 * height), Paint::Plain(bag));
        }
        canvas.limb([shoulder, shoulder.hang(0.34 * height, self.arms[1])], 0.045 * height, shirt);
        let head = point(shoulder.x + 0.02 * self.facing * height, shoulder.y - 0.13 * height);
        canvas.ellipse(head, point(0.085 * height, 0.1 * height), Paint::Plain(person.skin));
        let crown = point(head.x - 0.02 * self.facing * height, head.y - 0.045 * height);
        canvas.ellipse(crown, point(0.085 * height, 0.06 * height), Paint::Plain(person.hair));
    }
}

fn cyclist(canvas: &mut Canvas, rider: &Person, step: &Step, scale: f32) {
    let height = rider.height * scale;
    let wheel = 0.27 * height;
    let metal = Paint::Plain(rider.trousers.map(|v| v * 0.6));
    let axle = |side: f32| point(step.x + side * step.facing * 0.45 * height, step.y - wheel);
    let turn = step.travelled / wheel;
    for side in [-1.0, 1.0] {
        let centre = axle(side);
        canvas.ring(centre, wheel, 0.055 * height, metal);
        for spoke in [0.0, PI / 2.0] {
            let rim = |angle: f32| centre.hang(wheel, angle + turn);
            canvas.limb([rim(spoke), rim(spoke + PI)], 0.012 * height, metal);
        }
    }
    let saddle = point(step.x - 0.14 * step.facing * height, step.y - 0.68 * height);
    let crank = point(step.x, step.y - wheel * 0.9);
    let bars = point(step.x + 0.34 * step.facing * height, step.y - 0.7 * height);
    for ends in [[axle(-1.0), crank], [crank, saddle], [saddle, bars], [bars, axle(1.0)]] {
        canvas.limb(ends, 0.025 * height, metal);
    }
    for half_turn in [0.0, PI] {
        let pedal = crank.hang(0.1 * height, turn * 0.5 + half_turn);
        let knee = point(
            (saddle.x + pedal.x) / 2.0 + 0.1 * step.facing * height,
            (saddle.y + pedal.y) / 2.0 - 0.05 * height,
        );
        canvas.limb([saddle, knee], 0.06 * height, Paint::Plain(rider.trousers));
        canvas.limb([knee, pedal], 0.055 * height, Paint::Plain(rider.trousers));
    }
    let shoulder = saddle.hang(0.38 * height, PI - 0.6 * step.facing);
    canvas.limb([saddle, shoulder], rider.girth * height, rider.shirt(height, saddle.y));
    canvas.limb([shoulder, bars], 0.045 * height, rider.shirt(height, saddle.y));
    let head = point(shoulder.x + 0.09 * step.facing * height, shoulder.y - 0.12 * height);
    canvas.ellipse(head, point(0.09 * height, 0.1 * height), Paint::Plain(rider.hair));
}

fn cart(canvas: &mut Canvas, step: &Step, height: f32, colours: [Rgb; 2]) {
    let [panel, trim] = colours.map(Paint::Plain);
    let rattle = 0.012 * height * (step.travelled * 0.9).sin();
    let wheel = 0.17 * height;
    let at =
        |x: f32, y: f32| point(step.x + x * height * step.facing, step.y - y * height + rattle);
    let block = |canvas: &mut Canvas, a: Point, b: Point, paint: Paint| {
        canvas.block([point(a.x.min(b.x), a.y.min(b.y)), point(a.x.max(b.x), a.y.max(b.y))], paint);
    };
    block(canvas, at(-0.9, 0.85), at(0.62, 0.14), panel);
    block(canvas, at(0.62, 0.55), at(0.92, 0.14), panel);
    block(canvas, at(-0.9, 0.42), at(0.92, 0.34), trim);
    for door in [-0.55, -0.1, 0.3] {
        block(canvas, at(door, 0.78), at(door + 0.22, 0.5), trim);
    }
    for side in [-0.55, 0.55] {
        let centre = point(step.x + side * height * step.facing, step.y - wheel);
        canvas.ellipse(centre, point(wheel, wheel), Paint::Plain([34.0, 33.0, 36.0]));
        let hub = centre.hang(wheel * 0.5, step.travelled / wheel);
        canvas.limb([centre, hub], 0.045 * height, Paint::Plain([150.0, 150.0, 148.0]));
    }
}

fn object(canvas: &mut Canvas, step: &Step, radius: f32, halves: [Rgb; 2]) {
    let centre = point(step.x, step.y - step.lift - radius);
    canvas.ellipse(centre, point(radius, radius), Paint::Plain(halves[0]));
    let side = centre.hang(radius * 0.45, step.travelled / radius * 0.6);
    canvas.ellipse(side, point(radius * 0.5, radius * 0.5), Paint::Plain(halves[1]));
}
