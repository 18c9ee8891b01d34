//! The programs under test, and other people's.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

/// No program that ends by itself takes longer; one that hangs fails its test.
const LIMIT: Duration = Duration::from_secs(300);

/// The root of the workspace.
pub(crate) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// One of our programs, as cargo built it in the profile of these tests.
pub(crate) fn program(name: &str) -> Command {
    // target/<profile>/deps/e2e-<hash>
    let tests = std::env::current_exe().unwrap();
    let path = tests.parent().unwrap().parent().unwrap().join(name);
    assert!(
        path.is_file(),
        "{} is missing: run cargo build --workspace --bins first",
        path.display()
    );
    let mut command = Command::new(path);
    // A target folder outside the workspace is out of reach of the programs' own search path.
    command.env("LD_LIBRARY_PATH", workspace().join(".libtorch/lib"));
    // The machine has few cores, and several tests run at a time.
    command.env("OMP_NUM_THREADS", "1").env_remove("RUST_LOG");
    // Tests leave nothing in the user's own folders.
    command.env("PROTOGUARD_CACHE", "off");
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// A foreign client that `cargo xtask test` installs.
pub(crate) fn tool(name: &str) -> Command {
    let path = workspace().join(".tools/venv/bin").join(name);
    assert!(path.is_file(), "{} is missing: run cargo xtask test", path.display());
    let mut command = Command::new(path);
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// What a program left behind.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    /// Runs a program to its end.
    pub(crate) async fn of(mut command: Command) -> Self {
        let output = tokio::time::timeout(LIMIT, command.output()).await;
        let output = output.unwrap_or_else(|_| panic!("{command:?} did not end")).unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// Its standard output, after checking that it succeeded.
    pub(crate) fn success(self) -> String {
        assert_eq!(self.code, Some(0), "{}\n{}", self.stdout, self.stderr);
        self.stdout
    }

    /// The one line that says why it failed; a log may precede it.
    pub(crate) fn refusal(&self, code: i32) -> &str {
        assert_eq!(self.code, Some(code), "{self:?}");
        let last = self.stderr.lines().last().unwrap_or_default();
        assert!(last.starts_with("error: "), "{self:?}");
        assert_eq!(self.stderr.matches("error: ").count(), 1, "{self:?}");
        assert!(!self.stderr.contains("panicked"), "{self:?}");
        last
    }
}

/// Runs one of our programs to its end.
pub(crate) async fn run<S: AsRef<OsStr>>(
    name: &str,
    arguments: impl IntoIterator<Item = S>,
) -> Finished {
    let mut command = program(name);
    command.args(arguments);
    Finished::of(command).await
}
