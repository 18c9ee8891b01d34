//! A server: started on a free port, stopped as an orchestrator would.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal};

use crate::process::{Children, Running};
use crate::programs::Programs;

/// Where a server listens that may listen anywhere on this machine.
pub const ANY_PORT: &str = "127.0.0.1:0";
/// What the server prints when it can be called.
const ANNOUNCEMENT: &str = "listening on ";
const START: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(60);

/// A server that has said where it listens.
#[derive(Debug)]
pub struct Server {
    running: Running,
    address: String,
    log: PathBuf,
}

impl Server {
    /// Starts the server on the model in `folder` and waits until it listens.
    ///
    /// # Errors
    /// When it ends or stays silent instead; the end of its log is in the message.
    pub fn start(programs: &Programs, children: &Arc<Children>, folder: &Path) -> Result<Self> {
        let mut command = programs.server();
        command.arg("--model").arg(folder.join("model.safetensors"));
        Self::start_command(command, children, ANY_PORT, folder.join("server.log"))
    }

    /// Starts a server that is fully described but for its address and its log; [`ANY_PORT`] finds
    /// a free one.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn start_command(
        mut command: Command,
        children: &Arc<Children>,
        listen: &str,
        log: PathBuf,
    ) -> Result<Self> {
        let file =
            File::create(&log).with_context(|| format!("{} cannot be made", log.display()))?;
        command.args(["--listen", listen]).stdout(Stdio::piped()).stderr(file);
        let mut running = children.spawn(&mut command)?;
        let stdout = running.child.stdout.take().context("the server has no output")?;
        match announced(stdout) {
            Ok(address) => Ok(Self { running, address: format!("http://{address}"), log }),
            Err(error) => Err(error.context(tail(&log))),
        }
    }

    /// Where clients connect.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its process.
    pub fn pid(&self) -> Pid {
        self.running.pid()
    }

    /// Tells it to stop and waits, for so long, for its end.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn stop(&mut self, patience: Duration) -> Result<ExitStatus> {
        self.running.stop(patience)
    }

    /// Asks it to load its models again.
    ///
    /// # Errors
    /// When it has ended.
    pub fn hang_up(&self) -> Result<()> {
        self.running.signal(Signal::HUP)
    }

    /// Everything that it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Stops the server as an orchestrator would, which must end it with success.
    ///
    /// # Errors
    /// When it does not drain and exit with 0.
    pub fn finish(&mut self, calls_succeeded: bool) -> Result<()> {
        let status = self.running.stop(STOP)?;
        if !calls_succeeded || !status.success() {
            eprintln!("{}", tail(&self.log));
        }
        ensure!(status.success(), "the server ended with {status} after SIGTERM; 0 was expected");
        Ok(())
    }
}

/// The address in the first line that announces one.
fn announced(stdout: ChildStdout) -> Result<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        // Reads on to the end, so that the server never waits for its output to be taken.
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if let Some(address) = line.strip_prefix(ANNOUNCEMENT) {
                let _ = sender.send(address.trim().to_owned());
            }
        }
    });
    match receiver.recv_timeout(START) {
        Ok(address) => Ok(address),
        Err(RecvTimeoutError::Timeout) => bail!("the server did not listen within {START:?}"),
        Err(RecvTimeoutError::Disconnected) => bail!("the server ended before it listened"),
    }
}

fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(5)..];
    format!("the server's log ends with:\n{}", last.join("\n"))
}
