//! Test programs, built for the whole workspace and started one by one.
//!
//! Cargo chooses the features of what others wrote by the packages that a call names. A call for one
//! package alone would compile most of libtorch's bindings, tokio and serde once more, minutes each
//! time; so every call here names the workspace, and says which of its programs it wants.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use protoguard_launch::workspace::Workspace;

/// What a call of cargo built.
#[derive(Debug)]
pub(crate) struct TestPrograms(Vec<Program>);

/// How tests are started, and what to call them where they fail.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) name: String,
    pub(crate) command: Command,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Program {
    /// The package's folder, where its tests expect to run.
    folder: PathBuf,
    /// Name of the library, program or test.
    target: String,
    executable: PathBuf,
}

/// A line of `--message-format=json`.
#[derive(Debug, Deserialize)]
struct Message {
    reason: String,
    manifest_path: Option<PathBuf>,
    target: Option<Target>,
    profile: Option<Profile>,
    executable: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
struct Target {
    name: String,
}

#[derive(Debug, Deserialize)]
struct Profile {
    test: bool,
}

impl TestPrograms {
    /// Builds the test programs that cargo's `flags` choose.
    ///
    /// # Errors
    /// When one does not build.
    pub(crate) fn build(workspace: &Workspace, flags: &[&str]) -> Result<Self> {
        let mut cargo = workspace.cargo(&["test", "--workspace", "--no-run", "--quiet"]);
        cargo.arg("--message-format=json-render-diagnostics").args(flags).stdout(Stdio::piped());
        let mut child = cargo.spawn().context("cargo cannot be started")?;
        let output = child.stdout.take().context("cargo has no output")?;
        let mut programs = Vec::new();
        for line in BufReader::new(output).lines() {
            programs.extend(Program::of_line(&line.context("cargo's output cannot be read")?));
        }
        ensure!(child.wait()?.success(), "test programs do not build; the reason is above");
        programs.sort_by(|a: &Program, b| (&a.folder, &a.target).cmp(&(&b.folder, &b.target)));
        Ok(Self(programs))
    }

    /// Calls of all of them.
    pub(crate) fn calls(&self, workspace: &Workspace) -> Vec<Call> {
        self.0.iter().map(|program| program.call(workspace)).collect()
    }

    /// Calls of a package's programs, or of one of them.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn calls_of(
        &self,
        workspace: &Workspace,
        package: &str,
        target: Option<&str>,
    ) -> Result<Vec<Call>> {
        let folder = workspace.root().join("crates").join(package.trim_start_matches(PREFIX));
        let is_wanted = |program: &&Program| {
            program.folder == folder && target.is_none_or(|target| program.target == target)
        };
        let found: Vec<&Program> = self.0.iter().filter(is_wanted).collect();
        ensure!(!found.is_empty(), "{package} has no test program {}", target.unwrap_or("at all"));
        Ok(found.into_iter().map(|program| program.call(workspace)).collect())
    }
}

/// Begins the names of packages and not those of their folders.
const PREFIX: &str = "protoguard-";

impl Program {
    /// The test program that a line tells of, if it does.
    fn of_line(line: &str) -> Option<Self> {
        let message: Message = serde_json::from_str(line).ok()?;
        let is_test = message.profile.is_some_and(|profile| profile.test);
        (message.reason == "compiler-artifact" && is_test).then_some(())?;
        Some(Self {
            folder: message.manifest_path?.parent()?.to_owned(),
            target: message.target?.name,
            executable: message.executable?,
        })
    }

    /// As cargo would start it.
    fn call(&self, workspace: &Workspace) -> Call {
        let mut command = Command::new(&self.executable);
        command.current_dir(&self.folder).env("CARGO_MANIFEST_DIR", &self.folder);
        workspace.find_libtorch(&mut command);
        let package = self.folder.file_name().unwrap_or_default().to_string_lossy();
        Call { name: format!("{package}/{}", self.target), command }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As cargo 1.95 writes them, shortened.
    const OUTPUT: [&str; 4] = [
        r#"{"reason":"compiler-artifact","package_id":"p","manifest_path":"/w/crates/model/Cargo.toml",
            "target":{"kind":["lib"],"name":"protoguard_model","test":true},
            "profile":{"opt_level":"1","test":false},"executable":null,"fresh":true}"#,
        r#"{"reason":"compiler-artifact","package_id":"p","manifest_path":"/w/crates/model/Cargo.toml",
            "target":{"kind":["test"],"name":"golden","test":true},
            "profile":{"opt_level":"1","test":true},"executable":"/w/target/debug/deps/golden-1"}"#,
        r#"{"reason":"build-script-executed","package_id":"p"}"#,
        r#"{"reason":"build-finished","success":true}"#,
    ];

    #[test]
    fn test_programs_are_told_from_all_else() {
        let found: Vec<Program> = OUTPUT.iter().filter_map(|line| Program::of_line(line)).collect();
        let golden = Program {
            folder: "/w/crates/model".into(),
            target: "golden".to_owned(),
            executable: "/w/target/debug/deps/golden-1".into(),
        };
        assert_eq!(found, [golden]);
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error() {
        let programs =
            TestPrograms(OUTPUT.iter().filter_map(|line| Program::of_line(line)).collect());
        let workspace = Workspace::locate().unwrap();
        let error =
            programs.calls_of(&workspace, "protoguard-model", None).unwrap_err().to_string();
        assert_eq!(error, "protoguard-model has no test program at all");
    }
}
