//! Ground truth as ranges of frames: UCSD's MATLAB script and a table of one's own.
//!
//! ```text
//! TestVideoFile{end+1}.gt_frame = [5:90, 140:200];    one line a test clip, frames from 1
//!
//! video,first,last                                    one line a range, frames from 0
//! 01,120,180
//! ```

use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;

use super::error::LabelsError;

/// Ranges of abnormal frames of one clip, counted from 1.
pub(super) type ClipRanges = Vec<RangeInclusive<usize>>;

const STATEMENT: &str = "TestVideoFile{end+1}.gt_frame = [first:last, ...];";
const HEADER: &str = "video,first,last";

/// The entries of UCSD's script, in the order of the clips' numbers. Comments, blank lines and
/// the empty list at the start are skipped; anything else is an error.
pub(super) fn read_script(path: &Path) -> Result<Vec<ClipRanges>, LabelsError> {
    let mut entries = Vec::new();
    for (index, line) in read(path)?.lines().enumerate() {
        let code: String = line.split('%').next().unwrap_or_default().split_whitespace().collect();
        if code.is_empty() || code.trim_end_matches(';') == "TestVideoFile={}" {
            continue;
        }
        let entry = statement(line).ok_or_else(|| LabelsError::Line {
            path: path.to_owned(),
            line: index + 1,
            found: line.trim().to_owned(),
            expected: STATEMENT,
        })?;
        entries.push(entry);
    }
    Ok(entries)
}

/// `TestVideoFile{end+1}.gt_frame = [1:52, 65:115];`
fn statement(line: &str) -> Option<ClipRanges> {
    let code = line.split('%').next()?;
    let (left, right) = code.split_once('=')?;
    let left: String = left.split_whitespace().collect();
    if left != "TestVideoFile{end+1}.gt_frame" {
        return None;
    }
    let list = right.trim().trim_end_matches(';').trim();
    let list = list.strip_prefix('[')?.strip_suffix(']')?;
    let items = list.split([',', ' ', '\t']).filter(|item| !item.is_empty());
    items.map(range).collect()
}

/// `5:90`, or one frame.
fn range(text: &str) -> Option<RangeInclusive<usize>> {
    let (first, last) = text.split_once(':').unwrap_or((text, text));
    let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    (1 <= first && first <= last).then_some(first..=last)
}

/// A line of a table: frames `first` to `last`, both abnormal, counted from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TableRange {
    pub(super) video: String,
    pub(super) first: usize,
    pub(super) last: usize,
}

/// The lines of a table under its heading `video,first,last`.
pub(super) fn read_table(path: &Path) -> Result<Vec<TableRange>, LabelsError> {
    let text = read(path)?;
    let mut lines = text.lines().enumerate();
    let wrong = |index: usize, found: &str, expected| LabelsError::Line {
        path: path.to_owned(),
        line: index + 1,
        found: found.to_owned(),
        expected,
    };
    let heading = lines.next().map_or("", |(_, line)| line.trim_start_matches('\u{feff}').trim());
    if heading != HEADER {
        return Err(wrong(0, heading, "the heading video,first,last"));
    }
    let line = |(index, line): (usize, &str)| {
        let expected = "video,first,last with first <= last, such as 01,120,180";
        table_line(line).ok_or_else(|| wrong(index, line, expected))
    };
    lines.filter(|(_, line)| !line.trim().is_empty()).map(line).collect()
}

fn table_line(line: &str) -> Option<TableRange> {
    let fields: Vec<&str> = line.split(',').map(str::trim).collect();
    let &[video, first, last] = fields.as_slice() else { return None };
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last && !video.is_empty()).then(|| TableRange {
        video: video.to_owned(),
        first,
        last,
    })
}

fn read(path: &Path) -> Result<String, LabelsError> {
    fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .map_err(|source| LabelsError::Io { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, text).unwrap();
        file
    }

    #[test]
    fn a_script_of_several_ranges_and_comments() {
        let script = "% ground truth\r\nTestVideoFile = {};\r\n\
            TestVideoFile{end+1}.gt_frame = [60:152];\r\n\
            TestVideoFile{end+1}.gt_frame = [5:90, 140:200]; % two\n\
            TestVideoFile{ end+1 }.gt_frame = [ 7 ];\n\
            TestVideoFile{end+1}.gt_frame = [];";
        let entries = read_script(file(script).path()).unwrap();
        assert_eq!(entries, [vec![60..=152], vec![5..=90, 140..=200], vec![7..=7], vec![]]);
    }

    #[test]
    fn a_line_that_is_no_statement_is_named() {
        for bad in ["x = 3;", "TestVideoFile{end+1}.gt_frame = [9:3];", "TestVideoFile{3} = [1:2];"]
        {
            let script = file(&format!("TestVideoFile = {{}};\n{bad}\n"));
            let message = read_script(script.path()).unwrap_err().to_string();
            assert!(message.contains(&format!("line 2: found {bad:?}")), "{message}");
        }
    }

    #[test]
    fn a_table_is_strict() {
        let table = file("video,first,last\n01, 3,9\n\n02,0,0\n");
        let found = read_table(table.path()).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0], TableRange { video: "01".to_owned(), first: 3, last: 9 });
        for (text, line) in [("01,3,9\n", 1), ("video,first,last\n01,9,3\n", 2), ("", 1)] {
            let message = read_table(file(text).path()).unwrap_err().to_string();
            assert!(message.contains(&format!("line {line}:")), "{message}");
        }
    }
}
