//! The side of a stream on which frames come in.

use std::sync::Arc;
use std::time::Duration;

use protoguard_core::{
    Calibration, CameraState, CameraWatch, CaptureTime, Clip, FrameInterval, Look, Outputs, Place,
    Restart, ScorerInput, SourceInterval, TimedWindow, WatchMemory, Windowed, step,
};
use protoguard_proto::{Opening, Picture, StreamFrame, StreamMode, Violations, v1};
use tokio::time::Instant;
use tonic::Code;
use tracing::{Instrument, info_span};

use super::super::context::Context;
use super::super::decode::{DecodeTarget, SizedFrame};
use super::super::offload::offload;
use super::super::status::code_of;
use super::judge::{Judge, Light, interval_of};
use super::pending::{FrameEnd, Item, Outcome, Pending};
use super::plan::Plan;
use crate::error::ServiceError;
use crate::metrics::{Stage, outcome_of};
use crate::queue::fair_queue::CallerId;

/// Frames of one camera, on their way to the queue.
pub(super) struct Frames {
    context: Context,
    opening: Arc<Opening>,
    caller: CallerId,
    judge: Arc<Judge>,
    window: TimedWindow,
    /// Absent where the camera's interval was stated, or nothing is to be held against it.
    source: Option<SourceInterval>,
    /// Height and width of the last frame.
    size: Option<[usize; 2]>,
    watch: Option<CameraWatch>,
    camera: Option<CameraState>,
    /// The last frames look otherwise, and it is not clear yet what that is.
    in_doubt: bool,
    /// Frames that were scored, or are being.
    scored: u32,
}

/// A frame that was decoded.
struct Seen {
    frame: SizedFrame,
    look: Option<Look>,
    took: Duration,
}

impl Frames {
    /// The frames of a stream that has begun.
    pub(super) fn new(
        context: Context,
        opening: Arc<Opening>,
        caller: CallerId,
        judge: Arc<Judge>,
    ) -> Self {
        let window = window_of(&judge, opening.frame_interval);
        let source = opening.frame_interval.is_none().then(SourceInterval::default);
        Self {
            context,
            opening,
            caller,
            judge,
            window,
            source,
            size: None,
            watch: None,
            camera: None,
            in_doubt: false,
            scored: 0,
        }
    }

    /// The same that goes on watching from what another server knew.
    pub(super) fn watching(mut self, day: &Judge, memory: WatchMemory) -> Self {
        let night = self.judge.night(&self.opening);
        self.watch = watch_of(day, night, memory);
        self.camera = memory.state().filter(|_| self.watch.is_some());
        self
    }

    /// What another server needs to go on watching.
    pub(super) fn watch_memory(&self) -> WatchMemory {
        self.watch.as_ref().map(CameraWatch::memory).unwrap_or_default()
    }

    /// Takes the next frame; what becomes of it joins `pending`.
    ///
    /// # Errors
    /// When the stream cannot go on.
    pub(super) async fn take(
        &mut self,
        frame: v1::StreamFrame,
        pending: &mut Pending,
    ) -> Result<(), ServiceError> {
        let arrived = Instant::now();
        let (id, at) = (frame.id, CaptureTime(frame.capture_time_us));
        self.check_source(at)?;
        self.follow_model(at, pending)?;
        let end = |camera, outcome| Item::Frame(FrameEnd { id, at, arrived, camera, outcome });
        let Some(place) = self.window.place(at) else {
            pending.push(end(self.camera, Outcome::OffGrid));
            return Ok(());
        };
        let seen = match self.see(frame).await {
            Ok(seen) => seen,
            Err(error) => {
                pending.push(end(self.camera, Outcome::Failed(error)));
                return Ok(());
            }
        };
        self.watch(seen.look.as_ref(), at, pending);
        let decode = seen.took;
        let outcome = match self.window_of(place, seen.frame)? {
            Windowed::Filling(why) => Outcome::WarmingUp(why),
            Windowed::Clip(_) if self.is_blind() => Outcome::NoVerdict,
            Windowed::Clip(_) if self.is_busy(pending) => Outcome::Skipped,
            Windowed::Clip(clip) => {
                let (camera, plan) = (self.camera, self.plan(clip, decode));
                let first = plan.admit();
                let is_scored = first.is_ok() || self.opening.mode == StreamMode::Lossless;
                self.scored = self.scored.wrapping_add(u32::from(is_scored));
                pending.compute(async move {
                    let outcome = plan.outcome(first).await;
                    FrameEnd { id, at, arrived, camera, outcome }
                });
                return Ok(());
            }
        };
        pending.push(end(self.camera, outcome));
        Ok(())
    }

    /// Whether a frame is not scored because the one before still is.
    fn is_busy(&self, pending: &Pending) -> bool {
        self.opening.mode == StreamMode::Live && pending.computing() > 0
    }

    /// Holds the camera's interval against the model's, once it is known.
    fn check_source(&mut self, at: CaptureTime) -> Result<(), Violations> {
        let camera = self.source.as_mut().and_then(|source| source.push(at));
        if let Some((camera, model)) = camera.zip(self.judge.interval()) {
            self.window.set_interval(interval_of(camera, model)?);
        }
        Ok(())
    }

    /// Goes over to the model that stands in this one's place, if one does.
    fn follow_model(&mut self, at: CaptureTime, pending: &mut Pending) -> Result<(), ServiceError> {
        let model = self.context.registry.find(self.opening.model.as_ref())?;
        if Arc::ptr_eq(&model, &self.judge.model) {
            return Ok(());
        }
        let judge = Judge::new(model, &self.opening, &self.context.config)?;
        if judge.interval() != self.judge.interval() {
            self.source = self.opening.frame_interval.is_none().then(SourceInterval::default);
        }
        if !judge.has_window_of(&self.judge) {
            self.window = window_of(&judge, self.opening.frame_interval);
            self.window.restart(Restart::Model);
        }
        self.watch = watch_of(&judge, judge.night(&self.opening), self.watch_memory());
        if self.watch.is_none() && self.camera.take().is_some() {
            pending.push(Item::Camera(None, at));
        }
        let night = self.camera.filter(|_| self.judge.light == Light::Infrared);
        let night = night.and_then(|_| judge.by_night(&self.opening, &self.context.config));
        self.go_over_to(night.unwrap_or(judge), pending);
        Ok(())
    }

    fn go_over_to(&mut self, judge: Judge, pending: &mut Pending) {
        self.judge = Arc::new(judge);
        pending.push(Item::Judge(Arc::clone(&self.judge)));
    }

    /// Decodes a frame and looks at it beside the one before.
    async fn see(&self, frame: v1::StreamFrame) -> Result<Seen, ServiceError> {
        let started = Instant::now();
        let picture: Picture = StreamFrame::try_from(frame)?.picture;
        let shape = self.judge.model.card().shape;
        let target = DecodeTarget { shape, limits: self.context.config.decode };
        let before = self.window.last().cloned();
        let is_watched = self.watch.is_some();
        let look = move || {
            let frame = target.picture(&picture)?;
            let look = is_watched.then(|| Look::of(&frame.resized, before.as_ref()));
            Ok::<_, Violations>((frame, look))
        };
        let seen = offload("decoding", look).instrument(info_span!("decode")).await;
        let seen = seen.and_then(|seen| seen.map_err(ServiceError::from));
        let took = started.elapsed();
        let code = seen.as_ref().err().map_or(Code::Ok, code_of);
        self.judge.model.metrics().took(Stage::Decode, outcome_of(code), took);
        let (frame, look) = seen?;
        Ok(Seen { frame, look, took })
    }

    /// Follows the camera's state, and what that means for window and judge.
    fn watch(&mut self, look: Option<&Look>, at: CaptureTime, pending: &mut Pending) {
        let Some((watch, look)) = self.watch.as_mut().zip(look) else { return };
        let view = watch.push(look);
        let was_blind = self.is_blind();
        self.in_doubt = view.in_doubt;
        if view.state != self.camera {
            self.camera = view.state;
            pending.push(Item::Camera(view.state, at));
            self.follow_light(pending);
        }
        if was_blind && !self.is_blind() {
            self.window.restart(Restart::CameraState);
        }
    }

    /// Goes over to the judge of the light that the camera has.
    fn follow_light(&mut self, pending: &mut Pending) {
        let light = match self.camera {
            None => Light::Day,
            Some(CameraState::ColourLost) => Light::Infrared,
            // What else may be wrong is so by day and by night.
            Some(_) => return,
        };
        if light == self.judge.light {
            return;
        }
        let (opening, config) = (&self.opening, &self.context.config);
        let judge = match light {
            Light::Infrared => self.judge.by_night(opening, config),
            Light::Day => Judge::new(Arc::clone(&self.judge.model), opening, config).ok(),
        };
        if let Some(judge) = judge {
            self.go_over_to(judge, pending);
        }
    }

    /// Whether a score of the camera's picture would mean nothing.
    fn is_blind(&self) -> bool {
        let state = match self.camera {
            None => false,
            Some(CameraState::ColourLost) => self.judge.light != Light::Infrared,
            Some(_) => true,
        };
        state || self.in_doubt
    }

    fn window_of(&mut self, place: Place, frame: SizedFrame) -> Result<Windowed, ServiceError> {
        let size = [frame.height, frame.width];
        if self.size.replace(size).is_some_and(|before| before != size) {
            self.window.restart(Restart::Size);
        }
        let pushed = self.window.push(place, frame.resized);
        pushed.map_err(|_| ServiceError::Internal { step: "the window of a stream" })
    }

    fn plan(&self, clip: Clip, decode: Duration) -> Plan {
        let with_pictures = self.scored.is_multiple_of(self.opening.outputs_every);
        let outputs = if with_pictures { self.opening.outputs } else { Outputs::NONE };
        Plan {
            judge: Arc::clone(&self.judge),
            opening: Arc::clone(&self.opening),
            caller: self.caller,
            input: ScorerInput { clip, outputs },
            decode,
        }
    }
}

/// A watch over a camera whose looks by day, and perhaps by night, are known.
fn watch_of(day: &Judge, night: Option<&Calibration>, memory: WatchMemory) -> Option<CameraWatch> {
    let watch = CameraWatch::new(day.camera().cloned()?).after(memory);
    Some(match night {
        Some(night) => watch.with_night(night.camera.clone()),
        None => watch,
    })
}

/// An empty window that takes a camera's frames at the camera's own step, where that is known.
fn window_of(judge: &Judge, camera: Option<FrameInterval>) -> TimedWindow {
    let model = judge.interval();
    let step = camera.zip(model).and_then(|(camera, model)| step(camera, model).ok());
    TimedWindow::new(judge.model.card().shape, step.or(model))
}
