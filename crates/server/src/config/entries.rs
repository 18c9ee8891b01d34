//! Models and aliases as they are written: short in a flag, a table in the file.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::kinds::Expected;

/// A model to serve.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct RawModel {
    /// What requests call it; the stem of its file where empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) name: String,
    /// Its checkpoint.
    pub(crate) path: String,
}

impl FromStr for RawModel {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        let (name, path) = text.split_once('=').unwrap_or(("", text));
        if path.is_empty() {
            return Err(Expected("PATH or NAME=PATH is expected".into()));
        }
        Ok(Self { name: name.to_owned(), path: path.to_owned() })
    }
}

impl<'de> Deserialize<'de> for RawModel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            #[serde(default)]
            name: String,
            path: String,
        }

        struct Entry;

        impl<'de> Visitor<'de> for Entry {
            type Value = RawModel;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("PATH, NAME=PATH or a table with name and path")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<RawModel, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawModel, A::Error> {
                let Table { name, path } = Table::deserialize(MapAccessDeserializer::new(map))?;
                Ok(RawModel { name, path })
            }
        }

        deserializer.deserialize_any(Entry)
    }
}

/// What each alias stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Aliases(pub(crate) BTreeMap<String, String>);

impl FromStr for Aliases {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        let pair = |text: &str| {
            let (alias, name) = text.split_once('=')?;
            Some((alias.to_owned(), name.to_owned()))
        };
        let pairs = text.split(',').filter(|_| !text.is_empty()).map(pair);
        let accepted = "ALIAS=NAME or ALIAS=NAME@VERSION is expected, several separated by commas";
        pairs.collect::<Option<_>>().map(Self).ok_or(Expected(accepted.into()))
    }
}
