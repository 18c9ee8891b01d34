//! Values that are written as text and mean something else: addresses, devices, paths.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use protoguard_checkpoint::Precision;
use protoguard_model::DeviceSpec;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use tracing_subscriber::EnvFilter;

use super::kinds::Expected;

/// A value that is written as text wherever it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word<T>(pub(crate) T);

/// How a [`Word`] is read and written.
pub(crate) trait Text: Sized {
    /// What is accepted, to people.
    const ACCEPTED: &'static str;

    /// The meaning of a text; none where it has none.
    fn read(text: &str) -> Option<Self>;

    /// The text that is read as this.
    fn written(&self) -> String;
}

impl<T: Text> FromStr for Word<T> {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        T::read(text).map(Self).ok_or(Expected(T::ACCEPTED.into()))
    }
}

impl<T: Text> fmt::Display for Word<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.written())
    }
}

impl<T: Text> Serialize for Word<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, T: Text> Deserialize<'de> for Word<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Empty text is none.
impl<T: Text> Text for Option<T> {
    const ACCEPTED: &'static str = T::ACCEPTED;

    fn read(text: &str) -> Option<Self> {
        if text.is_empty() { Some(None) } else { T::read(text).map(Some) }
    }

    fn written(&self) -> String {
        self.as_ref().map(T::written).unwrap_or_default()
    }
}

impl Text for SocketAddr {
    const ACCEPTED: &'static str = "an address and a port are expected, as 0.0.0.0:50051";

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn written(&self) -> String {
        self.to_string()
    }
}

impl Text for PathBuf {
    const ACCEPTED: &'static str = "a path is expected";

    fn read(text: &str) -> Option<Self> {
        Some(text.into())
    }

    fn written(&self) -> String {
        // A path is read from text, so that nothing of it is lost.
        self.to_string_lossy().into_owned()
    }
}

impl Text for DeviceSpec {
    const ACCEPTED: &'static str = "cpu, or cuda:N with N from 0, is expected";

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn written(&self) -> String {
        self.to_string()
    }
}

impl Text for Precision {
    const ACCEPTED: &'static str = Precision::ACCEPTED;

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn written(&self) -> String {
        self.to_string()
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Human,
    Json,
}

impl Text for LogFormat {
    const ACCEPTED: &'static str = "human or json is expected";

    fn read(text: &str) -> Option<Self> {
        match text {
            "human" => Some(Self::Human),
            "json" => Some(Self::Json),
            _ => None,
        }
    }

    fn written(&self) -> String {
        match self {
            Self::Human => "human".to_owned(),
            Self::Json => "json".to_owned(),
        }
    }
}

/// What is logged, in directives that the log's filter takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Directives(pub(crate) String);

impl Text for Directives {
    const ACCEPTED: &'static str =
        "error, warn, info, debug, trace or directives like module=debug are expected";

    fn read(text: &str) -> Option<Self> {
        EnvFilter::try_new(text).is_ok().then(|| Self(text.to_owned()))
    }

    fn written(&self) -> String {
        self.0.clone()
    }
}

/// Where a collector takes traces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint(pub(crate) String);

impl Text for Endpoint {
    const ACCEPTED: &'static str = "a collector is expected, such as http://127.0.0.1:4317";

    fn read(text: &str) -> Option<Self> {
        let host = text.strip_prefix("http://")?;
        (!host.is_empty()).then(|| Self(text.to_owned()))
    }

    fn written(&self) -> String {
        self.0.clone()
    }
}
