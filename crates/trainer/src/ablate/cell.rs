//! One run of a grid: what it is trained with, and what it found.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Parser;
use protoguard_checkpoint::Checkpoint;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Place;
use crate::cli::{Cli, Command};
use crate::config::TrainerConfig;
use crate::train::{Request, train};
use crate::{evaluate, output};

/// What a group of cells has in common: all but the seed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Setting {
    /// The row's name and the grid's values, for a person.
    pub parts: Vec<String>,
    /// `key=value` pairs.
    pub set: Vec<String>,
}

/// One run of the grid.
#[derive(Clone, Debug)]
pub struct Cell {
    /// Its position, from 0.
    pub index: usize,
    /// All but its seed.
    pub setting: Setting,
    /// Its seed.
    pub seed: u64,
    /// Everything that is set over the shared configuration.
    pub set: Vec<String>,
    /// Its whole configuration.
    pub config: TrainerConfig,
}

/// What a finished cell found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CellResult {
    /// The cell's configuration.
    pub config: TrainerConfig,
    /// The checkpoint's version.
    pub version: String,
    /// AUC of the combined score, min–max by video.
    pub auc: f64,
    /// AUC of the PSNR alone.
    pub auc_psnr: Option<f64>,
    /// AUC of the feature distance alone.
    pub auc_distance: Option<f64>,
    /// Mean PSNR on held-out normal frames, in dB.
    pub held_out_psnr_db: Option<f64>,
    /// The motion branch's loss on held-out normal frames over that of zeros.
    pub motion_loss_vs_zero: Option<f64>,
    /// Perplexity of the memory's use in the last epoch of training.
    pub perplexity: Option<f64>,
    /// Items of the memory in use on test frames.
    pub items_in_use: Option<f64>,
}

impl Setting {
    /// The setting with one more key.
    pub(super) fn with(&self, key: &str, value: &str) -> Self {
        let pair = format!("{key}={value}");
        let mut setting = self.clone();
        setting.parts.push(pair.clone());
        setting.set.push(pair);
        setting
    }

    /// For a person: the row and the grid's values.
    pub fn name(&self) -> String {
        if self.parts.is_empty() { "default".to_owned() } else { self.parts.join(", ") }
    }
}

impl Cell {
    /// The setting's name.
    pub fn name(&self) -> String {
        self.setting.name()
    }

    /// Its folder under `out`.
    pub fn folder(&self, out: &Path) -> PathBuf {
        let slug = self.name().replace(|c: char| !c.is_ascii_alphanumeric() && c != '.', "-");
        out.join(format!("{:04}-{slug}-seed{}", self.index, self.seed))
    }

    /// What it found, where it is done.
    ///
    /// # Errors
    /// When it was done with another configuration, or its result cannot be read.
    pub fn result(&self, out: &Path) -> anyhow::Result<Option<CellResult>> {
        let path = self.folder(out).join("done.json");
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("reading {path:?}")),
        };
        let result: CellResult =
            serde_json::from_slice(&bytes).with_context(|| format!("reading {path:?}"))?;
        anyhow::ensure!(
            result.config == self.config,
            "{path:?} was made with another configuration; remove its folder or choose another --out"
        );
        Ok(Some(result))
    }

    /// Trains and measures, unless it is done. `false` where another process is at it and `wait`
    /// is not wished.
    ///
    /// # Errors
    /// When training or measuring fails.
    pub(super) fn run(&self, place: &Place, wait: bool) -> anyhow::Result<bool> {
        let folder = self.folder(&place.out);
        fs::create_dir_all(&folder).with_context(|| format!("creating {folder:?}"))?;
        let lock = folder.join("lock");
        let file = File::options().create(true).append(true).open(&lock);
        let file = file.with_context(|| format!("opening {lock:?}"))?;
        if wait {
            file.lock().with_context(|| format!("locking {lock:?}"))?;
        } else if let Err(error) = file.try_lock() {
            return match error {
                fs::TryLockError::WouldBlock => Ok(false),
                fs::TryLockError::Error(error) => {
                    Err(error).with_context(|| format!("locking {lock:?}"))
                }
            };
        }
        if self.result(&place.out)?.is_some() {
            tracing::info!(cell = self.index, "{} is done", self.name());
            return Ok(true);
        }
        tracing::info!(cell = self.index, seed = self.seed, "{}", self.name());
        self.work(place, &folder)?;
        Ok(true)
    }

    fn work(&self, place: &Place, folder: &Path) -> anyhow::Result<()> {
        let checkpoint = folder.join("model.safetensors");
        train(&Request {
            config: self.config.clone(),
            data: place.data.clone(),
            source: place.source.clone(),
            out: checkpoint.clone(),
            overwrite: false,
            resume: true,
            log_out: None,
            tensorboard: None,
            libtorch: place.libtorch.clone(),
        })?;
        let report = folder.join("report.json");
        self.evaluate(place, &checkpoint, &report)?;
        let bytes = fs::read(&report).with_context(|| format!("reading {report:?}"))?;
        let result = self.read(&checkpoint, &serde_json::from_slice(&bytes)?)?;
        let done = folder.join("done.json");
        output::write(&done, &serde_json::to_vec_pretty(&result)?)
    }

    /// As the command line would.
    fn evaluate(&self, place: &Place, checkpoint: &Path, report: &Path) -> anyhow::Result<()> {
        let path = |path: &Path| path.as_os_str().to_owned();
        let mut words = vec!["protoguard-trainer".into(), "evaluate".into(), "--overwrite".into()];
        let device = self.config.training.device.clone().into();
        let threads = self.config.training.threads.to_string().into();
        words.extend(["--device".into(), device, "--threads".into(), threads]);
        words.extend(["--checkpoint".into(), path(checkpoint), "--data".into(), path(&place.data)]);
        words.extend(["--out".into(), path(report)]);
        for (flag, value) in [("--labels", &place.labels), ("--libtorch", &place.libtorch)] {
            if let Some(value) = value {
                words.extend([flag.into(), path(value)]);
            }
        }
        match Cli::try_parse_from(words)?.command {
            Command::Evaluate(mut args) => {
                args.source = place.source.clone();
                evaluate::run(&args)
            }
            other => anyhow::bail!("evaluate was read as {other:?}"),
        }
    }

    fn read(&self, checkpoint: &Path, report: &Value) -> anyhow::Result<CellResult> {
        let auc = |signal: &str| report["metrics"]["video"][signal]["auc"].as_f64();
        let checkpoint = Checkpoint::read(checkpoint)?;
        let training = &checkpoint.content().training;
        let metric = |name: &str| training.metrics.get(name).copied();
        Ok(CellResult {
            config: self.config.clone(),
            version: checkpoint.version().to_owned(),
            auc: auc("combined").or_else(|| auc("psnr")).context("no AUC in the report")?,
            auc_psnr: auc("psnr"),
            auc_distance: auc("feature_distance"),
            held_out_psnr_db: metric("held_out_psnr_db"),
            motion_loss_vs_zero: metric("motion_loss_vs_zero"),
            perplexity: training.memory_health.as_ref().map(|memory| memory.perplexity),
            items_in_use: report["memory"]["items_in_use"].as_f64(),
        })
    }
}
