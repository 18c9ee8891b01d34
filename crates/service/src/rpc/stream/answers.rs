//! The side of a stream on which answers go out.

use std::sync::Arc;
use std::time::Duration;

use protoguard_core::{
    AlarmChange, AlarmEvent, AlarmFrame, AlarmRule, CameraAlarm, CameraState, CaptureTime,
    FrameInterval, Region, WatchMemory,
};
use protoguard_proto::v1::score_stream_response::Message;
use protoguard_proto::{Opening, StreamMode, v1};
use tokio_util::sync::CancellationToken;

use super::super::status::scoring_error;
use super::judge::Judge;
use super::outbox::Outbox;
use super::pending::{FrameEnd, Item, Outcome, ScoredFrame};
use super::resume::{Resume, Subject};
use crate::error::ServiceError;

/// An alarm ends where no frame is scored for so long, by capture times, ...
const SILENCE: Duration = Duration::from_secs(60);
/// ... or for so many times as long as it takes to fill a window, where that is longer.
const WINDOWS: u32 = 4;

/// Judges frames in their order, and answers.
pub(super) struct Answers {
    outbox: Outbox,
    draining: CancellationToken,
    opening: Arc<Opening>,
    judge: Arc<Judge>,
    /// Names the stream in the ids of its alarms.
    stream: String,
    smoothed: Option<f64>,
    /// Never raised by a judge without a rule.
    alarm: CameraAlarm,
    /// Of the last scored frame.
    last: Option<CaptureTime>,
}

impl Answers {
    /// The answers of a stream that begins, or goes on from another.
    pub(super) fn new(
        outbox: Outbox,
        draining: CancellationToken,
        opening: Arc<Opening>,
        judge: Arc<Judge>,
        resume: Option<Resume>,
    ) -> Self {
        let mut answers = Self {
            outbox,
            draining,
            opening,
            stream: format!("{:032x}", fastrand::u128(..)),
            smoothed: None,
            alarm: CameraAlarm::new(rule_of(&judge)),
            last: None,
            judge,
        };
        if let Some(resume) = resume {
            answers.go_on_from(resume);
        }
        answers
    }

    fn go_on_from(&mut self, resume: Resume) {
        let judge = &self.judge;
        let has_sums = resume.version == judge.model.card().version
            && resume.calibration == judge.calibration_id();
        self.smoothed = resume.smoothed.filter(|_| has_sums);
        self.stream = resume.stream;
        self.last = resume.last;
        self.alarm = CameraAlarm::resume(rule_of(judge), resume.alarm);
    }

    /// What another server needs to go on.
    pub(super) fn resume(&self, watch: WatchMemory) -> Resume {
        Resume {
            subject: Subject::new(&self.opening, &self.judge),
            version: self.judge.model.card().version.clone(),
            calibration: self.judge.calibration_id().to_owned(),
            stream: self.stream.clone(),
            smoothed: self.smoothed,
            alarm: self.alarm.memory(),
            last: self.last,
            watch,
        }
    }

    /// Tells the caller what its stream rests on. An alarm that no rule can end is over.
    pub(super) async fn open(&mut self) -> Result<(), ServiceError> {
        self.send(Message::Opened(self.judge.opened())).await?;
        if self.judge.rule().is_none() { self.finish().await } else { Ok(()) }
    }

    /// Tells the caller what came next.
    ///
    /// # Errors
    /// When the caller does not read.
    pub(super) async fn deliver(&mut self, item: Item) -> Result<(), ServiceError> {
        match item {
            Item::Judge(judge) => self.go_over_to(judge).await,
            Item::Camera(state, at) => self.camera(state, at).await,
            Item::Frame(frame) => self.answer(frame).await,
        }
    }

    /// Ends the alarm that stands, because no frame follows.
    pub(super) async fn finish(&mut self) -> Result<(), ServiceError> {
        match self.end_alarm() {
            Some(event) => self.tell(event).await,
            None => Ok(()),
        }
    }

    async fn go_over_to(&mut self, judge: Arc<Judge>) -> Result<(), ServiceError> {
        if judge.rule().is_none() {
            self.finish().await?;
        }
        if !judge.has_sums_of(&self.judge) {
            self.smoothed = None;
        }
        self.alarm = CameraAlarm::resume(rule_of(&judge), self.alarm.memory());
        self.judge = judge;
        self.open().await
    }

    async fn camera(
        &mut self,
        state: Option<CameraState>,
        at: CaptureTime,
    ) -> Result<(), ServiceError> {
        if let Some(state) = state {
            self.judge.model.metrics().camera_state(state);
            tracing::warn!(camera = self.opening.camera, state = state.name(), "camera state");
        }
        let state = on_the_wire(state).into();
        let change = v1::CameraStateChange { state, capture_time_us: at.0 };
        self.send(Message::CameraState(change)).await
    }

    async fn answer(&mut self, frame: FrameEnd) -> Result<(), ServiceError> {
        let FrameEnd { id, at, arrived, camera, outcome } = frame;
        if outcome.is_of_the_window() && self.is_silent(at) {
            self.smoothed = None;
            self.finish().await?;
        }
        let told = outcome.on_the_wire();
        let mut answer = v1::FrameAnswer {
            id,
            capture_time_us: at.0,
            outcome: told.into(),
            camera_state: on_the_wire(camera).into(),
            ..Default::default()
        };
        match outcome {
            Outcome::Scored(scored) => self.judge(*scored, at, &mut answer).await?,
            Outcome::WarmingUp(why) => answer.set_restart(why.into()),
            Outcome::Failed(error) => answer.error = Some(scoring_error(&error)),
            Outcome::Skipped | Outcome::OffGrid | Outcome::NoVerdict => {}
        }
        answer.alarm = self.alarm.stands();
        self.judge.model.metrics().stream_frame(told, arrived.elapsed());
        self.send(Message::Frame(answer)).await
    }

    /// Whether the last score lies so far off that it says nothing of now. A stream that resumes
    /// another begins with frames that are older than that.
    fn is_silent(&self, at: CaptureTime) -> bool {
        let apart = |last: CaptureTime| at.since(last).or(last.since(at));
        let interval = self.judge.interval().map(FrameInterval::duration).unwrap_or_default();
        let frames = self.judge.model.card().shape.frames() as u32;
        let silence = SILENCE.max(interval.saturating_mul(WINDOWS * frames));
        self.last.and_then(apart).is_some_and(|apart| apart > silence)
    }

    /// Smooths a frame's surprise, moves the alarm, and puts both into its answer.
    async fn judge(
        &mut self,
        scored: ScoredFrame,
        at: CaptureTime,
        answer: &mut v1::FrameAnswer,
    ) -> Result<(), ServiceError> {
        let ScoredFrame { response, surprise } = scored;
        let region = response.region.map(Region::from);
        answer.scores = Some(response);
        self.last = Some(at);
        let Some((found, detector)) = surprise.zip(self.judge.detector()) else { return Ok(()) };
        let mut smoother = detector.smoother_after(self.smoothed);
        let surprise = smoother.push(found.sum);
        self.smoothed = smoother.last();
        answer.smoothed_surprise = Some(surprise);
        let frame = AlarmFrame { at, surprise, region, parts: found.parts };
        match self.alarm.push(frame) {
            Some(event) => self.tell(event).await,
            None => Ok(()),
        }
    }

    /// Ends the alarm that stands at the last frame that was scored.
    fn end_alarm(&mut self) -> Option<AlarmEvent> {
        let last = self.last.take()?;
        self.alarm.end(last)
    }

    async fn tell(&self, event: AlarmEvent) -> Result<(), ServiceError> {
        let judge = &self.judge;
        let card = judge.model.card();
        let id = format!("{}-{}", self.stream, event.number);
        let threshold = judge.rule().map_or(0.0, |rule| rule.threshold);
        if event.change == AlarmChange::Started {
            judge.model.metrics().alarm(judge.scene());
        }
        tracing::info!(
            alarm = id,
            camera = self.opening.camera,
            change = ?event.change,
            surprise = event.peak.surprise,
            threshold,
            "alarm"
        );
        let event = v1::AlarmEvent {
            id,
            camera: self.opening.camera.clone(),
            threshold,
            model: card.name.clone(),
            model_version: card.version.clone(),
            calibration_id: judge.calibration_id().to_owned(),
            ..event.into()
        };
        self.send(Message::Alarm(event)).await
    }

    /// Puts a message where the caller reads. A camera's stream never waits for its reader; a
    /// file's does, and its caller with it.
    pub(super) async fn send(&self, message: Message) -> Result<(), ServiceError> {
        match self.opening.mode {
            StreamMode::Live => self.outbox.try_send(message),
            StreamMode::Lossless => self.outbox.send(message, &self.draining).await,
        }
    }
}

/// A judge's rule, or one that never raises an alarm.
fn rule_of(judge: &Judge) -> AlarmRule {
    judge.rule().unwrap_or(AlarmRule::above(f64::INFINITY))
}

/// What is wrong with a camera's picture, or that nothing is.
fn on_the_wire(state: Option<CameraState>) -> v1::CameraState {
    state.map_or(v1::CameraState::Unspecified, v1::CameraState::from)
}
