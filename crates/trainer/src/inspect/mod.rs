//! The `inspect` command: what a data set holds, and everything odd about it.

mod table;

use protoguard_datasets::Dataset;
use protoguard_datasets::{Survey, SurveyOptions};

pub use table::SurveyTable;

use crate::cli::{InspectArgs, ReportFormat};
use crate::progress;

/// A data set that cannot be used as it is.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// The report names problems.
    #[error("{root}: {problems} problems keep this data set from being used as it is")]
    Problems {
        /// The data set's folder.
        root: String,
        /// How many there are.
        problems: usize,
    },
}

/// Prints the report of a folder.
///
/// # Errors
/// When the folder holds no data set, or, after the report, when it names problems.
pub fn run(args: &InspectArgs) -> anyhow::Result<()> {
    let dataset = Dataset::open(&args.data, args.layout)?;
    let bar = progress::count("inspecting", "videos");
    let options = SurveyOptions { decode: args.decode };
    let survey = Survey::of(&dataset, options, |done| bar.set_position(done as u64));
    bar.finish_and_clear();
    let survey = survey?;
    #[allow(clippy::print_stdout, reason = "the report is what the command is for")]
    match args.format {
        ReportFormat::Table => print!("{}", SurveyTable(&survey)),
        ReportFormat::Json => println!("{}", serde_json::to_string_pretty(&survey)?),
    }
    match survey.problems() {
        0 => Ok(()),
        problems => {
            let root = survey.root.display().to_string();
            Err(InspectError::Problems { root, problems }.into())
        }
    }
}
