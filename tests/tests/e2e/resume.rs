//! A run that is killed and resumed ends as one that is not.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;

use crate::programs::{Finished, program};
use crate::trained::trained;

/// 150 clips in steps of 8, twice over.
const STEPS: u64 = 36;

/// Large enough that the writing of a state can be hit.
const ONE_THREAD: &str = "--threads 1 --base-width 16 --epochs 2 --batch-size 8";
/// Small: threads that share a busy processor wait for each other.
const TWO_THREADS: &str = "--threads 2 --base-width 4 --epochs 1 --batch-size 16";

/// A run into a folder of its own.
struct Run {
    data: PathBuf,
    folder: tempfile::TempDir,
    more: Vec<&'static str>,
}

/// How one process of a run ended.
struct Part {
    code: Option<i32>,
    records: Vec<Value>,
    stderr: String,
}

impl Run {
    async fn new(more: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { data: trained().await.data.clone(), folder, more: more.split(' ').collect() }
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("model.safetensors")
    }

    fn command(&self, more: &[&str]) -> Command {
        let mut command = program("protoguard-trainer");
        // Threads that wait for each other leave a shared processor to others.
        command.env("OMP_WAIT_POLICY", "passive");
        command.arg("train").arg("--data").arg(&self.data).arg("--out").arg(self.out());
        command.args("--cache off --log-out - --side 32 --past-frames 4 --seed 3".split(' '));
        command.args("--memory-items 10".split(' '));
        command.args("--set training.log_steps=1 --set training.save_steps=3".split(' '));
        command.args("--set training.save_minutes=0".split(' ')).args(&self.more).args(more);
        command
    }

    /// Runs until a record says that the time has come, then does what `stop` does to the process.
    async fn part(
        &self,
        more: &[&str],
        mut is_time: impl FnMut(&Value) -> bool,
        stop: impl AsyncFn(u32, &Path),
    ) -> Part {
        let mut command = self.command(more);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut stderr = child.stderr.take().unwrap();
        let log = tokio::spawn(async move {
            let mut text = String::new();
            stderr.read_to_string(&mut text).await.unwrap();
            text
        });
        let (mut records, mut stopped) = (Vec::new(), false);
        while let Some(line) = lines.next_line().await.unwrap() {
            let record: Value = serde_json::from_str(&line).unwrap();
            if !stopped && is_time(&record) {
                stop(child.id().expect("the trainer is running"), self.folder.path()).await;
                stopped = true;
            }
            records.push(record);
        }
        let code = child.wait().await.unwrap().code();
        Part { code, records, stderr: log.await.unwrap() }
    }

    /// The tensors of the finished checkpoint: what follows its header.
    fn weights(&self) -> Vec<u8> {
        let bytes = fs::read(self.out()).unwrap();
        let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        bytes[8 + header..].to_vec()
    }

    fn half_written(folder: &Path) -> bool {
        fs::read_dir(folder)
            .unwrap()
            .any(|entry| entry.unwrap().file_name().to_string_lossy().ends_with(".tmp"))
    }
}

fn step(record: &Value) -> Option<u64> {
    (record["event"] == "step").then(|| record["step"].as_u64().unwrap())
}

/// Every step's losses; what a later process says takes the place of what was lost.
fn losses<'a>(parts: impl IntoIterator<Item = &'a Part>) -> BTreeMap<u64, Value> {
    let records = parts.into_iter().flat_map(|part| &part.records);
    records.filter_map(|record| Some((step(record)?, record["losses"].clone()))).collect()
}

async fn kill(id: u32, _: &Path) {
    signal(id, "KILL").await;
}

async fn signal(id: u32, name: &str) {
    let sent = Command::new("kill").args(["-s", name, &id.to_string()]).status().await.unwrap();
    assert!(sent.success());
}

/// Kills once the temporary file of a state is there.
async fn kill_while_writing(id: u32, folder: &Path) {
    let folder = folder.to_owned();
    let limit = Instant::now() + Duration::from_secs(60);
    let watch = move || {
        while !Run::half_written(&folder) && Instant::now() < limit {
            std::thread::yield_now();
        }
    };
    tokio::task::spawn_blocking(watch).await.unwrap();
    signal(id, "KILL").await;
}

/// Two different steps, the first before the second, from a seed.
fn random_steps(seed: u64) -> [u64; 2] {
    let mut state = seed;
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let first = 1 + next() % (STEPS / 2);
    [first, first + 1 + next() % (STEPS / 4)]
}

#[tokio::test]
async fn a_killed_run_ends_bit_for_bit_as_one_that_was_not() {
    let whole = Run::new(ONE_THREAD).await;
    let undisturbed = whole.part(&[], |_| false, kill).await;
    assert_eq!(undisturbed.code, Some(0), "{}", undisturbed.stderr);
    let expected = losses([&undisturbed]);
    assert_eq!(expected.len() as u64, STEPS);

    let run = Run::new(ONE_THREAD).await;
    let [first, second] = random_steps(20_211);
    let mut parts = Vec::new();
    parts.push(run.part(&[], |record| step(record) == Some(first), kill).await);
    parts.push(run.part(&["--resume"], |record| step(record) == Some(second), kill).await);
    // The kill has to hit between the file's appearance and its renaming. What is left of it says
    // whether it did; every save is another chance.
    let mut hit = false;
    for _ in 0..4 {
        let saving = |record: &Value| record["event"] == "saving";
        parts.push(run.part(&["--resume"], saving, kill_while_writing).await);
        hit = Run::half_written(run.folder.path());
        if hit || run.out().exists() {
            break;
        }
    }
    assert!(hit, "no kill came while a state was being written");
    assert!(parts.iter().all(|part| part.code.is_none()), "every part so far was killed");
    let last = run.part(&["--resume"], |_| false, kill).await;
    assert_eq!(last.code, Some(0), "{}", last.stderr);
    parts.push(last);

    assert_eq!(losses(&parts), expected);
    assert!(run.weights() == whole.weights(), "the tensors of both checkpoints are the same");
    let mut names: Vec<_> = fs::read_dir(run.folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["model.safetensors"], "nothing else is left");

    // A finished run has nothing to resume, and says so by succeeding.
    let again = run.part(&["--resume"], |_| false, kill).await;
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    assert!(again.records.is_empty() && again.stderr.contains("is finished"), "{}", again.stderr);
}

#[tokio::test]
async fn sigterm_saves_and_leaves_and_several_threads_agree_to_a_millionth() {
    let whole = Run::new(TWO_THREADS).await;
    let undisturbed = whole.part(&[], |_| false, kill).await;
    let run = Run::new(TWO_THREADS).await;
    let stop = async |id: u32, _: &Path| signal(id, "TERM").await;
    let stopped = run.part(&[], |record| step(record) == Some(5), stop).await;
    assert_eq!(stopped.code, Some(143), "{}", stopped.stderr);
    assert!(stopped.stderr.contains("stopped by SIGTERM"), "{}", stopped.stderr);
    let last = run.part(&["--resume"], |_| false, kill).await;
    assert_eq!(last.code, Some(0), "{}", last.stderr);
    let first_of_last = last.records.iter().find_map(step).unwrap();
    assert_eq!(Some(first_of_last - 1), stopped.records.iter().filter_map(step).max());
    let (found, expected) = (losses([&stopped, &last]), losses([&undisturbed]));
    assert_eq!(found.len(), expected.len());
    for (step, found) in &found {
        let total = |losses: &Value| losses["total"].as_f64().unwrap();
        let departure = (total(found) / total(&expected[step]) - 1.0).abs();
        assert!(departure < 1e-6, "step {step} departs by {departure}");
    }
}

#[tokio::test]
async fn another_configuration_is_refused_by_its_field() {
    let run = Run::new(ONE_THREAD).await;
    let first = run.part(&[], |record| step(record) == Some(4), kill).await;
    assert_eq!(first.code, None);
    let bare = Finished::of(run.command(&[])).await;
    assert!(bare.refusal(2).contains("--resume goes on with it"));
    let other =
        Finished::of(run.command(&["--resume", "--set", "loss.difference_weight=0.5"])).await;
    let expected = "loss.difference_weight is 0.5; the run to resume was started with 0.1";
    assert!(other.refusal(2).contains(expected), "{other:?}");
}

#[tokio::test]
async fn a_full_disk_leaves_nothing_half_written() {
    let run = Run::new(ONE_THREAD).await;
    // Files may not grow past 2 MB: neither the state nor the checkpoint fits.
    let trainer = run.command(&[]);
    let mut limited = Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 2000; exec \"$0\" \"$@\""]);
    limited.arg(trainer.as_std().get_program()).args(trainer.as_std().get_args());
    for (name, value) in trainer.as_std().get_envs() {
        if let Some(value) = value {
            limited.env(name, value);
        }
    }
    let finished = Finished::of(limited).await;
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(finished.stderr.contains("the last good state is none"), "{finished:?}");
    assert!(finished.stderr.lines().last().unwrap().starts_with("error: writing"), "{finished:?}");
    assert_eq!(fs::read_dir(run.folder.path()).unwrap().count(), 0, "nothing is left");
}
