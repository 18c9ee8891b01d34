//! Checkpoints as the service's source of models: files by name, and a folder.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use protoguard_checkpoint::Checkpoint;
use protoguard_core::ScorerFactory;
use protoguard_model::{ScorerOptions, TchScorerFactory};
use protoguard_service::{FileStamp, FoundModel, ModelSource, ModelSpec, Slot, SourceError};
use tracing::warn;

use crate::config::{Config, ModelFile, WorkerConfig, is_model_name};

const EXTENSION: &str = "safetensors";

/// Where checkpoints lie and how replicas of them run.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    files: Vec<ModelFile>,
    folder: Option<PathBuf>,
    workers: WorkerConfig,
    /// The folders in `folder` that were looked into, and whether they could be read at least once.
    read: Mutex<BTreeMap<PathBuf, bool>>,
}

/// A checkpoint's file and its place among the models.
struct Place {
    slot: Slot,
    path: PathBuf,
}

impl Checkpoints {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            files: config.models.clone(),
            folder: config.models_folder.clone(),
            workers: config.worker.clone(),
            read: Mutex::default(),
        }
    }

    fn places(&self) -> Result<Vec<Place>, SourceError> {
        let files = self.files.iter().map(|file| Place {
            slot: Slot { name: file.name.clone(), label: None },
            path: file.path.clone(),
        });
        let mut places: Vec<Place> = files.collect();
        if let Some(folder) = &self.folder {
            let found = self.in_folder(folder)?;
            if found.is_empty() {
                let accepted = "NAME.safetensors or NAME/VERSION.safetensors is expected in it";
                return Err(wrong(folder, format!("has no checkpoint; {accepted}")));
            }
            places.extend(found);
        }
        Ok(places)
    }

    /// The checkpoints of a folder and of the folders in it. Hidden files and those of another kind
    /// are passed over: checkpoints are written beside their place and renamed.
    fn in_folder(&self, folder: &Path) -> Result<Vec<Place>, SourceError> {
        let mut places = Vec::new();
        for path in entries(folder).map_err(|error| unreadable(folder, &error))? {
            if path.is_dir() {
                for version in self.versions(&path)? {
                    let name = model_name(&path, path.file_name())?;
                    let label = Some(model_name(&version, version.file_stem())?);
                    places.push(Place { slot: Slot { name, label }, path: version });
                }
            } else if is_checkpoint(&path) {
                let name = model_name(&path, path.file_stem())?;
                places.push(Place { slot: Slot { name, label: None }, path });
            }
        }
        Ok(places)
    }

    /// The checkpoints in a folder of the folder of models. A folder that this user could never read
    /// counts as empty, such as the `lost+found` of a volume. A folder that could be read before is
    /// an error, because its checkpoints are being served and are not gone.
    fn versions(&self, folder: &Path) -> Result<Vec<PathBuf>, SourceError> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        match entries(folder) {
            Ok(paths) => {
                read.insert(folder.to_owned(), true);
                let is_version = |path: &PathBuf| is_checkpoint(path) && !path.is_dir();
                Ok(paths.into_iter().filter(is_version).collect())
            }
            Err(error)
                if error.kind() == ErrorKind::PermissionDenied
                    && read.get(folder) != Some(&true) =>
            {
                if read.insert(folder.to_owned(), false).is_none() {
                    warn!(folder = %folder.display(), error = %error, "folder passed over");
                }
                Ok(Vec::new())
            }
            Err(error) => Err(unreadable(folder, &error)),
        }
    }
}

impl ModelSource for Checkpoints {
    fn scan(&self) -> Result<Vec<FoundModel>, SourceError> {
        // A file that is gone has the default stamp. Loading it fails and says which file it is.
        let found = |place: Place| FoundModel {
            stamp: FileStamp::of(&place.path).unwrap_or_default(),
            slot: place.slot,
        };
        Ok(self.places()?.into_iter().map(found).collect())
    }

    fn load(&self, slot: &Slot) -> Result<ModelSpec, SourceError> {
        let place = self.places()?.into_iter().find(|place| place.slot == *slot);
        let place =
            place.ok_or_else(|| SourceError { reason: format!("model `{slot}` is gone") })?;
        let checkpoint = Checkpoint::read(&place.path).map_err(|error| SourceError {
            reason: format!(
                "model `{slot}` from {} cannot be loaded: {error}",
                place.path.display()
            ),
        })?;
        let checkpoint = Arc::new(checkpoint);
        let factory = |&device| -> Arc<dyn ScorerFactory> {
            let options = ScorerOptions {
                name: slot.name.clone(),
                device,
                threads: Some(self.workers.threads_per_worker),
                libtorch: self.workers.libtorch.clone(),
                precision: self.workers.precision,
            };
            Arc::new(TchScorerFactory::new(Arc::clone(&checkpoint), options))
        };
        Ok(ModelSpec { replicas: self.workers.devices.iter().map(factory).collect() })
    }
}

/// The paths of what is in a folder and not hidden, sorted by name.
fn entries(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes()[0] == b'.');
        if !hidden {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn is_checkpoint(path: &Path) -> bool {
    path.extension() == Some(OsStr::new(EXTENSION))
}

fn model_name(path: &Path, name: Option<&OsStr>) -> Result<String, SourceError> {
    let name = name.and_then(OsStr::to_str).filter(|name| is_model_name(name));
    let reason = "names no model; a name without @ and spaces is expected";
    name.map(str::to_owned).ok_or_else(|| wrong(path, reason.to_owned()))
}

fn unreadable(folder: &Path, error: &std::io::Error) -> SourceError {
    wrong(folder, format!("cannot be read: {error}"))
}

fn wrong(path: &Path, reason: String) -> SourceError {
    SourceError { reason: format!("models_folder: {} {reason}", path.display()) }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use protoguard_checkpoint::Precision;
    use protoguard_model::DeviceSpec;

    use super::*;

    fn checkpoints(folder: &Path) -> Checkpoints {
        let worker = WorkerConfig {
            devices: vec![DeviceSpec::Cpu],
            threads_per_worker: 1,
            libtorch: None,
            precision: Precision::F32,
        };
        let file = ModelFile { name: "door".to_owned(), path: folder.join("elsewhere") };
        Checkpoints {
            files: vec![file],
            folder: Some(folder.to_owned()),
            workers: worker,
            read: Mutex::default(),
        }
    }

    fn found(folder: &Path) -> Vec<String> {
        let found = checkpoints(folder).scan().unwrap();
        found.iter().map(|found| found.slot.to_string()).collect()
    }

    #[test]
    fn a_folder_holds_names_and_versions_of_names() {
        let root = tempfile::tempdir().unwrap();
        let touch = |name: &str| std::fs::write(root.path().join(name), name).unwrap();
        for folder in ["hall", "..data", "empty"] {
            std::fs::create_dir(root.path().join(folder)).unwrap();
        }
        for file in [
            "attic.safetensors",
            "attic.safetensors.tmp",
            ".hidden.safetensors",
            "readme.txt",
            "hall/v2.safetensors",
            "hall/v10.safetensors",
            "..data/x.safetensors",
        ] {
            touch(file);
        }
        assert_eq!(found(root.path()), ["door", "attic", "hall@v10", "hall@v2"]);
        let before = checkpoints(root.path()).scan().unwrap();
        touch("hall/v2.safetensors.tmp");
        std::fs::rename(
            root.path().join("hall/v2.safetensors.tmp"),
            root.path().join("hall/v2.safetensors"),
        )
        .unwrap();
        let after = checkpoints(root.path()).scan().unwrap();
        let changed: Vec<_> = before.iter().zip(&after).map(|(a, b)| a.stamp != b.stamp).collect();
        assert_eq!(changed, [false, false, false, true]);
    }

    #[test]
    fn what_names_no_model_and_what_holds_none_is_said() {
        let root = tempfile::tempdir().unwrap();
        let message = |folder: &Path| checkpoints(folder).scan().unwrap_err().to_string();
        assert!(message(root.path()).contains("has no checkpoint"), "{}", message(root.path()));
        assert!(message(&root.path().join("absent")).contains("absent cannot be read"));
        std::fs::write(root.path().join("a@b.safetensors"), "").unwrap();
        assert!(message(root.path()).contains("a@b.safetensors names no model"));
    }

    /// As Kubernetes lays out a ConfigMap, and as people leave folders behind.
    #[test]
    fn what_is_no_checkpoint_is_passed_over() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        for folder in ["lost+found", "old models", "hall", "hall/x.safetensors", "..2026_07_01"] {
            std::fs::create_dir(path(folder)).unwrap();
        }
        for file in ["old models/readme.txt", "hall/v1.safetensors", "..2026_07_01/a.safetensors"] {
            std::fs::write(path(file), "").unwrap();
        }
        symlink("..2026_07_01", path("..data")).unwrap();
        symlink("..data/a.safetensors", path("attic.safetensors")).unwrap();
        assert_eq!(found(root.path()), ["door", "attic", "hall@v1"]);
    }

    #[test]
    #[allow(clippy::print_stdout, reason = "a skipped test says so")]
    fn a_folder_that_was_never_ours_to_read_is_passed_over() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        let set_mode = |folder: &str, mode| {
            std::fs::set_permissions(path(folder), Permissions::from_mode(mode)).unwrap();
        };
        for folder in ["lost+found", "hall"] {
            std::fs::create_dir(path(folder)).unwrap();
        }
        std::fs::write(path("hall/v1.safetensors"), "").unwrap();
        set_mode("lost+found", 0o000);
        if std::fs::read_dir(path("lost+found")).is_ok() {
            println!("skipped: root reads every folder");
            return;
        }
        let checkpoints = checkpoints(root.path());
        let slots = || checkpoints.scan().map(|found| found.len());
        assert_eq!(slots(), Ok(2));
        // What is served from a folder is not gone because the folder was closed.
        set_mode("hall", 0o000);
        let message = slots().unwrap_err().to_string();
        assert!(message.contains("hall cannot be read: Permission denied"), "{message}");
        set_mode("hall", 0o755);
        assert_eq!(slots(), Ok(2));
    }

    #[test]
    fn what_is_no_checkpoint_is_named() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("hall.safetensors"), "text").unwrap();
        let slot = Slot { name: "hall".to_owned(), label: None };
        let error = checkpoints(root.path()).load(&slot).err().unwrap().to_string();
        assert!(error.contains("model `hall`") && error.contains("hall.safetensors"), "{error}");
    }
}
