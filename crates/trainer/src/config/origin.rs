//! Where every value of an effective configuration comes from.

use std::collections::BTreeMap;
use std::fmt;

use config::{Config, Value, ValueKind};
use toml::Value as Toml;

use super::{ConfigError, Layers, Preset, TrainerConfig};

/// The layer that decided a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// No layer named the key.
    Default,
    /// What comes with the program under a name.
    Preset,
    /// The configuration file, by its path.
    File(String),
    /// A variable of the environment.
    Environment,
    /// `--set` or a flag of its own.
    Flag,
}

/// A configuration and the origin of every value.
#[derive(Clone, Debug)]
pub struct Effective {
    /// The values.
    pub config: TrainerConfig,
    /// By dotted path, such as `training.epochs`.
    pub origins: BTreeMap<String, Origin>,
}

impl Effective {
    /// Reads the layers as [`TrainerConfig::load`] does and keeps track.
    ///
    /// # Errors
    /// As [`TrainerConfig::load`].
    pub fn load(layers: &Layers<'_>) -> Result<Self, ConfigError> {
        let sources = layers.build()?;
        let config = TrainerConfig::from_layers(&sources)?;
        let flags = layers.flag_keys();
        let preset = layers.preset.map(preset).unwrap_or_default();
        let mut origins = BTreeMap::new();
        for (path, _) in leaves(&table(&config)) {
            let origin = match origin_of(&sources, &path) {
                _ if flags.iter().any(|key| *key == path) => Origin::Flag,
                Origin::Default if preset.contains_key(&path) => Origin::Preset,
                origin => origin,
            };
            origins.insert(path, origin);
        }
        Ok(Self { config, origins })
    }

    /// The configuration as TOML that can be used as a file again, the origin of every value in a
    /// comment after it.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        self.write_table(&mut text, "", &table(&self.config));
        text
    }

    fn write_table(&self, text: &mut String, path: &str, table: &toml::Table) {
        let (tables, values): (Vec<_>, Vec<_>) =
            table.iter().partition(|(_, value)| value.is_table());
        if !path.is_empty() && !values.is_empty() {
            text.push_str(&format!("{}[{path}]\n", if text.is_empty() { "" } else { "\n" }));
        }
        for (key, value) in values {
            let line = format!("{key} = {value}");
            let origin = self.origins.get(&join(path, key)).unwrap_or(&Origin::Default);
            text.push_str(&format!("{line:<40} # {origin}\n"));
        }
        for (key, value) in tables {
            if let Toml::Table(inner) = value {
                self.write_table(text, &join(path, key), inner);
            }
        }
    }
}

/// The `config` command.
///
/// # Errors
/// When the configuration is not valid.
pub fn run(args: &crate::cli::ConfigArgs) -> anyhow::Result<()> {
    let effective = Effective::load(&args.layers.layers())?;
    #[allow(clippy::print_stdout, reason = "what the caller asked for")]
    {
        print!("{}", effective.to_toml());
    }
    Ok(())
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Preset => f.write_str("preset"),
            Self::File(path) => write!(f, "file {path}"),
            Self::Environment => f.write_str("environment"),
            Self::Flag => f.write_str("flag"),
        }
    }
}

fn table(config: &TrainerConfig) -> toml::Table {
    toml::Table::try_from(config).unwrap_or_default()
}

/// Every value of a preset by its dotted path.
fn preset(preset: Preset) -> BTreeMap<String, Toml> {
    leaves(&preset.toml().parse().unwrap_or_default())
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// Every value of a table by its dotted path.
pub(crate) fn leaves(table: &toml::Table) -> BTreeMap<String, Toml> {
    let mut found = BTreeMap::new();
    for (key, value) in table {
        match value {
            Toml::Table(inner) => {
                found.extend(leaves(inner).into_iter().map(|(path, v)| (join(key, &path), v)));
            }
            value => {
                found.insert(key.clone(), value.clone());
            }
        }
    }
    found
}

/// Files and the environment leave their mark on a value; the defaults have none.
fn origin_of(sources: &Config, path: &str) -> Origin {
    let mut value: &Value = &sources.cache;
    for part in path.split('.') {
        match &value.kind {
            ValueKind::Table(table) => match table.get(part) {
                Some(inner) => value = inner,
                None => return Origin::Default,
            },
            _ => break,
        }
    }
    match value.origin() {
        Some("the environment") => Origin::Environment,
        Some(file) => Origin::File(file.to_owned()),
        None => Origin::Default,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Override;
    use super::*;

    #[test]
    fn every_layer_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.toml");
        std::fs::write(
            &path,
            "[training]\nepochs = 3\nseed = 9\n[model.shape]\nside = 64\npast_frames = 4\n",
        )
        .unwrap();
        let set = ["training.seed=4".to_owned()];
        let flags = vec![Override { key: "training.batch_size", value: 2.into() }];
        let layers = Layers { file: Some(&path), set: &set, flags, ..Layers::default() };
        let effective = Effective::load(&layers).unwrap();
        let origin = |key: &str| effective.origins[key].to_string();
        assert!(
            origin("training.epochs").starts_with("file ")
                && origin("training.epochs").ends_with("run.toml")
        );
        assert!(origin("model.shape.side").starts_with("file "));
        assert_eq!(origin("training.seed"), "flag");
        assert_eq!(origin("training.batch_size"), "flag");
        assert_eq!(origin("loss.within"), "default");
        let with_preset = Layers { preset: Some(Preset::Cpu), ..layers.clone() };
        let effective_preset = Effective::load(&with_preset).unwrap();
        let origin = |key: &str| effective_preset.origins[key].to_string();
        assert_eq!([origin("loss.separation_weight"), origin("detector.parts")], ["preset"; 2]);
        assert!(origin("training.epochs").starts_with("file "));
        assert_eq!([origin("training.seed"), origin("training.threads")], ["flag", "default"]);
        let printed = effective.to_toml();
        assert!(printed.contains("# default") && printed.contains("# flag"), "{printed}");

        std::fs::write(&path, &printed).unwrap();
        let again = Layers { file: Some(&path), ..Layers::default() };
        assert_eq!(TrainerConfig::load(&again).unwrap(), effective.config);
    }
}
