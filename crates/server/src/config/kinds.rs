//! Numbers and switches that a key may hold, each with its bounds.
//!
//! A kind is read from text, as flags and the environment have it, and from a value of TOML, which
//! knows numbers and booleans from text. Both refuse with what would be accepted.

use std::borrow::Cow;
use std::fmt;
use std::num::IntErrorKind;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// What is accepted in place of a value that is not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Expected(pub(super) Cow<'static, str>);

/// The most that TOML can write.
pub(crate) const ANY: u64 = i64::MAX as u64;

/// A whole number in `LEAST..=MOST`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct Count<const LEAST: u64, const MOST: u64>(u64);

impl<const LEAST: u64, const MOST: u64> Count<LEAST, MOST> {
    const ACCEPTED: &'static str = "a whole number is expected";

    /// The number within its bounds.
    ///
    /// # Errors
    /// When it is beyond one.
    pub(crate) fn new(number: u64) -> Result<Self, Expected> {
        match number {
            _ if number < LEAST => Err(Expected(format!("at least {LEAST} is expected").into())),
            _ if number > MOST => Err(Expected(format!("at most {MOST} is expected").into())),
            _ => Ok(Self(number)),
        }
    }

    /// As a number of things, which no memory holds more of than a `usize` counts.
    pub(crate) fn size(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    /// As milliseconds.
    pub(crate) fn ms(self) -> Duration {
        Duration::from_millis(self.0)
    }

    /// As milliseconds, of which 0 are none.
    pub(crate) fn given_ms(self) -> Option<Duration> {
        (self.0 > 0).then(|| self.ms())
    }
}

impl<const LEAST: u64, const MOST: u64> FromStr for Count<LEAST, MOST> {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        match text.parse::<u64>() {
            Ok(number) => Self::new(number),
            Err(error) if *error.kind() == IntErrorKind::PosOverflow => Self::new(u64::MAX),
            Err(_) => Err(Expected(Self::ACCEPTED.into())),
        }
    }
}

impl<'de, const LEAST: u64, const MOST: u64> Deserialize<'de> for Count<LEAST, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number<const LEAST: u64, const MOST: u64>;

        impl<const LEAST: u64, const MOST: u64> Visitor<'_> for Number<LEAST, MOST> {
            type Value = Count<LEAST, MOST>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a whole number")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
                Count::new(number).map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
                let below = |_| E::custom(format_args!("at least {LEAST} is expected"));
                self.visit_u64(u64::try_from(number).map_err(below)?)
            }
        }

        deserializer.deserialize_u64(Number::<LEAST, MOST>)
    }
}

/// A share of normal frames, above 0 and below 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "f64")]
pub(crate) struct Share(pub(crate) f64);

impl TryFrom<f64> for Share {
    type Error = Expected;

    fn try_from(share: f64) -> Result<Self, Expected> {
        if share > 0.0 && share < 1.0 {
            return Ok(Self(share));
        }
        Err(Expected("a share of normal frames above 0 and below 1 is expected".into()))
    }
}

impl FromStr for Share {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        text.parse().unwrap_or(f64::NAN).try_into()
    }
}

/// How often something happens, above 0.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "f64")]
pub(crate) struct Often(pub(crate) f64);

impl TryFrom<f64> for Often {
    type Error = Expected;

    fn try_from(often: f64) -> Result<Self, Expected> {
        if often > 0.0 && often.is_finite() {
            return Ok(Self(often));
        }
        Err(Expected("a number above 0 is expected".into()))
    }
}

impl FromStr for Often {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        text.parse().unwrap_or(f64::NAN).try_into()
    }
}

/// Yes or no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Switch(pub(crate) bool);

impl FromStr for Switch {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Ok(Self(true)),
            "false" | "no" | "off" | "0" => Ok(Self(false)),
            _ => Err(Expected("true or false is expected".into())),
        }
    }
}
