//! What the scores and alarms of a stream rest on: a model, a calibration, a rule.

use std::sync::Arc;

use protoguard_core::{AlarmRule, Calibration, CameraBounds, Detector, FrameInterval, Zones, step};
use protoguard_proto::{FieldViolation, Opening, Violations, v1};

use super::super::checks::check_motion;
use super::super::response::calibration_for;
use crate::config::ServiceConfig;
use crate::error::ServiceError;
use crate::registry::model::Model;

/// The last part of the name of a scene as an infrared camera sees it.
const NIGHT: &str = "night";

/// Whether the camera sees colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Light {
    Day,
    Infrared,
}

/// A model with the calibration and the rule that one stream is judged by.
pub(super) struct Judge {
    pub(super) model: Arc<Model>,
    pub(super) calibration: Option<Calibration>,
    pub(super) light: Light,
    pub(super) false_alarm_rate: f64,
    rule: Option<Rule>,
    warnings: Vec<String>,
}

/// An alarm's rule, and how often normal video raises it where that was counted.
#[derive(Clone, Copy)]
struct Rule {
    rule: AlarmRule,
    an_hour: Option<f64>,
}

impl Judge {
    /// The judge of a stream that was opened so.
    ///
    /// # Errors
    /// When the model has no such scene, or cannot raise the alarm or take the camera's rate that
    /// the opening asks for.
    pub(super) fn new(
        model: Arc<Model>,
        opening: &Opening,
        config: &ServiceConfig,
    ) -> Result<Self, ServiceError> {
        let calibration = calibration_for(model.card(), opening.scene.as_deref())?.cloned();
        let judge = Self::without_rule(model, calibration, Light::Day, config);
        judge.check_interval(opening)?;
        judge.check_zones(opening)?;
        judge.with_rule(opening, config)
    }

    /// The calibration of the same scene without colour, where there is one.
    pub(super) fn night(&self, opening: &Opening) -> Option<&Calibration> {
        let scene = match &opening.scene {
            Some(scene) => format!("{scene}/{NIGHT}"),
            None => NIGHT.to_owned(),
        };
        self.model.card().calibration(Some(&scene))
    }

    /// The judge of the same stream while its camera sees no colours, where there is one.
    pub(super) fn by_night(&self, opening: &Opening, config: &ServiceConfig) -> Option<Self> {
        let calibration = self.night(opening)?.clone();
        let model = Arc::clone(&self.model);
        let night = Self::without_rule(model, Some(calibration), Light::Infrared, config);
        night.with_rule(opening, config).ok()
    }

    fn without_rule(
        model: Arc<Model>,
        calibration: Option<Calibration>,
        light: Light,
        config: &ServiceConfig,
    ) -> Self {
        let false_alarm_rate = config.false_alarm_rate;
        Self { model, calibration, light, false_alarm_rate, rule: None, warnings: Vec::new() }
    }

    /// Whether the model has the pictures that were asked for.
    pub(super) fn check_outputs(&self, opening: &Opening) -> Result<(), Violations> {
        Ok(check_motion("opening.outputs", opening.outputs, self.model.card())?)
    }

    /// Scores under other zones than those of the calibration would mean nothing.
    fn check_zones(&self, opening: &Opening) -> Result<(), Violations> {
        let Some(asked) = &opening.zones else { return Ok(()) };
        let known = self.calibration.as_ref().and_then(|of| of.zones.as_ref());
        if known == Some(asked) {
            return Ok(());
        }
        let names: Vec<&str> =
            known.map(Zones::zones).unwrap_or_default().iter().map(|it| it.name.as_str()).collect();
        let description = format!(
            "are not those that calibration `{}` was made with ({}); those, or none, are expected",
            self.calibration_id(),
            if names.is_empty() { "none".to_owned() } else { names.join(", ") }
        );
        Err(FieldViolation::new("opening.zones", description).into())
    }

    fn check_interval(&self, opening: &Opening) -> Result<(), Violations> {
        match (opening.frame_interval, self.interval()) {
            (Some(camera), Some(model)) => interval_of(camera, model).map(|_| ()),
            _ => Ok(()),
        }
    }

    fn with_rule(
        mut self,
        opening: &Opening,
        config: &ServiceConfig,
    ) -> Result<Self, ServiceError> {
        let interval = self.interval().or(opening.frame_interval);
        let Some(detector) = self.detector() else {
            self.warn("the calibration has no detector: frames are judged, and no alarm is raised");
            return Ok(self);
        };
        let asked = opening.alarm.false_alarms_an_hour;
        let an_hour = asked.unwrap_or(config.streams.false_alarms_an_hour);
        let counted = detector.alarms.zip(interval).map(|(alarms, interval)| {
            let frames = interval.frames_an_hour();
            (alarms.threshold(an_hour, frames), alarms.rarest_seen(frames))
        });
        let Some((threshold, rarest)) = counted else {
            if asked.is_some() {
                return Err(self.cannot_count().into());
            }
            let threshold = Detector::threshold(self.false_alarm_rate);
            self.rule = Some(Rule { rule: opening.alarm.above(threshold), an_hour: None });
            self.warn(
                "how often normal video raises the alarm is not known: its threshold is that of \
                 single frames",
            );
            return Ok(self);
        };
        let rule = opening.alarm.above(threshold);
        self.rule = Some(Rule { rule, an_hour: Some(an_hour) });
        let AlarmRule { unusual, among, hold, .. } = AlarmRule::above(threshold);
        if (rule.unusual, rule.among, rule.hold) != (unusual, among, hold) {
            self.warn(format!(
                "false alarms were counted for {unusual} of {among} frames and {hold} of hold; with \
                 other numbers there are more or fewer of them"
            ));
        }
        if an_hour < rarest {
            self.warn(format!(
                "{an_hour} false alarms an hour is an extrapolation: the calibration's video is \
                 long enough for {rarest:.2} an hour"
            ));
        }
        Ok(self)
    }

    fn cannot_count(&self) -> Violations {
        let lacks = match self.detector().and_then(|detector| detector.alarms) {
            None => "its calibration has not counted alarms; calibrate it again",
            Some(_) => "its interval between frames is not known; state frame_interval_ms",
        };
        let name = &self.model.card().name;
        let description = format!("cannot be met by model `{name}`: {lacks}");
        FieldViolation::new("opening.alarm.false_alarms_an_hour", description).into()
    }

    fn warn(&mut self, warning: impl Into<String>) {
        self.warnings.push(warning.into());
    }

    pub(super) fn detector(&self) -> Option<&Detector> {
        self.calibration.as_ref()?.detector.as_ref()
    }

    pub(super) fn rule(&self) -> Option<AlarmRule> {
        self.rule.map(|of| of.rule)
    }

    /// The model's interval between frames.
    pub(super) fn interval(&self) -> Option<FrameInterval> {
        self.model.card().frame_interval
    }

    /// How the camera looks.
    pub(super) fn camera(&self) -> Option<&CameraBounds> {
        self.calibration.as_ref()?.camera.as_ref()
    }

    pub(super) fn calibration_id(&self) -> &str {
        self.calibration.as_ref().map_or("", |calibration| &calibration.id)
    }

    pub(super) fn scene(&self) -> &str {
        self.calibration.as_ref().and_then(|of| of.scene.as_deref()).unwrap_or_default()
    }

    /// Whether frames that were taken for the one fit into the other's window.
    pub(super) fn has_window_of(&self, other: &Self) -> bool {
        let shape = |of: &Self| of.model.card().shape;
        shape(self) == shape(other) && self.interval() == other.interval()
    }

    /// Whether sums that were smoothed by the one may go on by the other.
    pub(super) fn has_sums_of(&self, other: &Self) -> bool {
        self.model.card().version == other.model.card().version
            && self.calibration_id() == other.calibration_id()
    }

    /// What a caller is told of it.
    pub(super) fn opened(&self) -> v1::StreamOpened {
        let card = self.model.card();
        let mut warnings = self.warnings.clone();
        if card.frame_interval.is_none() {
            warnings.push(
                "the model does not know its interval between frames: every frame is taken as the \
                 next"
                    .to_owned(),
            );
        }
        if self.camera().is_none() {
            warnings.push("the calibration does not know how the camera looks".to_owned());
        }
        let alarm = self.rule.map(|of| v1::AlarmOptions {
            false_alarms_an_hour: of.an_hour.unwrap_or_default(),
            ..of.rule.into()
        });
        v1::StreamOpened {
            model: card.name.clone(),
            model_version: card.version.clone(),
            calibration_id: self.calibration_id().to_owned(),
            frame_interval_ms: card.frame_interval.map_or(0.0, FrameInterval::milliseconds),
            past_frames: u32::try_from(card.shape.past_frames()).unwrap_or(u32::MAX),
            alarm,
            alarm_threshold: self.rule.map(|of| of.rule.threshold),
            surprise_threshold: self.detector().map(|_| Detector::threshold(self.false_alarm_rate)),
            camera_state_watched: self.camera().is_some(),
            warnings,
        }
    }
}

/// The interval at which a camera's frames are taken for a model.
///
/// # Errors
/// When none is near the model's, naming both.
pub(super) fn interval_of(
    camera: FrameInterval,
    model: FrameInterval,
) -> Result<FrameInterval, Violations> {
    step(camera, model).map_err(|error| {
        FieldViolation::new("opening.frame_interval_ms", format!("does not suit: {error}")).into()
    })
}
