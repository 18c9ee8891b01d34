use super::*;

/// A configuration of one model and more flags.
fn raw(flags: &[&str]) -> RawConfig {
    RawConfig::from_flags([&["--model", "a/hall.safetensors"], flags].concat()).unwrap()
}

fn message(flags: &[&str]) -> String {
    Config::try_from(&raw(flags)).unwrap_err().to_string()
}

#[test]
fn defaults_serve_one_model_on_the_cpu() {
    let config = Config::try_from(&raw(&[])).unwrap();
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
    let folder = ["--models-folder", "models", "--watchdog-ms", "0"];
    let named = [&folder[..], &["--default-model", "hall@v2"]].concat();
    let config = Config::try_from(&RawConfig::from_flags(named).unwrap()).unwrap();
    assert_eq!(config.models_folder, Some(PathBuf::from("models")));
    assert_eq!(config.service.default_model, "hall@v2");
    assert_eq!(config.service.watchdog, None);
    let first = Config::try_from(&RawConfig::from_flags(folder).unwrap()).unwrap();
    assert_eq!(first.service.default_model, "");
}

#[test]
fn workers_share_the_cores() {
    let workers = 4 * available_parallelism().unwrap().get();
    let raw = raw(&["--workers-per-device", &workers.min(256).to_string()]);
    assert_eq!(Config::try_from(&raw).unwrap().worker.threads_per_worker, 1);
}

#[test]
fn every_contradiction_names_key_value_and_what_is_accepted() {
    assert_eq!(
        Config::try_from(&RawConfig::default()).unwrap_err().to_string(),
        "models is `[]`; at least one checkpoint is expected: --model PATH, --models-folder \
         FOLDER, or [[models]] in the file"
    );
    let none = RawConfig { devices: Vec::new(), ..raw(&[]) };
    assert_eq!(
        Config::try_from(&none).unwrap_err().to_string(),
        "devices is `[]`; at least one is expected, such as cpu"
    );
    for (flags, expected) in [
        (&["--default-model", "door"][..], "default_model is `door`; accepted are hall"),
        (
            &["--aliases", "live=hall@a@b"],
            "aliases is `hall@a@b`; name or name@version is expected for `live`",
        ),
        (
            &["--aliases", "a b=hall"],
            "aliases is `a b`; a name without @ and spaces is expected that no model has",
        ),
        (
            &["--aliases", "hall=hall"],
            "aliases is `hall`; a name without @ and spaces is expected that no model has",
        ),
        (&["--tls-certificate", "a.pem"], "tls_key is ``; it is expected with tls_certificate"),
        (
            &["--tls-client-ca", "ca.pem"],
            "tls_certificate is ``; it is expected with tls_key or tls_client_ca",
        ),
        (
            &["--model", "b/hall.safetensors"],
            "models.name is `hall`; it is taken; names must differ",
        ),
        (
            &["--model", "a@b=c"],
            "models.name is `a@b`; a name without @ and spaces is expected, as in --model hall=PATH",
        ),
        (
            &["--devices", "cpu,cuda:0"],
            "libtorch is ``; the folder with libtorch_cuda.so is expected for a cuda device",
        ),
    ] {
        assert_eq!(message(flags), expected);
    }
}
