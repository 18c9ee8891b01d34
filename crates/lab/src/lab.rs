//! Where measurements are made: built programs, trained models, servers on free ports.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};

use super::loads::{Bare, LoadReport, StreamReport};
use protoguard_launch::process::{Children, Running};
use protoguard_launch::programs::Programs;
use protoguard_launch::server::{ANY_PORT, Server};
use protoguard_launch::workspace::Workspace;

/// Programs and a folder of their own; the folder goes when this is dropped.
#[derive(Debug)]
pub(super) struct Lab {
    programs: Programs,
    children: Arc<Children>,
    folder: PathBuf,
    // Held until the end: two measurements at a time would both be wrong.
    _lock: File,
}

/// The size of a network, which is what its time depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NetworkSize {
    pub(super) side: u32,
    pub(super) base_width: u32,
}

/// A server under measurement.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) server: Server,
    /// Where its metrics page is, as `127.0.0.1:9090`.
    pub(super) metrics: String,
}

/// Of a drawn video, as many are learned from: a large network takes seconds a clip.
const FRAMES: usize = 20;

/// Removes all but the first frames of every video.
fn keep_frames(videos: &Path) -> Result<()> {
    let list = |folder: &Path| -> Result<Vec<PathBuf>> {
        let entries = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path()));
        let mut paths = entries.collect::<std::io::Result<Vec<_>>>()?;
        paths.sort();
        Ok(paths)
    };
    for video in list(videos)? {
        list(&video)?.iter().skip(FRAMES).try_for_each(fs::remove_file)?;
    }
    Ok(())
}

impl Lab {
    /// Builds the programs.
    ///
    /// # Errors
    /// When they do not build, or another measurement is running in this checkout.
    pub(super) fn open(workspace: &Workspace) -> Result<Self> {
        let children = Children::watch()?;
        children.run(&mut workspace.cargo(&["xtask", "setup"]))?;
        let programs = Programs::build(workspace, &children)?;
        let target = workspace.root().join("target");
        let lock = File::create(target.join("bench.lock")).context("target cannot be used")?;
        if lock.try_lock().is_err() {
            bail!("another measurement is running in {}", workspace.root().display());
        }
        let folder = target.join("bench-work");
        if folder.exists() {
            fs::remove_dir_all(&folder).context("the last measurement's folder stays")?;
        }
        fs::create_dir_all(&folder).context("target cannot be used")?;
        Ok(Self { programs, children, folder, _lock: lock })
    }

    /// A path in the lab's folder.
    pub(super) fn at(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Trains a network for one epoch on drawn scenes: its time depends on its size alone.
    ///
    /// # Errors
    /// When the trainer fails.
    pub(super) fn train(&self, name: &str, size: NetworkSize, seed: u32) -> Result<PathBuf> {
        let data = self.at("data");
        if !data.exists() {
            let mut synth = self.programs.trainer();
            synth.arg("synth").arg("--out").arg(&data).args(["--frames", "60"]);
            synth.args(["--training-videos", "1", "--testing-videos", "1"]);
            self.children.run(&mut synth)?;
            keep_frames(&data.join("training/frames"))?;
        }
        let checkpoint = self.at(&format!("{name}.safetensors"));
        let mut train = self.programs.trainer();
        train.arg("train").arg("--data").arg(&data).arg("--out").arg(&checkpoint);
        train.args(["--side", &size.side.to_string(), "--past-frames", "4"]);
        train.args(["--base-width", &size.base_width.to_string(), "--epochs", "1"]);
        // A calibration wants four held-out clips, which a tenth of so few frames does not give.
        train.args(["--seed", &seed.to_string(), "--set", "training.held_out=0.4"]);
        self.children.run(&mut train)?;
        Ok(checkpoint)
    }

    /// What ends the programs that are started, when this one is told to stop.
    pub(super) fn children(&self) -> &Arc<Children> {
        &self.children
    }

    /// Runs a program to its end.
    ///
    /// # Errors
    /// When it fails.
    pub(super) fn run(&self, command: &mut Command) -> Result<()> {
        self.children.run(command).map(drop)
    }

    /// The trainer.
    pub(super) fn trainer(&self) -> Command {
        self.programs.trainer()
    }

    /// Runs a program to its end and reads the JSON that it prints.
    ///
    /// # Errors
    /// When it fails or prints something else.
    pub(super) fn measured<T: serde::de::DeserializeOwned>(
        &self,
        mut command: Command,
    ) -> Result<T> {
        let out = self.at("measured.json");
        command.stdout(File::create(&out).context("the lab's folder is gone")?);
        self.children.run(&mut command)?;
        read_json(&out)
    }

    /// Measures the forward pass alone.
    ///
    /// # Errors
    /// When the server program fails.
    pub(super) fn bare(&self, checkpoint: &Path, more: &[&str]) -> Result<Bare> {
        let out = self.at("bare.json");
        let mut bare = self.programs.server();
        bare.args(["bare", "--model"]).arg(checkpoint).args(more);
        bare.stdout(File::create(&out).context("the lab's folder is gone")?);
        self.children.run(&mut bare)?;
        read_json(&out)
    }

    /// Starts a server under the name `model`, with metrics on a free port.
    ///
    /// # Errors
    /// When it does not come to listen.
    pub(super) fn serve(&self, checkpoint: &Path, more: &[&str]) -> Result<Served> {
        self.serve_at(checkpoint, ANY_PORT, more)
    }

    /// Starts a server at an address.
    ///
    /// # Errors
    /// As [`Lab::serve`].
    pub(super) fn serve_at(
        &self,
        checkpoint: &Path,
        listen: &str,
        more: &[&str],
    ) -> Result<Served> {
        let metrics = free_address()?;
        let mut server = self.programs.server();
        let mut model = std::ffi::OsString::from("model=");
        model.push(checkpoint);
        server.arg("--model").arg(model).args(more);
        server.env("PROTOGUARD_SERVER__METRICS_LISTEN", &metrics);
        let server = Server::start_command(server, &self.children, listen, self.log(listen))?;
        Ok(Served { server, metrics })
    }

    fn log(&self, listen: &str) -> PathBuf {
        self.at(&format!("server-{}.log", listen.replace(':', "-")))
    }

    /// Begins to stream cameras to servers; the report will be written to `out`.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub(super) fn begin_streams(
        &self,
        addresses: &str,
        out: &Path,
        more: &[&str],
    ) -> Result<Running> {
        let mut bench = self.programs.client();
        bench.args(["bench-streams", "--address", addresses, "--output"]).arg(out).args(more);
        self.children.spawn(&mut bench)
    }

    /// Streams cameras to a server until all frames are answered.
    ///
    /// # Errors
    /// When the program fails, which failed streams alone do not make it.
    pub(super) fn stream(&self, served: &Served, more: &[&str]) -> Result<StreamReport> {
        let out = self.at("streams.json");
        let mut running = self.begin_streams(served.server.address(), &out, more)?;
        ensure!(running.wait()?.status.success(), "the cameras failed");
        read_json(&out)
    }

    /// Loads a server until the program has seen enough.
    ///
    /// # Errors
    /// When the program fails, which failed requests alone do not make it.
    pub(super) fn load(&self, served: &Served, more: &[&str]) -> Result<LoadReport> {
        let out = self.at(&format!("load-{:x}.json", fastrand::u64(..)));
        self.children.run(self.load_command(served, &out).args(more))?;
        let report = read_json(&out)?;
        fs::remove_file(&out).context("the lab's folder is gone")?;
        Ok(report)
    }

    /// Begins to load a server; the report will be written to `out`.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub(super) fn begin_load(&self, served: &Served, out: &Path, more: &[&str]) -> Result<Running> {
        self.children.spawn(self.load_command(served, out).args(more))
    }

    fn load_command(&self, served: &Served, out: &Path) -> Command {
        let mut bench = self.programs.client();
        bench.args(["bench", "--format", "json", "--address", served.server.address()]);
        bench.arg("--output").arg(out);
        bench
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // What stays is removed by the next measurement.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Reads what a program wrote.
///
/// # Errors
/// When it is not there or not what was expected.
pub(super) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("in {}", path.display()))
}

/// An address that nobody listened on a moment ago.
pub(super) fn free_address() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").context("no port is free")?;
    Ok(listener.local_addr()?.to_string())
}
