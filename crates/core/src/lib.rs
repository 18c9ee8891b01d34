//! The vocabulary that every other room of Protoguard shares, and its arithmetic.
//!
//! A [`Frame`] is decoded pixels, a [`Clip`] is the run of frames that a model scores, a
//! [`ClipScore`] is what comes back, and [`Scorer`] is the port behind which a model stands.
//! What turns raw scores into decisions is here as well: [`Calibration`] and its [`Detector`] for
//! live use, [`normalise`] and [`metrics`] for evaluation.
//!
//! Deliberately absent: input and output, async, clocks, the environment and tensors.

mod alarm;
mod baseline;
pub mod calibration;
mod camera_alarm;
mod camera_state;
mod capture;
mod clip;
mod components;
mod detector;
mod frame;
mod maps;
mod mask;
pub mod metrics;
mod model_card;
pub mod normalise;
mod plane;
mod region;
mod score;
mod scorer;
mod shape;
mod surprise;
mod timed_window;
mod zones;

pub use alarm::{Alarm, AlarmMemory, AlarmRule};
pub use baseline::Baselines;
pub use calibration::{Calibration, CalibrationError, Threshold};
pub use camera_alarm::{AlarmChange, AlarmEvent, AlarmFrame, CameraAlarm, CameraAlarmMemory};
pub use camera_state::{CameraBounds, CameraState, CameraView, CameraWatch, Look, WatchMemory};
pub use capture::{
    CaptureTime, FrameGrid, FrameInterval, FrameIntervalError, IntervalError, Placement, Restart,
    SourceInterval, frames_a_step, step,
};
pub use clip::{Clip, ClipError, ClipWindow};
pub use components::{Components, MarkedPixel, Overlap};
pub use detector::{
    AlarmFrequency, CalibratedPart, ClipSurprise, Detector, DetectorError, PartSurprise, Recipe,
    Smoother, Smoothing, WeightedPart,
};
pub use frame::{Frame, FrameError};
pub use maps::{ClipMaps, Part, Statistics};
pub use mask::Mask;
pub use model_card::ModelCard;
pub use plane::Plane;
pub use region::Region;
pub use score::{AnomalyScore, ClipScore, FeatureDistance, Outputs, PsnrDb, Regularity};
pub use scorer::{Scorer, ScorerError, ScorerFactory, ScorerInput};
pub use shape::{CHANNELS, ClipShape, ShapeError};
pub use surprise::{Normal, SurpriseError};
pub use timed_window::{Place, TimedWindow, Windowed};
pub use zones::{Corner, Zone, ZoneRule, Zones, ZonesError};
