//! Files and folders that belong to a video by the number in their names.

use std::io;
use std::path::{Path, PathBuf};

use protoguard_frames::files::{FilesError, Folder, Video};

/// The pictures of a folder, in natural order.
pub(crate) fn pictures_in(path: &Path) -> io::Result<Vec<PathBuf>> {
    match Folder::read(path, "a folder of pictures") {
        Ok(folder) => Ok(folder.frames),
        Err(FilesError::Io { source, .. }) => Err(source),
        Err(other) => Err(io::Error::new(io::ErrorKind::NotFound, other.to_string())),
    }
}

/// The last number in a file's name without its extension: 12 for `frame012.bmp`.
pub(crate) fn number_of(path: &Path) -> Option<usize> {
    number_in(&path.file_stem()?.to_string_lossy())
}

/// The last number in a name: 5 for `Test005`, 1 for `1_label`.
pub(crate) fn number_in(name: &str) -> Option<usize> {
    let end = name.rfind(|c: char| c.is_ascii_digit())? + 1;
    let digits = name[..end].bytes().rev().take_while(u8::is_ascii_digit).count();
    name[end - digits..end].parse().ok()
}

/// The file or folder of a video: of its name, or of its number where names differ.
pub(crate) fn place_of(video: &Video, places: &[PathBuf]) -> Option<PathBuf> {
    let named = |path: &&PathBuf| {
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        stem.is_some_and(|stem| stem.strip_suffix("_gt").unwrap_or(&stem) == video.name)
    };
    let number = number_in(&video.name);
    let numbered =
        |path: &&PathBuf| video.scene.is_none() && number.is_some() && number_of(path) == number;
    places.iter().find(named).or_else(|| places.iter().find(numbered)).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_number_counts() {
        let cases = [
            ("Test005", Some(5)),
            ("1_label", Some(1)),
            ("frame012", Some(12)),
            ("03_0031", Some(31)),
            ("ü7ü", Some(7)),
            ("none", None),
        ];
        for (name, number) in cases {
            assert_eq!(number_in(name), number, "{name}");
        }
        assert_eq!(number_of(Path::new("clip/frame012.bmp4")), Some(12));
    }
}
