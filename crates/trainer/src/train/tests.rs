//! A whole run on drawn scenes, small enough for every test run.

use protoguard_core::ClipShape;
use protoguard_data::synth::{SynthConfig, write_dataset};
use protoguard_model::{Checkpoint, DeviceSpec, Network};

use super::*;
use crate::config::TrainerConfig;

fn config(epochs: u64) -> TrainerConfig {
    let mut config = TrainerConfig::default();
    config.model.shape = ClipShape::new(3, 16).unwrap();
    config.model.base_width = 4;
    config.model.memory.as_mut().unwrap().items = 8;
    config.training.epochs = epochs;
    config.training.batch_size = 8;
    config.training.learning_rate = 2e-3;
    config.training.threads = 1;
    config
}

fn scenes(seed: u64) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let scenes = SynthConfig {
        seed,
        training_videos: 1,
        testing_videos: 1,
        frames_per_video: 60,
        height: 32,
        width: 32,
    };
    write_dataset(&scenes, &folder.path().join("scenes")).unwrap();
    folder
}

struct Trained {
    checkpoint: Checkpoint,
    history: Vec<EpochRecord>,
}

fn train(config: &TrainerConfig, folder: &tempfile::TempDir) -> Trained {
    let shape = config.model.shape;
    let data = TrainingData::read(&folder.path().join("scenes"), shape, 0.2).unwrap();
    set_threads(config.training.threads);
    tch::manual_seed(config.training.seed as i64);
    let network = Network::new(&config.network(), tch::Device::Cpu).unwrap();
    let mut learner = Learner::new(network, config.loss.clone());
    let history = Epochs::new(&config.training, &data, shape).run(&mut learner).unwrap();
    let finished =
        Finished { config, data: &data, history: &history, seconds: 1.0, device: DeviceSpec::Cpu };
    Trained { checkpoint: checkpoint(learner, &finished).unwrap(), history }
}

#[test]
fn a_run_learns_calibrates_and_records_itself() {
    let folder = scenes(0);
    let Trained { checkpoint, history } = train(&config(4), &folder);
    let loss = |epoch: usize| history[epoch].training.losses.prediction;
    assert!(loss(3) < 0.9 * loss(0), "prediction loss went from {} to {}", loss(0), loss(3));
    assert!(history[3].held_out_psnr_db > history[0].held_out_psnr_db);
    assert_eq!(history[0].training.steps, 5, "45 training clips are 5 whole batches of 8");

    let content = checkpoint.content();
    assert_eq!((content.training.epochs, content.training.seed), (4, 0));
    assert_eq!(content.calibrations[0].frames, 9, "12 held-out frames give 9 clips");
    assert!(content.golden.is_some());
    let steps = content.optimizer["steps"].to_i64().unwrap();
    assert_eq!(steps, [20]);
    let parameters = content.optimizer.len() / 2;
    assert!(
        content.optimizer.keys().filter(|name| name.starts_with("first_moment.")).count()
            == parameters
    );
    let saved: TrainerConfig = serde_json::from_value(content.training.config.clone()).unwrap();
    assert_eq!(saved, config(4));
}

#[test]
fn the_seed_decides_everything() {
    // The generator behind fresh weights belongs to the process, so both runs are in one test.
    let folder = scenes(1);
    let weights = |seed: u64| {
        let mut config = config(1);
        config.training.seed = seed;
        train(&config, &folder).checkpoint.content().tensors.clone()
    };
    let first = weights(7);
    assert_eq!(first, weights(7));
    assert_ne!(first, weights(8));
}

#[test]
fn every_switch_of_the_ablation_trains() {
    let folder = scenes(2);
    for set in [
        &["model.memory.items=0"][..],
        &["model.motion_branch=false"],
        &["loss.discriminative_weight=0"],
    ] {
        let set: Vec<String> = set.iter().map(|&pair| pair.to_owned()).collect();
        let switched = TrainerConfig::load(&Layers { set: &set, ..Layers::default() }).unwrap();
        let mut config = config(1);
        config.model.motion_branch = switched.model.motion_branch;
        config.model.memory = switched
            .model
            .memory
            .map(|memory| protoguard_model::MemoryConfig { items: memory.items.min(8), ..memory });
        config.loss = switched.loss;
        let Trained { checkpoint, history } = train(&config, &folder);
        let losses = history[0].training.losses;
        let content = checkpoint.content();
        assert_eq!(losses.difference.is_some(), content.model.motion_branch);
        let discriminates =
            content.model.memory.is_some() && config.loss.discriminative_weight > 0.0;
        assert_eq!(losses.discriminative.is_some(), discriminates);
        let distance = content.calibrations[0].normaliser.feature_distance;
        assert_eq!(distance.is_some(), content.model.memory.is_some());
    }
}
