//! The frameworks that we are compared with, in a Python environment of their own, and what a
//! program measures that waits for questions.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::json;

use protoguard_launch::process::{Children, Running};
use protoguard_launch::tools::Tools;
use protoguard_launch::workspace::Workspace;

const PEERS: Tools = Tools {
    name: "peers",
    requirements: "benches/peers/requirements.txt",
    with_dependencies: true,
};

/// Triton asks for an older NumPy than the others.
const TRITON: Tools = Tools {
    name: "triton",
    requirements: "benches/peers/triton_requirements.txt",
    with_dependencies: true,
};

/// The distribution's own Python, whose library Triton's Python backend opens.
const SYSTEM_PYTHON: &str = "/usr/bin/python3";

/// Python with the frameworks in reach.
///
/// # Errors
/// When they cannot be installed.
pub(super) fn python(workspace: &Workspace) -> Result<PathBuf> {
    Ok(PEERS.install(workspace)?.join("bin/python"))
}

/// A script of `benches/peers`.
pub(super) fn script(workspace: &Workspace, python: &Path, name: &str) -> Command {
    let mut command = Command::new(python);
    command.arg(workspace.root().join("benches/peers").join(name));
    command
}

/// `benches/peers/serve_triton.py`, with Triton and the frameworks in reach.
///
/// Triton's process for Python ignores PYTHONPATH but looks into its working directory, and outside
/// of a site's own packages pytriton does not find the libraries that it brings.
///
/// # Errors
/// When Triton cannot be installed.
pub(super) fn triton(workspace: &Workspace, python: &Path) -> Result<Command> {
    let triton = TRITON.install(workspace)?.join("packages");
    let frameworks = python.with_file_name("").join("../packages");
    let mut command = script(workspace, Path::new(SYSTEM_PYTHON), "serve_triton.py");
    command.env("LD_LIBRARY_PATH", triton.join("nvidia_pytriton.libs"));
    command.env("PYTHONPATH", std::env::join_paths([&triton, &frameworks])?);
    command.current_dir(triton);
    Ok(command)
}

/// A started script that answers one line of JSON with one.
#[derive(Debug)]
pub(super) struct Peer {
    name: &'static str,
    _running: Running,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// Clips of a batch and what is wanted of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Question {
    /// With pictures, through both decoders.
    pub(super) full: bool,
    /// Clips at a time.
    pub(super) batch: u32,
}

#[derive(Deserialize)]
struct Answer {
    seconds: Vec<f64>,
}

impl Peer {
    /// Starts a command that reads questions.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn start(
        name: &'static str,
        mut command: Command,
        children: &Arc<Children>,
    ) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut running = children.spawn(&mut command)?;
        let questions = running.child.stdin.take().context("a piped standard input")?;
        let answers = running.child.stdout.take().context("a piped standard output")?;
        Ok(Self { name, _running: running, questions, answers: BufReader::new(answers) })
    }

    /// Seconds of every repetition.
    ///
    /// # Errors
    /// When the peer has ended, having said why on standard error.
    pub(super) fn ask(&mut self, question: Question, repetitions: u32) -> Result<Vec<f64>> {
        let outputs = if question.full { "full" } else { "scores" };
        let asked =
            json!({ "outputs": outputs, "batch": question.batch, "repetitions": repetitions });
        let gone = || format!("{} ended; the reason is above", self.name);
        writeln!(self.questions, "{asked}").with_context(gone)?;
        let mut line = String::new();
        self.answers.read_line(&mut line).with_context(gone)?;
        let answer: Answer = serde_json::from_str(&line).with_context(gone)?;
        Ok(answer.seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(script: &str) -> Peer {
        let mut shell = Command::new("sh");
        shell.args(["-c", script]);
        Peer::start("a peer", shell, &Arc::new(Children::default())).unwrap()
    }

    #[test]
    fn a_peer_answers_and_its_end_is_an_error() {
        let mut peer = peer("read line; echo '{\"seconds\": [0.5, 0.25]}'; read line; exit 1");
        let question = Question { full: true, batch: 4 };
        assert_eq!(peer.ask(question, 2).unwrap(), [0.5, 0.25]);
        let error = peer.ask(question, 2).unwrap_err().to_string();
        assert_eq!(error, "a peer ended; the reason is above");
    }
}
