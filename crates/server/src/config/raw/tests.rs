use std::path::PathBuf;

use clap::Parser;

use super::*;

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn load(arguments: &[&str], variables: &[(&str, &str)]) -> Result<RawConfig, ConfigError> {
    let flags = Flags::parse_from([&["protoguard-server"], arguments].concat());
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    RawConfig::load(&flags, Some(variables.iter().map(owned).collect()))
}

#[test]
fn a_flag_wins_over_the_environment_over_the_file_over_the_default() {
    let file = fixture("layers.toml");
    let config = ["--config", file.to_str().unwrap()];
    let from_file = load(&config, &[]).unwrap();
    assert_eq!((from_file.max_batch_size, from_file.max_queue_clips), (3, 30));
    assert_eq!(from_file.drain_timeout_ms, RawConfig::default().drain_timeout_ms);

    let variables = [
        ("PROTOGUARD_SERVER__MAX_BATCH_SIZE", "4"),
        ("PROTOGUARD_SERVER__DEVICES", "cpu,cuda:0"),
        ("PROTOGUARD_SERVER__FALSE_ALARM_RATE", "0.05"),
        ("PROTOGUARD_SERVER_PORT", "tcp://10.0.0.1:50051"),
    ];
    let with_environment = load(&config, &variables).unwrap();
    assert_eq!(with_environment.max_batch_size, 4);
    assert_eq!(with_environment.max_queue_clips, 30);
    assert_eq!(with_environment.devices, ["cpu", "cuda:0"]);
    assert_eq!(with_environment.false_alarm_rate, 0.05);

    let arguments = [&config[..], &["--max-batch-size", "5", "--devices", "cpu"]].concat();
    let with_flags = load(&arguments, &variables).unwrap();
    assert_eq!((with_flags.max_batch_size, with_flags.devices), (5, vec!["cpu".to_owned()]));
}

#[test]
fn an_unknown_key_is_an_error_that_names_it() {
    let file = fixture("wrong_key.toml");
    let error = load(&["--config", file.to_str().unwrap()], &[]).unwrap_err().to_string();
    assert!(error.contains("max_batchsize"), "{error}");
    let error = load(&[], &[("PROTOGUARD_SERVER__LISTNE", "x")]).unwrap_err().to_string();
    assert!(error.contains("listne"), "{error}");
    let error = load(&["--config", "nowhere.toml"], &[]).unwrap_err().to_string();
    assert!(error.contains("nowhere.toml"), "{error}");
}

#[test]
fn a_value_of_a_wrong_type_names_its_key() {
    let variables = [("PROTOGUARD_SERVER__MAX_BATCH_SIZE", "many")];
    let error = load(&[], &variables).unwrap_err().to_string();
    assert!(error.contains("max_batch_size") && error.contains("many"), "{error}");
}

#[test]
fn the_short_form_replaces_the_list() {
    let file = fixture("layers.toml");
    let config = ["--config", file.to_str().unwrap()];
    assert_eq!(load(&config, &[]).unwrap().models[0].name, "hall");
    let arguments = [&config[..], &["--model", "a/door.safetensors", "--model", "b=c"]].concat();
    let models = load(&arguments, &[]).unwrap().models;
    let expected = [("", "a/door.safetensors"), ("b", "c")]
        .map(|(name, path)| RawModel { name: name.to_owned(), path: path.to_owned() });
    assert_eq!(models, expected);
}

#[test]
fn what_is_printed_reads_back() {
    let arguments = ["--model", "b=c", "--max-queue-bytes", "1000"];
    let raw = load(&arguments, &[]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("printed.toml");
    std::fs::write(&path, raw.to_toml().unwrap()).unwrap();
    assert_eq!(load(&["--config", path.to_str().unwrap()], &[]).unwrap(), raw);
}
