//! The file that describes the runs of an ablation.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::cell::{Cell, Setting};
use crate::config::{ConfigError, Layers, TrainerConfig, leaves};

/// A file that describes the cells: every row, times every combination of the grid's values, times
/// every seed.
///
/// ```toml
/// config = "cpu.toml"             # beside this file; what all cells share
/// seeds = [0, 1, 2]
/// set = { training.epochs = 12 }  # the same for all cells, over the config
///
/// [[row]]                         # named settings; may be left out
/// name = "no memory"
/// set = { model.memory.items = 0 }
///
/// [grid]                          # values to combine; may be left out
/// model.memory.items = [25, 50, 100]
/// ```
#[derive(Clone, Debug)]
pub struct Grid {
    file: GridFile,
    config: Option<PathBuf>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GridFile {
    /// Configuration that all cells start from, relative to the file.
    config: Option<PathBuf>,
    /// Seeds of each setting.
    #[serde(default = "one_seed")]
    seeds: Vec<u64>,
    /// Keys of all cells.
    #[serde(default)]
    set: toml::Table,
    /// Named settings.
    #[serde(default)]
    row: Vec<Row>,
    /// Lists of values by key.
    #[serde(default)]
    grid: toml::Table,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    #[serde(default)]
    set: toml::Table,
}

fn one_seed() -> Vec<u64> {
    vec![0]
}

/// A grid that no cells can be made from.
#[derive(Debug, thiserror::Error)]
pub enum GridError {
    /// The file cannot be read.
    #[error("grid {path:?}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// The file is no grid.
    #[error("grid {path:?}: {source}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<toml::de::Error>,
    },
    /// A key of the grid without a list of values.
    #[error("grid.{key} is {found}; a list of values is expected, such as [1, 2]")]
    Values {
        /// The key.
        key: String,
        /// Its value.
        found: String,
    },
    /// A cell's configuration is not valid.
    #[error("cell {index} ({name}): {source}")]
    Cell {
        /// Its position.
        index: usize,
        /// Its setting.
        name: String,
        /// What is wrong.
        source: Box<ConfigError>,
    },
    /// There is nothing to run.
    #[error("grid has 0 cells; at least one seed and one value for each key are needed")]
    Empty,
    /// No such cell.
    #[error("--index is {index}; the grid has {cells} cells, from 0 to {}", cells - 1)]
    Index {
        /// What was asked for.
        index: usize,
        /// How many there are.
        cells: usize,
    },
}

impl Grid {
    /// Reads a grid.
    ///
    /// # Errors
    /// When the file cannot be read or has an unknown key.
    pub fn read(path: &Path) -> Result<Self, GridError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| GridError::Read { path: path.to_owned(), source })?;
        let file: GridFile = toml::from_str(&text).map_err(|source| GridError::Parse {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        let config = file.config.as_ref().map(|config| path.with_file_name("").join(config));
        Ok(Self { file, config })
    }

    /// The cells in order, each with its whole configuration, checked.
    ///
    /// # Errors
    /// When there is none, or one's configuration is not valid.
    pub fn cells(&self) -> Result<Vec<Cell>, GridError> {
        let mut settings = vec![Setting::default()];
        if !self.file.row.is_empty() {
            settings = self.file.row.iter().map(Row::setting).collect();
        }
        for Axis { key, values } in axes(&self.file.grid)? {
            let with = |setting: &Setting| -> Vec<Setting> {
                values.iter().map(|value| setting.with(&key, value)).collect()
            };
            settings = settings.iter().flat_map(with).collect();
        }
        let shared = pairs(&self.file.set);
        let mut cells = Vec::new();
        for setting in &settings {
            for &seed in &self.file.seeds {
                cells.push(self.cell(cells.len(), setting, (&shared, seed))?);
            }
        }
        if cells.is_empty() { Err(GridError::Empty) } else { Ok(cells) }
    }

    fn cell(
        &self,
        index: usize,
        setting: &Setting,
        (shared, seed): (&[String], u64),
    ) -> Result<Cell, GridError> {
        let mut set = shared.to_vec();
        set.extend(setting.set.iter().cloned());
        set.push(format!("training.seed={seed}"));
        let layers = Layers { file: self.config.as_deref(), set: &set, ..Layers::default() };
        let config = TrainerConfig::load(&layers).map_err(|source| GridError::Cell {
            index,
            name: setting.name(),
            source: Box::new(source),
        })?;
        Ok(Cell { index, setting: setting.clone(), seed, set, config })
    }
}

impl Row {
    fn setting(&self) -> Setting {
        Setting { parts: vec![self.name.clone()], set: pairs(&self.set) }
    }
}

/// A key and the values that it takes in turn.
struct Axis {
    key: String,
    values: Vec<String>,
}

fn axes(grid: &toml::Table) -> Result<Vec<Axis>, GridError> {
    leaves(grid)
        .into_iter()
        .map(|(key, value)| match value {
            toml::Value::Array(values) if !values.is_empty() => {
                Ok(Axis { key, values: values.iter().map(plain).collect() })
            }
            other => Err(GridError::Values { key, found: other.to_string() }),
        })
        .collect()
}

fn pairs(table: &toml::Table) -> Vec<String> {
    leaves(table).into_iter().map(|(key, value)| format!("{key}={}", plain(&value))).collect()
}

/// A value as `--set` takes it: words without quotes.
fn plain(value: &toml::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Cell>, GridError> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("base.toml"), "[training]\nepochs = 3\n").unwrap();
        let path = folder.path().join("grid.toml");
        std::fs::write(&path, text).unwrap();
        Grid::read(&path)?.cells()
    }

    #[test]
    fn cells_are_rows_times_values_times_seeds() {
        let cells = read(
            "config = \"base.toml\"\nseeds = [4, 5]\n\
             [[row]]\nname = \"a\"\n[[row]]\nname = \"b\"\nset = { loss.within = \"mean\" }\n\
             [grid]\nmodel.memory.items = [25, 50, 100]\n",
        )
        .unwrap();
        assert_eq!(cells.len(), 2 * 3 * 2);
        assert_eq!(
            cells.iter().map(|cell| cell.index).collect::<Vec<_>>(),
            (0..12).collect::<Vec<_>>()
        );
        let last = &cells[11];
        assert_eq!(last.name(), "b, model.memory.items=100");
        assert_eq!((last.seed, last.config.training.seed, last.config.training.epochs), (5, 5, 3));
        assert_eq!(last.config.loss.within, protoguard_checkpoint::Within::Mean);
    }

    #[test]
    fn the_grids_among_the_presets_are_valid() {
        let presets = Path::new(env!("CARGO_MANIFEST_DIR")).join("presets");
        let names = |preset: &str| -> Vec<String> {
            let cells = Grid::read(&presets.join(preset)).unwrap().cells().unwrap();
            let mut names: Vec<String> = cells.iter().map(Cell::name).collect();
            names.dedup();
            names
        };
        assert_eq!(names("table2.toml").len(), 7);
        assert_eq!(names("table4.toml").len(), 5);
        assert_eq!(names("motion.toml").len(), 7);
        assert_eq!(names("memory.toml").len(), 8);
    }

    #[test]
    fn mistakes_are_named_before_anything_runs() {
        let error = read("[grid]\ntraining.epochs = 3").unwrap_err().to_string();
        assert!(error.starts_with("grid.training.epochs is 3; a list"), "{error}");
        let error = read("[grid]\ntraining.epoch = [3]").unwrap_err().to_string();
        assert!(error.contains("cell 0") && error.contains("epoch"), "{error}");
        let error = read("cell = 1").unwrap_err().to_string();
        assert!(error.contains("unknown field `cell`"), "{error}");
        assert!(matches!(read("seeds = []"), Err(GridError::Empty)));
    }
}
