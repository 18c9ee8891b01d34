//! What is odd about a data set, one line each.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use protoguard_frames::files::{Folder, Video, VideoSource, name_of};
use serde::Serialize;

use super::HalfSurvey;
use crate::dataset::Dataset;
use crate::layout::Half;

/// Something that a person should know of a data set, in one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Oddity {
    /// Whether it keeps the data set from being used as it is.
    pub problem: bool,
    /// What it is.
    pub message: String,
}

impl Oddity {
    pub(super) fn note(message: String) -> Self {
        Self { problem: false, message }
    }

    pub(super) fn problem(message: String) -> Self {
        Self { problem: true, message }
    }
}

/// Videos of several sizes: each is resized by itself, and looks otherwise than its neighbours.
pub(super) fn mixed_sizes(half: &HalfSurvey) -> Option<Oddity> {
    let mut sizes: BTreeMap<String, usize> = BTreeMap::new();
    for video in &half.videos {
        if let (Some(height), Some(width)) = (video.height, video.width) {
            *sizes.entry(format!("{height}x{width}")).or_default() += 1;
        }
    }
    (sizes.len() > 1).then(|| {
        let each: Vec<String> = sizes.iter().map(|(size, n)| format!("{n} of {size}")).collect();
        Oddity::note(format!("{} videos differ in size: {}", half.name, each.join(", ")))
    })
}

/// Files that are in the way of nothing and are not read.
#[derive(Default)]
pub(super) struct Ignored {
    seen: BTreeSet<PathBuf>,
    by_kind: BTreeMap<Kind, Vec<PathBuf>>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// An editor's copy of an earlier state.
    Backup,
    /// `.DS_Store` and `._*`.
    MacOs,
    Hidden,
    /// Files of another kind among frames or videos.
    Stray,
}

impl Ignored {
    /// Looks into the root, the half's folder, its videos' folders and their masks' folders.
    pub(super) fn add_half(&mut self, dataset: &Dataset, half: Half, videos: &[Video]) {
        let folder = dataset.layout().half(dataset.root(), half);
        // Beside the halves a data set may have files of any kind.
        self.add(dataset.root(), false);
        if folder != dataset.root() {
            self.add(&folder, true);
        }
        for video in videos {
            if let VideoSource::Frames(_) = video.source {
                self.add(&video.path(), true);
            }
        }
        for masks in dataset.clip_masks() {
            self.add(&masks.folder, true);
        }
    }

    fn add(&mut self, folder: &Path, strays: bool) {
        if !self.seen.insert(folder.to_owned()) {
            return;
        }
        let Ok(folder) = Folder::read(folder, "a folder") else { return };
        for path in folder.others {
            let kind = Kind::of(&name_of(&path));
            let label =
                path.extension().is_some_and(|e| ["m", "npy", "csv"].iter().any(|l| e == *l));
            if kind != Kind::Stray || (strays && !label) {
                self.by_kind.entry(kind).or_default().push(path);
            }
        }
    }

    pub(super) fn oddities(self, root: &Path) -> Vec<Oddity> {
        let short = |path: &Path| path.strip_prefix(root).unwrap_or(path).display().to_string();
        let mut oddities = Vec::new();
        for (kind, paths) in self.by_kind {
            if kind == Kind::Backup {
                oddities.extend(paths.iter().map(|path| Oddity::note(backup(path, &short(path)))));
                continue;
            }
            let what = match kind {
                Kind::MacOs => "files that macOS leaves behind (.DS_Store, ._*)",
                Kind::Hidden => "hidden files",
                Kind::Backup | Kind::Stray => "files that are neither frames nor videos",
            };
            let first = paths.first().map(|path| short(path)).unwrap_or_default();
            let message = format!("ignored {} {what}, such as {first}", paths.len());
            oddities.push(Oddity::note(message));
        }
        oddities
    }
}

impl Kind {
    fn of(name: &str) -> Self {
        if name.ends_with('~') || name.ends_with(".bak") || name.ends_with(".orig") {
            Self::Backup
        } else if name.starts_with("._") || name == ".DS_Store" || name == "__MACOSX" {
            Self::MacOs
        } else if name.starts_with('.') {
            Self::Hidden
        } else {
            Self::Stray
        }
    }
}

fn backup(path: &Path, short: &str) -> String {
    let current = path.with_file_name(
        name_of(path).trim_end_matches('~').trim_end_matches(".bak").trim_end_matches(".orig"),
    );
    let name = name_of(&current);
    match (fs::read(path), fs::read(&current)) {
        (Ok(old), Ok(new)) if old == new => format!("ignored {short}, a copy of {name}"),
        (Ok(_), Ok(_)) => format!("ignored {short}, an outdated copy that differs from {name}"),
        _ => format!("ignored {short}, an editor's copy"),
    }
}
