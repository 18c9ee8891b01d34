//! Configurations that somebody broke: an error that says why, never a panic.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up should fail loudly")]

use protoguard_fuzz::{Budget, Mutator, trial};
use protoguard_trainer::config::{Layers, TrainerConfig};

const WORDS: [&str; 10] = [
    "[training]\n",
    "[model.memory]\n",
    "items = 0\n",
    "epochs = ",
    "shape = { past_frames = 4, side = 64 }\n",
    "temperature = ",
    "within = \"mean\"\n",
    "\"\"\"",
    "[[",
    "= {",
];

fn seeds() -> Vec<Vec<u8>> {
    let printed = toml::to_string(&TrainerConfig::default()).unwrap();
    let presets = [include_str!("../presets/demo.toml"), include_str!("../presets/cpu.toml")];
    presets.into_iter().chain([printed.as_str()]).map(|text| text.as_bytes().to_vec()).collect()
}

#[test]
fn a_broken_configuration_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.toml");
    let load = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        TrainerConfig::load(&Layers { file: Some(&path), ..Layers::default() })
    };
    assert!(seeds().iter().all(|seed| load(seed).is_ok()));

    let mut budget = Budget::of(1500);
    let mut mutator = Mutator::new(budget.seed(), seeds()).with_words(WORDS);
    let (mut accepted, mut refused) = (0, 0);
    while budget.spend() {
        trial(&mutator.next_input(), |input| match load(input) {
            // What is accepted can be built and printed.
            Ok(config) => {
                accepted += 1;
                config.network().validate().unwrap();
                toml::to_string(&config).unwrap();
            }
            Err(error) => {
                refused += 1;
                assert!(!error.to_string().is_empty());
            }
        });
    }
    assert!(accepted > 0 && refused > 0, "{accepted} accepted, {refused} refused");
}
