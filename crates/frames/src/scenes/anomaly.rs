//! What training never shows, and when it is seen.

use std::fmt;
use std::ops::Range;

use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::crowd::{Actor, Stage};
use super::figure::{Figure, Person};
use super::ground::{Ground, muted};
use super::track::{Crossing, Step, Track};

/// Something that the training videos never show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnomalyKind {
    /// People on bicycles.
    Cyclist,
    /// People who run.
    Runner,
    /// Boxes on wheels.
    Cart,
    /// People who walk against the stream.
    AgainstStream,
    /// Somebody who paces about where all others walk on.
    Loiterer,
    /// Objects thrown across, bouncing.
    ThrownObject,
}

impl AnomalyKind {
    /// Every kind, in the order in which test videos take turns.
    pub const ALL: [Self; 6] = [
        Self::Cyclist,
        Self::AgainstStream,
        Self::Cart,
        Self::ThrownObject,
        Self::Runner,
        Self::Loiterer,
    ];
}

impl fmt::Display for AnomalyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cyclist => "cyclist",
            Self::Runner => "runner",
            Self::Cart => "cart",
            Self::AgainstStream => "against the stream",
            Self::Loiterer => "loiterer",
            Self::ThrownObject => "thrown object",
        })
    }
}

/// The anomalous stretch of a video.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnomalySpan {
    /// What it shows.
    pub kind: AnomalyKind,
    /// Index of the first anomalous frame.
    pub first_frame: usize,
    /// Anomalous frames, all in a row.
    pub frames: usize,
}

impl AnomalySpan {
    /// Whether a frame is anomalous.
    pub fn contains(&self, frame: usize) -> bool {
        (self.first_frame..self.first_frame + self.frames).contains(&frame)
    }
}

/// Who makes a video anomalous, and the frames in which they do.
pub(super) struct Event {
    pub(super) actors: Vec<Actor>,
    pub(super) span: AnomalySpan,
}

impl Event {
    pub(super) fn draw(kind: AnomalyKind, stage: Stage, rng: &mut ChaCha8Rng) -> Self {
        let frames = stage.frames as f32;
        let length = (frames * rng.random_range(0.34..0.44)) as usize;
        let first = rng.random_range(stage.frames / 8..stage.frames - stage.frames / 6 - length);
        let wanted = first..first + length;
        if kind == AnomalyKind::Loiterer {
            let actors = vec![loiterer(stage, wanted, rng)];
            let span = AnomalySpan { kind, first_frame: first, frames: length };
            return Self { actors, span };
        }
        let actors = passers(kind, stage, wanted, rng);
        let seen = |&frame: &usize| actors.iter().any(|actor| is_seen(actor, stage, frame));
        let first_frame = (0..stage.frames).find(seen).unwrap_or(first);
        let last = (0..stage.frames).rev().find(seen).unwrap_or(first);
        Self { span: AnomalySpan { kind, first_frame, frames: last + 1 - first_frame }, actors }
    }
}

/// A frame counts from where a third of a figure is in the picture.
fn is_seen(actor: &Actor, stage: Stage, frame: usize) -> bool {
    let Some(step) = actor.track.at(frame) else { return false };
    let outside = (-step.x).max(step.x - stage.width as f32);
    outside < actor.figure.reach() * Ground::scale(stage.height, step.y) / 3.0
}

/// One after another, each before the last has left, for as long as the stretch lasts.
fn passers(
    kind: AnomalyKind,
    stage: Stage,
    wanted: Range<usize>,
    rng: &mut ChaCha8Rng,
) -> Vec<Actor> {
    // Slow ones may stay a little longer than wanted, but never so few that the stretch is short.
    let enough = wanted.start + stage.frames * 3 / 10;
    let (mut actors, mut covered): (Vec<Actor>, usize) = (Vec::new(), wanted.start);
    let mut start = wanted.start as i32;
    loop {
        let actor = passer(kind, stage, start, rng);
        let frames = actor.track.steps.len();
        let end = start as usize + frames;
        if covered > enough && end > wanted.end {
            return actors;
        }
        actors.push(actor);
        covered = covered.max(end);
        start += (frames as f32 * rng.random_range(0.4..0.7)) as i32;
    }
}

fn passer(kind: AnomalyKind, stage: Stage, start: i32, rng: &mut ChaCha8Rng) -> Actor {
    let person = Person::draw(stage.person(), rng);
    let (figure, times) = match kind {
        AnomalyKind::Cyclist => (Figure::Cyclist(person), rng.random_range(2.1..2.8)),
        AnomalyKind::Runner => (Figure::Person(person.running()), rng.random_range(2.4..3.0)),
        AnomalyKind::Cart => {
            let height = stage.person() * rng.random_range(1.1..1.4);
            let (panel, trim) = (muted(rng, 60.0..210.0, 28.0), muted(rng, 40.0..190.0, 20.0));
            (Figure::Cart { height, panel, trim }, rng.random_range(1.3..1.9))
        }
        AnomalyKind::ThrownObject => {
            let radius = stage.person() * rng.random_range(0.26..0.36);
            let halves = [muted(rng, 40.0..90.0, 25.0), muted(rng, 170.0..225.0, 25.0)];
            (Figure::Object { radius, halves }, rng.random_range(2.2..3.0))
        }
        AnomalyKind::AgainstStream | AnomalyKind::Loiterer => {
            (Figure::Person(person), -rng.random_range(1.0..1.4))
        }
    };
    let way = stage.crossing(start, figure.reach(), times, rng);
    let mut track = Track::crossing(way);
    if kind == AnomalyKind::ThrownObject {
        bounce(&mut track, stage, rng);
    }
    Actor { figure, track }
}

/// Lifts a track off the ground in hops.
fn bounce(track: &mut Track, stage: Stage, rng: &mut ChaCha8Rng) {
    let height = stage.height as f32 * rng.random_range(0.18..0.32);
    let hop = rng.random_range(7.0..10.0);
    let begun = rng.random_range(0.0..hop);
    for (frame, step) in track.steps.iter_mut().enumerate() {
        let share = ((frame as f32 + begun) / hop).fract();
        step.lift = height * 4.0 * share * (1.0 - share);
    }
}

/// Comes with the stream, paces about during `wanted`, and leaves with the stream.
fn loiterer(stage: Stage, wanted: Range<usize>, rng: &mut ChaCha8Rng) -> Actor {
    let person = Person::draw(stage.person(), rng);
    let mut way = stage.crossing(0, 0.4 * stage.person(), 1.0, rng);
    way.drift = 0.0;
    let place = stage.width as f32 * rng.random_range(0.3..0.7);
    let Crossing { speed, margin, width, .. } = way;
    let approach = ((place + margin) / speed).ceil() as usize;
    let mut track =
        Track::crossing(Crossing { start: wanted.start as i32 - approach as i32, ..way });
    track.steps.truncate(approach);
    pace(&mut track, &way, wanted.len(), rng);
    track.leave(speed, width, margin);
    Actor { figure: Figure::Person(person), track }
}

/// Turns of a few frames each: to one side, to the other, or on the spot, arms moving.
fn pace(track: &mut Track, way: &Crossing, frames: usize, rng: &mut ChaCha8Rng) {
    let end = track.steps.len() + frames;
    let Some(&place) = track.steps.last() else { return };
    let mut facing = 1.0f32;
    while track.steps.len() < end {
        let turn = rng.random_range(4..9).min(end - track.steps.len());
        facing = -facing;
        let speed = way.speed * rng.random_range(0.5..1.2);
        // Never far from where the pacing began.
        let home = (place.x - track.steps.last().map_or(place.x, |last| last.x)) * 0.08;
        let sway = way.speed * rng.random_range(-0.3..0.3);
        for frame in 0..turn {
            let last = track.steps.last().copied().unwrap_or(place);
            track.steps.push(Step {
                x: last.x + facing * speed + home,
                y: (last.y + sway).clamp(way.band[0], way.band[1]),
                travelled: last.travelled + speed,
                facing,
                gesture: 1.1 * (frame as f32 / turn as f32 * std::f32::consts::PI).sin(),
                ..last
            });
        }
    }
}
