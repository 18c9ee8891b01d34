use super::*;
use crate::config::raw::RawModel;

fn raw() -> RawConfig {
    let model = RawModel { name: String::new(), path: "a/hall.safetensors".to_owned() };
    RawConfig { models: vec![model], ..RawConfig::default() }
}

fn message(change: impl FnOnce(&mut RawConfig)) -> String {
    let mut raw = raw();
    change(&mut raw);
    Config::try_from(&raw).unwrap_err().to_string()
}

#[test]
fn defaults_serve_one_model_on_the_cpu() {
    let config = Config::try_from(&raw()).unwrap();
    assert_eq!(config.service.default_model, "hall");
    assert_eq!(config.worker.devices, [DeviceSpec::Cpu]);
    let cores = available_parallelism().unwrap().get();
    assert_eq!(config.worker.threads_per_worker, cores);
    let warm_up_batch_sizes = vec![1, 2, 4, 8];
    let fitted =
        ServiceConfig { warm_up_batch_sizes, fit_batch_size: true, ..ServiceConfig::new("hall") };
    assert_eq!(config.service, fitted);
}

#[test]
fn a_folder_alone_is_enough_and_its_names_are_checked_later() {
    let raw = RawConfig {
        models: Vec::new(),
        models_folder: "models".to_owned(),
        default_model: "hall@v2".to_owned(),
        watchdog_ms: 0,
        ..raw()
    };
    let config = Config::try_from(&raw).unwrap();
    assert_eq!(config.models_folder, Some(PathBuf::from("models")));
    assert_eq!(config.service.default_model, "hall@v2");
    assert_eq!(config.service.watchdog, None);
    let first = RawConfig { default_model: String::new(), ..raw };
    assert_eq!(Config::try_from(&first).unwrap().service.default_model, "");
}

#[test]
fn workers_share_the_cores() {
    let mut raw = raw();
    raw.workers_per_device = 4 * available_parallelism().unwrap().get();
    assert_eq!(Config::try_from(&raw).unwrap().worker.threads_per_worker, 1);
}

#[test]
fn every_wrong_value_names_key_value_and_what_is_accepted() {
    assert_eq!(
        message(|raw| raw.listen = "here".to_owned()),
        "listen is `here`; an address and a port are expected, as 0.0.0.0:50051"
    );
    assert_eq!(
        message(|raw| raw.models.clear()),
        "models is `[]`; at least one checkpoint is expected: --model PATH, --models-folder \
         FOLDER, or [[models]] in the file"
    );
    assert_eq!(
        message(|raw| raw.default_model = "door".to_owned()),
        "default_model is `door`; accepted are hall"
    );
    assert_eq!(
        message(|raw| raw.devices = vec!["tpu".to_owned()]),
        "devices is `tpu`; cpu, or cuda:N with N from 0, is expected"
    );
    assert_eq!(
        message(|raw| raw.max_batch_size = 0),
        "max_batch_size is `0`; at least 1 is expected"
    );
    assert_eq!(
        message(|raw| raw.workers_per_device = 1 << 32),
        "workers_per_device is `4294967296`; at most 256 is expected"
    );
    assert_eq!(
        message(|raw| raw.max_batch_size = usize::MAX),
        format!("max_batch_size is `{}`; at most 1024 is expected", usize::MAX)
    );
    assert_eq!(
        message(|raw| raw.false_alarm_rate = 1.0),
        "false_alarm_rate is `1`; a share of normal frames above 0 and below 1 is expected"
    );
    assert_eq!(
        message(|raw| raw.log_format = "xml".to_owned()),
        "log_format is `xml`; human or json is expected"
    );
    let alias = |name: &str, target: &str| {
        message(|raw| drop(raw.aliases.insert(name.to_owned(), target.to_owned())))
    };
    assert_eq!(
        alias("live", "hall@a@b"),
        "aliases is `hall@a@b`; name or name@version is expected for `live`"
    );
    assert_eq!(
        alias("a b", "hall"),
        "aliases is `a b`; a name without @ and spaces is expected that no model has"
    );
    assert_eq!(
        message(|raw| raw.tls_certificate = "a.pem".to_owned()),
        "tls_key is ``; it is expected with tls_certificate"
    );
    assert_eq!(
        message(|raw| raw.tls_client_ca = "ca.pem".to_owned()),
        "tls_certificate is ``; it is expected with tls_key or tls_client_ca"
    );
    assert_eq!(
        message(|raw| raw.metrics_listen = "9090".to_owned()),
        "metrics_listen is `9090`; an address and a port are expected, as 0.0.0.0:50051"
    );
    assert_eq!(
        message(|raw| raw.otlp_endpoint = "here".to_owned()),
        "otlp_endpoint is `here`; a collector is expected, such as http://127.0.0.1:4317"
    );
    let twice = message(|raw| raw.models.push(raw.models[0].clone()));
    assert_eq!(twice, "models.name is `hall`; it is taken; names must differ");
    assert_eq!(
        message(|raw| raw.precision = "int4".to_owned()),
        "precision is `int4`; auto, f32, bf16 or int8 is expected"
    );
    let cuda = message(|raw| raw.devices = vec!["cuda:0".to_owned()]);
    assert!(cuda.starts_with("libtorch is ``"), "{cuda}");
}
