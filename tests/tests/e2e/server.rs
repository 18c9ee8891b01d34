//! A server of its own for each test, ended with it.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use protoguard_client::{Client, ClientOptions};
use protoguard_proto::v1::scoring_service_client::ScoringServiceClient;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinHandle;
use tonic::transport::Channel;

use crate::programs::program;

/// A server that does not speak or end within this fails its test.
const LIMIT: Duration = Duration::from_secs(120);

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    /// Such as `127.0.0.1:40123`.
    pub(crate) address: String,
    /// Kept open: a closed pipe would end the server's next line.
    stdout: Lines<BufReader<ChildStdout>>,
    log: JoinHandle<String>,
}

impl Server {
    /// Starts a server on a free port and waits until it listens.
    pub(crate) async fn start(checkpoint: &Path) -> Self {
        Self::start_with(checkpoint, &[]).await
    }

    /// The same with more arguments. Where they say nothing else it computes in f32, so that its
    /// scores can be compared with the trainer's.
    pub(crate) async fn start_with(checkpoint: &Path, more: &[&str]) -> Self {
        let model = ["--model", checkpoint.to_str().unwrap()];
        Self::start_bare(&[&model, more].concat()).await
    }

    /// Starts a server with these arguments, on a free port where they name none.
    pub(crate) async fn start_bare(arguments: &[&str]) -> Self {
        let mut command = program("protoguard-server");
        if !arguments.contains(&"--precision") {
            command.args(["--precision", "f32"]);
        }
        if !arguments.contains(&"--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        command.args(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let log = tokio::spawn(async move {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text).await;
            text
        });
        let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = tokio::time::timeout(LIMIT, stdout.next_line()).await;
        let line = line.expect("the server says nothing").unwrap();
        let Some(line) = line else { panic!("the server ended: {}", log.await.unwrap()) };
        let address = line.strip_prefix("listening on ");
        let address = address.unwrap_or_else(|| panic!("unexpected line: {line}")).to_owned();
        Self { child, address, stdout, log }
    }

    /// Where the probes are, of a server that was started with `--metrics-listen`.
    pub(crate) async fn probes(&mut self) -> String {
        let line = tokio::time::timeout(LIMIT, self.stdout.next_line()).await;
        let line = line.expect("the server says nothing").unwrap().unwrap();
        let address = line.strip_prefix("metrics on ");
        address.unwrap_or_else(|| panic!("unexpected line: {line}")).to_owned()
    }

    /// Where clients connect.
    pub(crate) fn uri(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Our own client.
    pub(crate) async fn client(&self) -> Client {
        Client::connect(&self.address, ClientOptions::default()).await.unwrap()
    }

    /// The bare generated client, which tries nothing twice.
    pub(crate) async fn scoring(&self) -> ScoringServiceClient<Channel> {
        let client = ScoringServiceClient::connect(self.uri()).await.unwrap();
        client.max_decoding_message_size(64 << 20)
    }

    /// Sends a signal, such as `TERM`.
    pub(crate) async fn signal(&self, name: &str) {
        let id = self.child.id().expect("the server is running").to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status().await.unwrap();
        assert!(sent.success());
    }

    /// Waits for the server to end; its status and its log.
    pub(crate) async fn ended(mut self) -> (ExitStatus, String) {
        let status = tokio::time::timeout(LIMIT, self.child.wait()).await;
        (status.expect("the server does not end").unwrap(), self.log.await.unwrap())
    }
}
