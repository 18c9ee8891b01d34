//! The `ablate` command: a grid of configurations, each trained and measured, in one table.
//!
//! A cell has a folder of its own and is done when its `done.json` is there, which appears by a
//! rename after everything else. Whoever starts a cell locks its folder, so that a cell that is
//! started twice waits, and then finds it done; the lock of a dead process is nobody's. A cell that
//! was stopped half-way goes on from its run's state.

mod cell;
mod grid;
mod table;

use std::fs;
use std::path::PathBuf;

use anyhow::Context;

pub use cell::{Cell, CellResult, Setting};
pub use grid::{Grid, GridError};
pub use table::Table;

use crate::cli::AblateArgs;
use crate::interrupt::Interrupt;
use crate::output;
use crate::source::SourceArgs;

/// Runs all cells, or the one at `--index`, and writes `table.md` and `table.json` over those that
/// are done.
///
/// # Errors
/// When the grid is not valid, its index is out of range, a cell fails, or the process is told to
/// stop.
pub fn run(args: &AblateArgs) -> anyhow::Result<()> {
    let cells = Grid::read(&args.grid)?.cells()?;
    if args.list {
        return list(&cells);
    }
    let chosen: Vec<&Cell> = match args.index {
        None => cells.iter().collect(),
        Some(index) => {
            let cell = cells.get(index).ok_or(GridError::Index { index, cells: cells.len() });
            vec![cell?]
        }
    };
    let (data, out) = args.data.clone().zip(args.out.clone()).context("--data and --out")?;
    fs::create_dir_all(&out).with_context(|| format!("creating {out:?}"))?;
    let place = Place {
        data,
        source: args.source.clone(),
        labels: args.labels.clone(),
        out,
        libtorch: args.libtorch.clone(),
    };
    Interrupt::watch().context("signals cannot be caught")?;
    let mut busy = Vec::new();
    for cell in &chosen {
        // With one cell to run there is nothing else to do than wait for whoever is at it.
        let ran = cell.run(&place, args.index.is_some());
        if !ran.with_context(|| format!("cell {} ({})", cell.index, cell.name()))? {
            busy.push(*cell);
        }
        write_table(&cells, &place)?;
    }
    for cell in busy {
        cell.run(&place, true).with_context(|| format!("cell {} ({})", cell.index, cell.name()))?;
        write_table(&cells, &place)?;
    }
    let table = Table::of(&cells, &place)?;
    #[allow(clippy::print_stdout, reason = "the table is what the command is for")]
    {
        print!("{}", table.to_markdown());
    }
    Ok(())
}

/// Where cells find their data and leave their results.
#[derive(Clone, Debug)]
pub struct Place {
    /// The data set.
    pub data: PathBuf,
    /// How it is read.
    pub source: SourceArgs,
    /// Its labels, where they do not lie in it.
    pub labels: Option<PathBuf>,
    /// Folder of the grid's results.
    pub out: PathBuf,
    /// Folder of `libtorch_cuda.so`, for CUDA devices.
    pub libtorch: Option<PathBuf>,
}

fn write_table(cells: &[Cell], place: &Place) -> anyhow::Result<()> {
    let table = Table::of(cells, place)?;
    let files = [
        ("table.md", table.to_markdown().into_bytes()),
        ("table.json", serde_json::to_vec_pretty(&table)?),
    ];
    for (name, bytes) in files {
        let path = place.out.join(name);
        output::write(&path, &bytes)?;
    }
    Ok(())
}

fn list(cells: &[Cell]) -> anyhow::Result<()> {
    for cell in cells {
        #[allow(clippy::print_stdout, reason = "what the caller asked for")]
        {
            println!(
                "{:>4}  {}, seed {}  {}",
                cell.index,
                cell.name(),
                cell.seed,
                cell.set.join(" ")
            );
        }
    }
    Ok(())
}
