//! The layers of a configuration: each is read by the types of its keys, then the `config` crate
//! lays them over each other.
//!
//! A layer becomes a table of TOML with the keys that it sets and no others. A text of the
//! environment is read as the flag of its key would read it, so that what a value is depends on its
//! key alone: `007` is a name for a key that holds a name. Layers are checked one by one, because
//! only then an error can say which line or variable it is about.

use std::collections::BTreeMap;
use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::ops::Range;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, FromArgMatches};
use config::{Config, File, FileFormat};
use toml::{Spanned, Table};

use super::{ConfigError, RawConfig};

/// How the variable of a key begins. Two underscores end it, because Kubernetes sets variables such
/// as `PROTOGUARD_SERVER_PORT` for a Service of that name.
pub(crate) const PREFIX: &str = "PROTOGUARD_SERVER__";

/// Where the layers above the defaults come from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layers {
    /// A file in TOML.
    pub(crate) file: Option<PathBuf>,
    /// Variables of the environment, of which those of keys count.
    pub(crate) environment: BTreeMap<String, OsString>,
    /// The keys that flags set.
    pub(crate) flags: Table,
}

impl RawConfig {
    /// All layers together.
    ///
    /// # Errors
    /// When the file cannot be read, or a layer has an unknown key or a value that its key does not
    /// take.
    pub(crate) fn load(layers: &Layers) -> Result<Self, ConfigError> {
        let file = layers.file.as_deref().map(file_layer).transpose()?.unwrap_or_default();
        let environment = environment_layer(&layers.environment)?;
        let mut sources = Config::builder();
        for layer in [&file, &environment, &layers.flags] {
            sources = sources.add_source(File::from_str(&layer.to_string(), FileFormat::Toml));
        }
        Ok(sources.build()?.try_deserialize()?)
    }
}

/// The keys that flags set in `matches`; those that are at their defaults are no part of the layer.
///
/// # Errors
/// When `matches` are of another command.
pub(crate) fn flag_layer(matches: &ArgMatches) -> Result<Table, clap::Error> {
    let config = RawConfig::from_arg_matches(matches)?;
    let is_given =
        |key: &str| matches.value_source(key) == Some(clap::parser::ValueSource::CommandLine);
    Ok(table_of(&config, is_given))
}

/// The keys of `config` that `sets` says.
pub(super) fn table_of(config: &RawConfig, sets: impl Fn(&str) -> bool) -> Table {
    let mut table = Table::try_from(config).expect("its keys hold text, numbers and tables");
    table.retain(|key, _| sets(key));
    table
}

fn file_layer(path: &Path) -> Result<Table, ConfigError> {
    let read = |source| ConfigError::Read { path: path.to_owned(), source };
    let text = std::fs::read_to_string(path).map_err(read)?;
    let at_place = |error| wrong_in_file(path, &text, &error);
    let config: RawConfig = toml::from_str(&text).map_err(at_place)?;
    let written: Table = toml::from_str(&text).map_err(at_place)?;
    let is_written = |key: &Arg| names(key).any(|name| written.contains_key(&name));
    let keys: Vec<Arg> = RawConfig::keys().into_iter().filter(is_written).collect();
    Ok(table_of(&config, |name| keys.iter().any(|key| key.get_id() == name)))
}

fn wrong_in_file(path: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    let place = error.span().unwrap_or_default();
    let line = 1 + text[..place.start].matches('\n').count();
    let origin = format!("{}, line {line}", path.display());
    let reason = error.message().to_owned();
    match key_around(text, &place) {
        Some(key) => {
            ConfigError::Given { key, found: text[place].to_owned(), origin, accepted: reason }
        }
        None => ConfigError::File { origin, reason },
    }
}

/// The key whose value is around a place in a file.
fn key_around(text: &str, place: &Range<usize>) -> Option<String> {
    let values: BTreeMap<String, Spanned<toml::Value>> = toml::from_str(text).ok()?;
    let around = |value: &Spanned<toml::Value>| {
        value.span().start <= place.start && place.end <= value.span().end
    };
    values.into_iter().find(|(_, value)| around(value)).map(|(key, _)| key)
}

fn environment_layer(environment: &BTreeMap<String, OsString>) -> Result<Table, ConfigError> {
    let keys = RawConfig::keys();
    let known: Vec<String> = keys.iter().flat_map(variables).collect();
    for variable in environment.keys().filter(|variable| !known.contains(variable)) {
        if let Some(key) = variable.strip_prefix(PREFIX) {
            let (variable, key) = (variable.clone(), key.to_lowercase());
            return Err(ConfigError::Variable { variable, key });
        }
    }
    let mut layer = Table::new();
    for key in &keys {
        for variable in variables(key) {
            if let Some(text) = environment.get(&variable) {
                layer.extend(variable_layer(key, variable, text)?);
            }
        }
    }
    Ok(layer)
}

fn variable_layer(key: &Arg, variable: String, text: &OsStr) -> Result<Table, ConfigError> {
    let wrong = |accepted: String| ConfigError::Given {
        key: key.get_id().to_string(),
        found: text.to_string_lossy().into_owned(),
        origin: variable,
        accepted,
    };
    let Some(text) = text.to_str() else {
        return Err(wrong("text in UTF-8 is expected".to_owned()));
    };
    match RawConfig::from_flags(flags_of(key, text)) {
        Ok(config) => Ok(table_of(&config, |name| key.get_id() == name)),
        // What the key's type says lies within what clap says of flags.
        Err(error) => Err(wrong(error.source().map_or(error.to_string(), ToString::to_string))),
    }
}

/// The flags that say what a variable says; a list's elements are separated by commas.
fn flags_of(key: &Arg, text: &str) -> Vec<String> {
    let flag = |value| format!("--{}={value}", key.get_long().unwrap_or_default());
    match key.get_action() {
        ArgAction::Append => text.split(',').map(flag).collect(),
        _ => vec![flag(text)],
    }
}

/// What a key is called in a file: its own name first.
fn names(key: &Arg) -> impl Iterator<Item = String> {
    let aliases = key.get_all_aliases().unwrap_or_default();
    let flags = key.get_long().into_iter().chain(aliases);
    let others: Vec<String> = flags.map(|flag| flag.replace('-', "_")).collect();
    let own = key.get_id().to_string();
    std::iter::once(own.clone()).chain(others.into_iter().filter(move |name| *name != own))
}

/// The variables that set a key, weakest first: one that all programs share, then its own.
pub(super) fn variables(key: &Arg) -> Vec<String> {
    let shared = key.get_env().map(|name| name.to_string_lossy().into_owned());
    let own = names(key).map(|name| format!("{PREFIX}{}", name.to_uppercase()));
    shared.into_iter().chain(own).collect()
}

#[cfg(test)]
mod tests;
