//! What the labels of a data set say, and whether they fit its videos.

use protoguard_frames::files::Video;
use protoguard_frames::labels::Labels;

use super::oddity::Oddity;
use super::{LabelSurvey, Survey};
use crate::dataset::Dataset;
use crate::labels::{GroundTruth, LabelsError};

/// Reads the ground truth into `survey`: against the test videos where they are there, by itself
/// otherwise.
pub(super) fn add(survey: &mut Survey, dataset: &Dataset, testing: Option<&[Video]>) {
    let truth = match dataset.truth(testing) {
        Ok(truth) => truth,
        Err(error) => {
            let absent = matches!(error, LabelsError::NotFound { .. });
            survey.oddities.push(Oddity { problem: !absent, message: error.to_string() });
            return;
        }
    };
    let labels = match testing {
        Some(videos) => against(survey, &truth, videos),
        None if truth.is_by_video() => truth.by_video().map(Labels::new),
        None => return,
    };
    match labels {
        Err(error) => survey.oddities.push(Oddity::problem(error.to_string())),
        Ok(labels) => {
            let (frames, abnormal) = (labels.frames(), labels.positives());
            if abnormal == 0 || abnormal == frames {
                let only = if abnormal == 0 { "normal" } else { "abnormal" };
                let message = format!("all {frames} labelled frames are {only}: no AUC is defined");
                survey.oddities.push(Oddity::note(message));
            }
            survey.labels = Some(LabelSurvey { source: truth.describe(), frames, abnormal });
        }
    }
    if let Some(note) = script_and_masks(dataset, &truth, testing) {
        survey.oddities.push(note);
    }
}

/// The labels of the test videos; each video's row gets its count.
fn against(
    survey: &mut Survey,
    truth: &GroundTruth,
    videos: &[Video],
) -> Result<Labels, LabelsError> {
    let Some(half) = survey.halves.last_mut() else { return Ok(Labels::new(Vec::new())) };
    let frames: Vec<usize> = half.videos.iter().map(|video| video.frames).collect();
    let labels = truth.labels(videos, &frames)?;
    for (video, labels) in half.videos.iter_mut().zip(labels.videos()) {
        video.abnormal = Some(labels.iter().filter(|&&label| label).count());
    }
    Ok(labels)
}

fn script_and_masks(
    dataset: &Dataset,
    truth: &GroundTruth,
    testing: Option<&[Video]>,
) -> Option<Oddity> {
    let agreement = match truth.agreement(&dataset.clip_masks()) {
        Ok(agreement) => agreement?,
        Err(error) => return Some(Oddity::problem(error.to_string())),
    };
    let (entries, clips) = (agreement.entries, testing.map_or(0, <[Video]>::len));
    let few = if clips < entries {
        format!("{} describes {entries} clips, of which {clips} are here; ", truth.describe())
    } else {
        String::new()
    };
    let masks = match agreement.frames {
        0 => "there are no masks to compare it with".to_owned(),
        frames => format!("masks and script differ on {} of {frames} frames", agreement.differing),
    };
    let quiet = few.is_empty() && agreement.differing == 0;
    (!quiet).then(|| Oddity::note(format!("{few}{masks}")))
}
