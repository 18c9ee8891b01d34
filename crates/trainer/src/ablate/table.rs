use std::fmt::Write;

use serde::Serialize;

use super::Place;
use super::cell::{Cell, CellResult};

/// What the finished cells found, one row a setting.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Table {
    /// In the grid's order.
    pub rows: Vec<TableRow>,
    /// Cells that are done, of how many.
    pub done: usize,
    /// Cells of the grid.
    pub cells: usize,
}

/// A setting over its seeds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TableRow {
    /// The setting.
    pub name: String,
    /// `key=value` pairs that make it.
    pub set: Vec<String>,
    /// Seeds that are done.
    pub seeds: Vec<u64>,
    /// AUC of the combined score.
    pub auc: Option<Spread>,
    /// AUC of the PSNR alone.
    pub auc_psnr: Option<Spread>,
    /// AUC of the feature distance alone.
    pub auc_distance: Option<Spread>,
    /// PSNR on held-out normal frames, in dB.
    pub held_out_psnr_db: Option<Spread>,
    /// The motion branch's loss on held-out normal frames over that of zeros.
    pub motion_loss_vs_zero: Option<Spread>,
    /// Perplexity of the memory's use in training.
    pub perplexity: Option<Spread>,
    /// Items of the memory in use.
    pub items_in_use: Option<Spread>,
}

/// Mean and deviation over seeds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The mean.
    pub mean: f64,
    /// The sample's standard deviation; absent for one seed.
    pub deviation: Option<f64>,
}

impl Table {
    /// The table over the cells that are done.
    ///
    /// # Errors
    /// When a result cannot be read.
    pub fn of(cells: &[Cell], place: &Place) -> anyhow::Result<Self> {
        let mut rows: Vec<TableRow> = Vec::new();
        let mut done = 0;
        let mut at = 0;
        while let Some(first) = cells.get(at) {
            let end = cells[at..].iter().position(|cell| cell.setting != first.setting);
            let end = end.map_or(cells.len(), |length| at + length);
            let mut results = Vec::new();
            let mut seeds = Vec::new();
            for cell in &cells[at..end] {
                if let Some(result) = cell.result(&place.out)? {
                    results.push(result);
                    seeds.push(cell.seed);
                }
            }
            done += results.len();
            rows.push(TableRow::new(first, seeds, &results));
            at = end;
        }
        Ok(Self { rows, done, cells: cells.len() })
    }

    /// For a person. AUCs are in percent, as papers give them.
    pub fn to_markdown(&self) -> String {
        let mut text = String::from(
            "| setting | seeds | AUC % | AUC %, PSNR | AUC %, distance | held-out PSNR, dB | motion ÷ zero, held-out | perplexity | items in use |\n|---|---|---|---|---|---|---|---|---|\n",
        );
        for row in &self.rows {
            let percent = |spread: Option<Spread>| cell(spread.map(|s| s.scaled(100.0)), 1);
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} | {} | {} | {} |",
                row.name,
                row.seeds.len(),
                percent(row.auc),
                percent(row.auc_psnr),
                percent(row.auc_distance),
                cell(row.held_out_psnr_db, 2),
                cell(row.motion_loss_vs_zero, 3),
                cell(row.perplexity, 1),
                cell(row.items_in_use, 1),
            );
        }
        let _ = writeln!(
            text,
            "\n{} of {} cells are done. Mean ± standard deviation over seeds; min–max by video; last epoch.",
            self.done, self.cells
        );
        text
    }
}

impl TableRow {
    fn new(cell: &Cell, seeds: Vec<u64>, results: &[CellResult]) -> Self {
        let spread = |value: fn(&CellResult) -> Option<f64>| {
            Spread::of(&results.iter().filter_map(value).collect::<Vec<_>>())
        };
        Self {
            name: cell.name(),
            set: cell.setting.set.clone(),
            seeds,
            auc: spread(|result| Some(result.auc)),
            auc_psnr: spread(|result| result.auc_psnr),
            auc_distance: spread(|result| result.auc_distance),
            held_out_psnr_db: spread(|result| result.held_out_psnr_db),
            motion_loss_vs_zero: spread(|result| result.motion_loss_vs_zero),
            perplexity: spread(|result| result.perplexity),
            items_in_use: spread(|result| result.items_in_use),
        }
    }
}

impl Spread {
    /// Nothing for no values.
    pub fn of(values: &[f64]) -> Option<Self> {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = (values.len() > 1).then(|| (squares / (count - 1.0)).sqrt());
        (!values.is_empty()).then_some(Self { mean, deviation })
    }

    fn scaled(self, factor: f64) -> Self {
        Self { mean: factor * self.mean, deviation: self.deviation.map(|d| factor * d) }
    }
}

fn cell(spread: Option<Spread>, digits: usize) -> String {
    match spread {
        None => "–".to_owned(),
        Some(Spread { mean, deviation: None }) => format!("{mean:.digits$}"),
        Some(Spread { mean, deviation: Some(deviation) }) => {
            format!("{mean:.digits$} ± {deviation:.digits$}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deviation_is_the_samples() {
        let spread = Spread::of(&[1.0, 2.0, 3.0]).unwrap();
        assert_eq!(spread, Spread { mean: 2.0, deviation: Some(1.0) });
        assert_eq!(Spread::of(&[5.0]).unwrap().deviation, None);
        assert_eq!(Spread::of(&[]), None);
        assert_eq!(cell(Some(spread), 1), "2.0 ± 1.0");
        assert_eq!(cell(None, 1), "–");
    }
}
