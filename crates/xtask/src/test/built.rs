//! Test programs, built for the whole workspace and started one by one.
//!
//! Cargo chooses the features of what others wrote by the packages that a call names. A call for one
//! package alone would compile most of libtorch's bindings, tokio and serde once more, minutes each
//! time; so every call here names the workspace, and says which of its programs it wants.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use cargo_metadata::{Artifact, Message};

use protoguard_launch::process::Children;
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

impl TestPrograms {
    /// Builds the test programs that cargo's `flags` choose.
    ///
    /// # Errors
    /// When one does not build.
    pub(crate) fn build(workspace: &Workspace, flags: &[&str]) -> Result<Self> {
        let mut cargo = workspace.cargo(&["test", "--workspace", "--no-run", "--quiet"]);
        cargo.arg("--message-format=json-render-diagnostics").args(flags);
        let mut output = String::new();
        let status = Children::watch()?.read(&mut cargo, |line| {
            output.push_str(line);
            output.push('\n');
            Ok(())
        })?;
        let mut programs = Vec::new();
        for message in Message::parse_stream(output.as_bytes()) {
            programs.extend(Program::of(message.context("cargo's output cannot be read")?));
        }
        ensure!(status.success(), "test programs do not build; the reason is above");
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
    /// The test program that cargo tells of, if it does.
    fn of(message: Message) -> Option<Self> {
        let Message::CompilerArtifact(Artifact {
            manifest_path, target, profile, executable, ..
        }) = message
        else {
            return None;
        };
        profile.test.then_some(())?;
        let (folder, executable) = (manifest_path.parent()?.into(), executable?.into());
        Some(Self { folder, target: target.name, executable })
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
    const OUTPUT: &str = r#"
{"reason":"compiler-artifact","package_id":"p","manifest_path":"/w/crates/model/Cargo.toml","target":{"kind":["lib"],"name":"protoguard_model","src_path":"/s"},"profile":{"opt_level":"1","debug_assertions":true,"overflow_checks":true,"test":false},"features":[],"filenames":[],"executable":null,"fresh":true}
{"reason":"compiler-artifact","package_id":"p","manifest_path":"/w/crates/model/Cargo.toml","target":{"kind":["test"],"name":"golden","src_path":"/s"},"profile":{"opt_level":"1","debug_assertions":true,"overflow_checks":true,"test":true},"features":[],"filenames":[],"executable":"/w/target/debug/deps/golden-1","fresh":false}
{"reason":"build-finished","success":true}
"#;

    fn found() -> Vec<Program> {
        let messages = Message::parse_stream(OUTPUT.trim_start().as_bytes());
        messages.filter_map(|message| Program::of(message.unwrap())).collect()
    }

    #[test]
    fn test_programs_are_told_from_all_else() {
        let golden = Program {
            folder: "/w/crates/model".into(),
            target: "golden".to_owned(),
            executable: "/w/target/debug/deps/golden-1".into(),
        };
        assert_eq!(found(), [golden]);
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error() {
        let programs = TestPrograms(found());
        let workspace = Workspace::locate().unwrap();
        let error =
            programs.calls_of(&workspace, "protoguard-model", None).unwrap_err().to_string();
        assert_eq!(error, "protoguard-model has no test program at all");
    }
}
