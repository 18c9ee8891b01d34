//! Configurations that somebody broke: an error that says why, never a panic.

use protoguard_fuzz::{Budget, Mutator, trial};

use super::{Config, Layers, RawConfig};

const WORDS: [&str; 10] = [
    "[[models]]\n",
    "path = \"a\"\n",
    "name = \"hall@1\"\n",
    "max_batch_size = 0\n",
    "devices = [\"cuda:0\"]\n",
    "listen = \"::1\"\n",
    "log_level = \"\"\n",
    "\"\"\"",
    "[[",
    "= {",
];

fn seeds() -> Vec<Vec<u8>> {
    let model = "hall=hall.safetensors".parse().unwrap();
    let printed = RawConfig { models: vec![model], ..RawConfig::default() }.to_toml();
    let fixture = include_str!("../../tests/fixtures/layers.toml");
    [printed.as_str(), fixture].map(|text| text.as_bytes().to_vec()).into()
}

#[test]
fn a_broken_configuration_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server.toml");
    let layers = Layers { file: Some(path.clone()), ..Layers::default() };
    let load = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let raw = RawConfig::load(&layers).map_err(|error| error.to_string())?;
        Config::try_from(&raw).map_err(|error| error.to_string())
    };
    assert!(seeds().iter().all(|seed| load(seed).is_ok()));

    let mut budget = Budget::of(1500);
    let mut mutator = Mutator::new(budget.seed(), seeds()).with_words(WORDS);
    let (mut accepted, mut refused) = (0, 0);
    while budget.spend() {
        trial(&mutator.next_input(), |input| match load(input) {
            Ok(config) => {
                accepted += 1;
                // A folder may fill later; without one, a model must be named.
                assert!(!config.models.is_empty() || config.models_folder.is_some());
                assert!(!config.worker.devices.is_empty());
            }
            Err(message) => {
                refused += 1;
                assert!(!message.is_empty());
            }
        });
    }
    assert!(accepted > 0 && refused > 0, "{accepted} accepted, {refused} refused");
}
