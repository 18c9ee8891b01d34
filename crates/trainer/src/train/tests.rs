//! A whole run on drawn scenes, small enough for every test run.

use protoguard_checkpoint::{Checkpoint, EmaConfig, MemoryUpdate, MotionTarget, Precision};
use protoguard_core::ClipShape;
use protoguard_datasets::ClipBatch;
use protoguard_datasets::synth::write_dataset;
use protoguard_frames::scenes::SynthConfig;
use protoguard_model::precision::settled_on;
use protoguard_model::{DeviceSpec, Network};

use super::*;
use crate::config::{Layers, TrainerConfig, TrainingConfig};
use crate::interrupt::Interrupt;
use crate::log::RunLog;

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

/// The parts of a run that belong to the process or to the file system.
struct Bench {
    folder: tempfile::TempDir,
    data: TrainingData,
    record: DataRecord,
    log: RunLog,
    interrupt: Interrupt,
}

impl Bench {
    fn new(config: &TrainerConfig, scenes: &tempfile::TempDir) -> Self {
        let shape = config.model.shape;
        let training = TrainingConfig { held_out: 0.2, ..config.training.clone() };
        let data = TrainingData::read(&scenes.path().join("scenes"), shape, &training).unwrap();
        set_threads(config.training.threads);
        let record = DataRecord::of(&data).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (log, interrupt) = (RunLog::default(), Interrupt::default());
        Self { folder, data, record, log, interrupt }
    }

    fn learner(config: &TrainerConfig) -> Learner {
        // The generator behind fresh weights belongs to the process, and tests share it.
        static GENERATOR: std::sync::Mutex<()> = std::sync::Mutex::new(());
        let _alone = GENERATOR.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        tch::manual_seed(config.training.seed as i64);
        let mut network = Network::new(&config.network(), tch::Device::Cpu).unwrap();
        network.set_training_precision(config.training.precision).unwrap();
        Learner::new(network, config.loss.clone())
    }

    fn run(
        &mut self,
        config: &TrainerConfig,
        learner: &mut Learner,
        position: &mut Position,
    ) -> Result<Saver, TrainError> {
        let out = self.folder.path().join("model");
        let mut saver = Saver::open(&out, &config.training).unwrap();
        let keeping = Keeping { saver: &mut saver, log: &mut self.log, interrupt: &self.interrupt };
        let mut epochs = Epochs::new(config, &self.data, &self.record, keeping);
        epochs.run(learner, position)?;
        Ok(saver)
    }
}

fn train(config: &TrainerConfig, folder: &tempfile::TempDir) -> Trained {
    let mut bench = Bench::new(config, folder);
    let mut learner = Bench::learner(config);
    let mut position = Position::start();
    bench.run(config, &mut learner, &mut position).unwrap();
    let finished = Finished {
        interrupt: None,
        config,
        data: &bench.data,
        history: &position.history,
        seconds: 1.0,
        device: DeviceSpec::Cpu,
    };
    Trained { checkpoint: checkpoint(learner, &finished).unwrap(), history: position.history }
}

/// What of a history does not depend on the clock.
fn timeless(history: &[EpochRecord]) -> Vec<EpochRecord> {
    history.iter().map(|record| EpochRecord { seconds: 0.0, ..record.clone() }).collect()
}

#[test]
fn a_run_that_is_stopped_again_and_again_ends_as_one_that_is_not() {
    stop_again_and_again(config(2));
}

/// Items restart at every batch here: none has as much as nine tenths of the mean count for long.
#[test]
fn a_memory_of_running_means_goes_on_as_it_was() {
    let mut config = config(2);
    config.model.motion_target = MotionTarget::BrighteningDarkening;
    config.training.motion_start = 0.5;
    let memory = config.model.memory.as_mut().unwrap();
    memory.update = MemoryUpdate::Ema;
    memory.normalize_query = false;
    memory.ema = EmaConfig { decay: 0.8, warmup: 2, restart: 0.9 };
    config.loss.separation_weight = 0.5;
    stop_again_and_again(config);
}

fn stop_again_and_again(mut config: TrainerConfig) {
    let folder = scenes(3);
    config.training.accumulate = 2;
    config.training.batch_size = 4;
    let whole = train(&config, &folder);

    let mut bench = Bench::new(&config, &folder);
    let state = TrainingState::path_for(&bench.folder.path().join("model"));
    let mut learner = Bench::learner(&config);
    let mut position = Position::start();
    let mut steps = Vec::new();
    // A signal that is there before the first step stops after it: five steps are an epoch, and
    // the sixth time it stops among the held-out clips.
    for _ in 0..6 {
        bench.interrupt = Interrupt::received(signal_hook::consts::SIGTERM);
        let error = bench.run(&config, &mut learner, &mut position).unwrap_err();
        let TrainError::Interrupted { signal, step, .. } = error else { panic!("{error}") };
        assert_eq!((signal.exit_code(), signal.to_string().as_str()), (143, "SIGTERM"));
        steps.push(step);
        // Another process would have other weights before it reads the state.
        learner = Bench::learner(&TrainerConfig {
            training: crate::config::TrainingConfig { seed: 99, ..config.training.clone() },
            ..config.clone()
        });
        let now = (&config, &bench.record);
        position = TrainingState::resume(&state, now, &mut learner).unwrap();
    }
    assert_eq!(steps, [1, 2, 3, 4, 5, 5]);
    bench.interrupt = Interrupt::default();
    bench.run(&config, &mut learner, &mut position).unwrap();
    let ended = learner.to_arrays().unwrap();
    for (name, array) in &whole.checkpoint.content().tensors {
        assert_eq!(&ended[&format!("network.{name}")], array, "{name}");
    }
    assert_eq!(timeless(&position.history), timeless(&whole.history));
}

#[test]
#[allow(clippy::print_stdout, reason = "a skipped test says so")]
fn bf16_learns_the_same_curve() {
    if let Err(error) = settled_on(Precision::Bf16, tch::Device::Cpu) {
        println!("skipped: {error}");
        return;
    }
    let folder = scenes(4);
    let mut config = config(2);
    config.training.learning_rate = 5e-4;
    let f32 = train(&config, &folder).history;
    config.training.precision = Precision::Bf16;
    let bf16 = train(&config, &folder).history;
    for (exact, reduced) in f32.iter().zip(&bf16) {
        let (exact, reduced) = (&exact.training.losses, &reduced.training.losses);
        let departure = (reduced.prediction / exact.prediction - 1.0).abs();
        assert!(departure < 0.02, "{} against {}", reduced.prediction, exact.prediction);
        assert_ne!(exact, reduced, "bf16 computes something else");
    }
}

/// What a learner's first step saw.
struct FirstStep {
    loss: f64,
    /// By parameter. Adam's first moments after one step are a tenth of it.
    gradient: std::collections::BTreeMap<String, Vec<f32>>,
}

impl FirstStep {
    fn on(config: &TrainerConfig, batches: &[ClipBatch]) -> Self {
        let mut learner = Bench::learner(config);
        let mut health = protoguard_model::HealthMeter::new();
        let loss = learner.step(batches, 1e-3, &mut health).unwrap().total;
        let gradient = learner.to_arrays().unwrap().into_iter().filter_map(|(name, array)| {
            let name = name.strip_prefix("optimizer.first_moment.")?.to_owned();
            Some((name, array.to_f32().unwrap().iter().map(|moment| 10.0 * moment).collect()))
        });
        Self { loss, gradient: gradient.collect() }
    }
}

fn norm<'a>(values: impl IntoIterator<Item = &'a f32>) -> f32 {
    values.into_iter().map(|x| x * x).sum::<f32>().sqrt()
}

fn difference(a: &[f32], b: &[f32]) -> f32 {
    norm(&a.iter().zip(b).map(|(a, b)| a - b).collect::<Vec<_>>())
}

#[test]
fn accumulated_batches_have_the_gradient_of_their_mean() {
    let folder = scenes(5);
    let mut config = config(1);
    // Items that are parameters are the same for both batches; others follow the first.
    config.model.memory.as_mut().unwrap().gradient = protoguard_checkpoint::MemoryGradient::Param;
    let bench = Bench::new(&config, &folder);
    let clips = |frames: std::ops::Range<usize>| -> ClipBatch {
        let clip = |at| bench.data.training[0].clip_at(config.model.shape, at).unwrap();
        let clips = frames.map(|at| clip(at).unwrap()).collect();
        ClipBatch { clips, ..ClipBatch::default() }
    };
    let (early, late) = (clips(0..4), clips(30..34));
    let first = FirstStep::on(&config, std::slice::from_ref(&early));
    let second = FirstStep::on(&config, std::slice::from_ref(&late));
    let both = FirstStep::on(&config, &[early, late]);

    let mean = 0.5 * (first.loss + second.loss);
    assert!((both.loss - mean).abs() < 1e-6 * mean, "{} against {mean}", both.loss);
    let whole = norm(both.gradient.values().flatten());
    assert!(whole > 0.0 && both.gradient.contains_key("memory.items"));
    for (name, gradient) in &both.gradient {
        let (first, second) = (&first.gradient[name], &second.gradient[name]);
        let mean: Vec<f32> = first.iter().zip(second).map(|(a, b)| 0.5 * (a + b)).collect();
        let off = difference(gradient, &mean);
        // Some gradients are zero but for rounding, where BatchNorm takes a bias away again.
        let rounding = 1e-3 * norm(&mean) + 1e-5 * whole;
        assert!(off <= rounding, "{name}: {off} from the mean, whose length is {}", norm(&mean));
    }
    let apart = first.gradient.iter().map(|(name, one)| difference(one, &second.gradient[name]));
    assert!(apart.fold(0.0, f32::max) > 0.1 * whole, "the batches' gradients are alike");
}

#[test]
fn a_loss_that_is_not_finite_names_its_clips() {
    let folder = scenes(6);
    let mut config = config(1);
    config.training.save_steps = 1;
    let mut bench = Bench::new(&config, &folder);
    let mut learner = Bench::learner(&config);
    let name = "prediction.last.weight";
    let mut weight = learner.network().tensors().remove(name).unwrap();
    let _ = tch::no_grad(|| weight.fill_(f64::NAN));
    let error = bench.run(&config, &mut learner, &mut Position::start()).unwrap_err().to_string();
    assert!(error.starts_with("epoch 1, step 1: loss is not finite (total NaN"), "{error}");
    assert!(error.contains("no state was saved before"), "{error}");
    assert_eq!(error.matches(" frames ").count(), 8, "one place for each clip: {error}");
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
        &["model.motion_target=brightening_darkening", "loss.gradient_weight=1"],
        &["model.motion_target=flow"],
        &["model.memory.update=ema", "model.memory.normalize_query=false"],
        &["model.memory.update=ema", "loss.separation_weight=0.1"],
        &["loss.separation_weight=0.1"],
        &["model.memory.items=0", "loss.separation_weight=0.1"],
    ] {
        let set: Vec<String> = set.iter().map(|&pair| pair.to_owned()).collect();
        let switched = TrainerConfig::load(&Layers { set: &set, ..Layers::default() }).unwrap();
        let mut config = config(1);
        config.model.motion_branch = switched.model.motion_branch;
        config.model.motion_target = switched.model.motion_target;
        config.model.memory = switched.model.memory.map(|memory| {
            protoguard_checkpoint::MemoryConfig { items: memory.items.min(8), ..memory }
        });
        config.loss = switched.loss;
        let Trained { checkpoint, history } = train(&config, &folder);
        let losses = history[0].training.losses;
        let content = checkpoint.content();
        assert_eq!(losses.difference.is_some(), content.model.motion_branch);
        let metric = |name| content.training.metrics.contains_key(name);
        assert_eq!(metric("motion_loss_vs_zero"), content.model.motion_branch);
        assert_eq!(metric("training_gradient_loss"), config.loss.gradient_weight > 0.0);
        let discriminates =
            content.model.memory.is_some() && config.loss.discriminative_weight > 0.0;
        assert_eq!(losses.discriminative.is_some(), discriminates);
        let memory = content.model.memory.as_ref();
        let follows = memory.is_some_and(|memory| memory.update == MemoryUpdate::Ema);
        assert_eq!(losses.commitment.is_some(), follows);
        assert_eq!(losses.separation.is_some(), config.separates());
        let distance = content.calibrations[0].normaliser.feature_distance;
        assert_eq!(distance.is_some(), content.model.memory.is_some());
    }
}
