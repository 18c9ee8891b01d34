use super::*;
use crate::cli::Invocation;

fn fixture(name: &str) -> String {
    format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn load(flags: &[&str], variables: &[(&str, &str)]) -> Result<RawConfig, ConfigError> {
    let invocation = Invocation::read([&["protoguard-server"], flags].concat()).unwrap();
    let variable = |(name, text): &(&str, &str)| (OsString::from(name), OsString::from(text));
    RawConfig::load(&invocation.layers(variables.iter().map(variable)).unwrap())
}

/// What is wrong with a file of this text; its own path is left out.
fn in_file(text: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server.toml");
    std::fs::write(&path, text).unwrap();
    let error = load(&["--config", path.to_str().unwrap()], &[]).unwrap_err().to_string();
    error.replace(folder.path().to_str().unwrap(), "")
}

fn in_variable(key: &str, text: &str) -> String {
    let variable = format!("PROTOGUARD_SERVER__{key}");
    load(&[], &[(&variable, text)]).unwrap_err().to_string()
}

#[test]
fn a_flag_wins_over_the_environment_over_the_file_over_the_default() {
    let file = fixture("layers.toml");
    let config = ["--config", &file];
    let from_file = load(&config, &[]).unwrap();
    assert_eq!((from_file.max_batch_size.size(), from_file.max_queue_clips.size()), (3, 30));
    assert_eq!(from_file.drain_timeout_ms, RawConfig::default().drain_timeout_ms);

    let variables = [
        ("PROTOGUARD_SERVER__MAX_BATCH_SIZE", "4"),
        ("PROTOGUARD_SERVER__DEVICES", "cpu,cuda:0"),
        ("PROTOGUARD_SERVER__FALSE_ALARM_RATE", "0.05"),
        ("PROTOGUARD_SERVER_PORT", "tcp://10.0.0.1:50051"),
    ];
    let with_environment = load(&config, &variables).unwrap();
    assert_eq!(with_environment.max_batch_size.size(), 4);
    assert_eq!(with_environment.max_queue_clips.size(), 30);
    assert_eq!(with_environment.devices, ["cpu", "cuda:0"].map(|name| name.parse().unwrap()));
    assert_eq!(with_environment.false_alarm_rate.0, 0.05);

    // A flag counts although it says what the default says.
    let flags = [&config[..], &["--max-batch-size", "8", "--devices", "cpu"]].concat();
    let with_flags = load(&flags, &variables).unwrap();
    assert_eq!((with_flags.max_batch_size.size(), with_flags.devices.len()), (8, 1));
}

#[test]
fn a_name_that_looks_like_a_number_stays_a_name() {
    for name in ["007", "1e5", "true", "0x10", "1.50"] {
        let variable = [("PROTOGUARD_SERVER__DEFAULT_MODEL", name)];
        assert_eq!(load(&[], &variable).unwrap().default_model, name);
        assert_eq!(load(&["--default-model", name], &[]).unwrap().default_model, name);
    }
    assert_eq!(
        in_file("\ndefault_model = 1e5"),
        "default_model is `1e5` (/server.toml, line 2); invalid type: floating point `100000.0`, \
         expected a string"
    );
}

#[test]
fn an_unknown_key_is_an_error_that_names_it() {
    let error = load(&["--config", &fixture("wrong_key.toml")], &[]).unwrap_err().to_string();
    assert!(error.contains("wrong_key.toml, line 1: unknown field `max_batchsize`"), "{error}");
    assert_eq!(
        in_variable("LISTNE", "x"),
        "PROTOGUARD_SERVER__LISTNE: there is no key `listne`; --help lists them"
    );
    let error = load(&["--config", "nowhere.toml"], &[]).unwrap_err().to_string();
    assert!(error.contains("nowhere.toml cannot be read: No such file"), "{error}");
    assert!(in_file("listen = \n").starts_with("/server.toml, line 1: "));
    let entry = in_file("[[models]]\npath = \"a\"\nnme = \"b\"");
    assert!(entry.contains("line 3") && entry.contains("unknown field `nme`"), "{entry}");
}

#[test]
fn a_wrong_value_is_named_with_its_key_its_place_and_what_is_accepted() {
    for (key, text, accepted) in [
        ("listen", "here", "an address and a port are expected, as 0.0.0.0:50051"),
        ("metrics_listen", "9090", "an address and a port are expected, as 0.0.0.0:50051"),
        ("devices", "tpu", "cpu, or cuda:N with N from 0, is expected"),
        ("precision", "int4", "auto, f32, bf16 or int8 is expected"),
        ("log_format", "xml", "human or json is expected"),
        ("otlp_endpoint", "here", "a collector is expected, such as http://127.0.0.1:4317"),
    ] {
        let variable = key.to_uppercase();
        let by_variable = format!("{key} is `{text}` (PROTOGUARD_SERVER__{variable}); {accepted}");
        assert_eq!(in_variable(&variable, text), by_variable);
        let value = if key == "devices" { format!("[\"{text}\"]") } else { format!("\"{text}\"") };
        let by_file = format!("{key} is `{value}` (/server.toml, line 2); {accepted}");
        assert_eq!(in_file(&format!("max_frame_side = 5\n{key} = {value}\n")), by_file);
    }
    for (key, number, accepted) in [
        ("max_batch_size", "0", "at least 1 is expected"),
        ("max_batch_size", "1025", "at most 1024 is expected"),
        ("max_frame_side", "0", "at least 1 is expected"),
        ("workers_per_device", "4294967296", "at most 256 is expected"),
        ("false_alarm_rate", "1", "a share of normal frames above 0 and below 1 is expected"),
        ("false_alarm_rate", "nan", "a share of normal frames above 0 and below 1 is expected"),
    ] {
        let variable = key.to_uppercase();
        let by_variable =
            format!("{key} is `{number}` (PROTOGUARD_SERVER__{variable}); {accepted}");
        assert_eq!(in_variable(&variable, number), by_variable);
        let by_file = format!("{key} is `{number}` (/server.toml, line 1); {accepted}");
        assert_eq!(in_file(&format!("{key} = {number}")), by_file);
    }
    let numbers = ["many", "1e5", "8.0", "-1", ""];
    for wrong in numbers {
        assert_eq!(
            in_variable("MAX_FRAME_BYTES", wrong),
            format!(
                "max_frame_bytes is `{wrong}` (PROTOGUARD_SERVER__MAX_FRAME_BYTES); a whole number \
                 is expected"
            )
        );
    }
    assert!(in_file("max_queue_clips = -1").ends_with("at least 1 is expected"));
    assert!(in_variable("FIT_BATCH_SIZE", "maybe").ends_with("true or false is expected"));
    assert!(in_variable("ALIASES", "live").contains("ALIAS=NAME"));
    assert!(in_variable("MODEL", "a=").ends_with("PATH or NAME=PATH is expected"));
}

#[test]
fn models_are_written_short_or_as_tables_under_either_name() {
    let file = fixture("layers.toml");
    let config = ["--config", &file];
    assert_eq!(load(&config, &[]).unwrap().models[0].name, "hall");
    let pairs = |config: RawConfig| -> Vec<[String; 2]> {
        config.models.into_iter().map(|model| [model.name, model.path]).collect()
    };
    let expected = [["", "a/door.safetensors"], ["b", "c"]].map(|pair| pair.map(str::to_owned));
    for flag in ["--model", "--models"] {
        let flags = [&config[..], &[flag, "a/door.safetensors", flag, "b=c"]].concat();
        assert_eq!(pairs(load(&flags, &[]).unwrap()), expected);
    }
    for variable in ["PROTOGUARD_SERVER__MODEL", "PROTOGUARD_SERVER__MODELS"] {
        let found = load(&config, &[(variable, "a/door.safetensors,b=c")]).unwrap();
        assert_eq!(pairs(found), expected);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("short.toml");
    for key in ["model", "models"] {
        std::fs::write(&path, format!("{key} = [\"a/door.safetensors\", \"b=c\"]")).unwrap();
        let found = load(&["--config", path.to_str().unwrap()], &[]).unwrap();
        assert_eq!(pairs(found), expected);
    }
}

#[test]
fn the_folder_of_libtorch_for_all_programs_gives_way_to_that_of_the_server() {
    let shared = ("PROTOGUARD_LIBTORCH", "/shared");
    let own = ("PROTOGUARD_SERVER__LIBTORCH", "/own");
    let libtorch = |flags: &[&str], variables: &[(&str, &str)]| {
        load(flags, variables).unwrap().libtorch.0.unwrap().display().to_string()
    };
    assert_eq!(libtorch(&[], &[shared]), "/shared");
    assert_eq!(libtorch(&[], &[shared, own]), "/own");
    assert_eq!(libtorch(&["--libtorch", "/flag"], &[shared, own]), "/flag");
}

#[test]
fn aliases_of_a_stronger_layer_join_those_of_a_weaker_one() {
    let variables = [("PROTOGUARD_SERVER__ALIASES", "live=hall@v2.1,old=hall")];
    let found = load(&["--aliases", "old=door"], &variables).unwrap();
    let expected = [("live", "hall@v2.1"), ("old", "door")];
    let expected = expected.map(|(alias, name)| (alias.to_owned(), name.to_owned()));
    assert_eq!(found.aliases.0, expected.into());
}
