//! What holds for every key, walked over the definition: a key that is added is in.

use std::collections::BTreeMap;
use std::ffi::OsString;

use clap::Arg;
use toml::Table;

use super::layers::{table_of, variables};
use super::manual::manual;
use super::{Config, Layers, RawConfig, flag_layer};
use crate::cli;

/// Texts of which every key takes one or another, and of which none is a default.
const SAMPLES: [&str; 9] = [
    "7",
    "0.25",
    "false",
    "127.0.0.1:7",
    "cuda:1,cpu",
    "bf16",
    "json",
    "http://collector:4317",
    "live=hall@v2",
];

/// What no key takes but those that hold any text, which keep it.
const NONSENSE: &str = "=no such value=";

fn by_flags(key: &Arg, texts: &[&str]) -> Result<Table, clap::Error> {
    let flag = format!("--{}", key.get_long().unwrap());
    let mut words = vec!["protoguard-server".to_owned()];
    words.extend(texts.iter().map(|text| format!("{flag}={text}")));
    flag_layer(&cli::command().try_get_matches_from(words)?)
}

fn load(layers: &Layers) -> Result<RawConfig, String> {
    RawConfig::load(layers).map_err(|error| error.to_string())
}

fn by_variable(variable: &str, text: &str) -> Result<RawConfig, String> {
    let environment = BTreeMap::from([(variable.to_owned(), OsString::from(text))]);
    load(&Layers { environment, ..Layers::default() })
}

fn by_file(text: &str) -> Result<RawConfig, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server.toml");
    std::fs::write(&path, text).unwrap();
    load(&Layers { file: Some(path), ..Layers::default() })
}

/// What a key takes that is not its default: a sample, and the layer that a flag makes of it.
fn sample(key: &Arg) -> (&'static str, Table) {
    let default = table_of(&RawConfig::default(), |_| true);
    let name = key.get_id().as_str();
    let mut taken =
        SAMPLES.into_iter().filter_map(|text| Some((text, by_flags(key, &[text]).ok()?)));
    taken
        .find(|(_, layer)| layer[name] != default[name])
        .unwrap_or_else(|| panic!("no sample: {name}"))
}

#[test]
fn the_definition_has_every_key_once() {
    let config = Table::try_from(RawConfig::default()).unwrap();
    let keys: Vec<String> = RawConfig::keys().iter().map(|key| key.get_id().to_string()).collect();
    assert_eq!(keys.len(), config.len());
    assert!(keys.iter().all(|key| config.contains_key(key)), "{keys:?}");
}

#[test]
fn every_key_is_in_help_and_in_the_printed_file_with_its_comment() {
    let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let help = plain(&cli::command().term_width(100).render_long_help().to_string());
    let default = RawConfig::default();
    let printed = default.to_toml();
    for key in RawConfig::keys() {
        let (name, comment) = (key.get_id().as_str(), manual(&key));
        assert!(comment.len() > 20, "{name} has no manual");
        assert!(help.contains(&format!("--{} <", key.get_long().unwrap())), "--help lacks {name}");
        assert!(help.contains(&plain(comment.trim_end_matches('.'))), "--help lacks {comment}");
        let start = format!("\n{name} = ");
        let (above, value) =
            printed.split_once(&start).unwrap_or_else(|| panic!("{name}: {printed}"));
        let above = above.rsplit("\n\n").next().unwrap();
        assert_eq!(plain(&above.replace('#', "")), plain(&comment.replace('#', "")));
        let line = format!("{name} = {}", value.lines().next().unwrap());
        assert_eq!(by_file(&line).unwrap(), default, "{line}");
    }
    assert!(printed.lines().all(|line| line.len() <= 100), "{printed}");
    assert_eq!(by_file(&printed).unwrap(), default);
}

#[test]
fn every_key_says_the_same_in_file_environment_and_flag() {
    for key in RawConfig::keys() {
        let name = key.get_id().as_str();
        let (text, flags) = sample(&key);
        assert_eq!(flags.keys().collect::<Vec<_>>(), [name]);
        let file = by_file(&flags.to_string()).unwrap();
        let printed = by_file(&file.to_toml()).unwrap();
        let flag = load(&Layers { flags, ..Layers::default() }).unwrap();
        assert_ne!(flag, RawConfig::default(), "{name}");
        assert_eq!((&file, &printed), (&flag, &flag), "{name}");
        for variable in variables(&key) {
            assert_eq!(by_variable(&variable, text).unwrap(), flag, "{variable}={text}");
        }
    }
}

#[test]
fn every_key_refuses_what_it_does_not_take_by_name() {
    let mut refused = 0;
    for key in RawConfig::keys() {
        let name = key.get_id().as_str();
        let error = by_file(&format!("\n{name} = [[1979-05-27]]")).unwrap_err();
        assert!(error.starts_with(&format!("{name} is `")), "{error}");
        assert!(error.contains("server.toml, line 2);"), "{error}");
        let by_flag = by_flags(&key, &[NONSENSE]);
        for variable in variables(&key) {
            match (by_variable(&variable, NONSENSE), &by_flag) {
                // A key of any text keeps it as it is.
                (Ok(config), Ok(flags)) => {
                    let table = table_of(&config, |key| key == name);
                    assert_eq!(table, *flags);
                    let kept = table.to_string();
                    assert!(kept.contains(NONSENSE.trim_matches('=')), "{kept}");
                }
                (Err(by_variable), Err(by_flag)) => {
                    let start = format!("{name} is `{NONSENSE}` ({variable}); ");
                    assert!(by_variable.starts_with(&start), "{by_variable}");
                    let by_flag = by_flag.to_string();
                    let flag = format!("'{NONSENSE}' for '--{} <", key.get_long().unwrap());
                    assert!(by_flag.contains(&flag), "{by_flag}");
                    let accepted = by_variable.trim_start_matches(&start);
                    assert!(by_flag.contains(accepted), "{by_flag}: {accepted}");
                    refused += 1;
                }
                (by_variable, by_flag) => panic!("{name}: {by_variable:?}, {by_flag:?}"),
            }
        }
    }
    assert!(refused > RawConfig::keys().len() / 2, "{refused}");
}

/// The settings that pods and containers of this repository run with.
#[test]
fn the_file_of_the_deployment_is_accepted() {
    let text = include_str!("../../../../k8s/base/server.toml");
    let raw = by_file(text).unwrap();
    assert!(Config::try_from(&raw).is_ok());
}
