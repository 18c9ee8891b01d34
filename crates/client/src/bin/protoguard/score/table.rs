//! Results for a reader: a line a video, the most anomalous frames, and the sum.

use std::fmt::Write;

use protoguard_core::metrics::DetectionRates;
use protoguard_core::{Part, Region};

use super::record::FrameRecord;
use super::summary::{ServedScore, Summary};
use super::worst::most_anomalous;

/// Frames that are listed.
const LISTED: usize = 10;

/// The whole table as text.
pub(crate) fn render(records: &[FrameRecord], summary: &Summary) -> String {
    let mut text = grid(&video_rows(records, summary.served));
    text.push_str("\nmost anomalous frames\n");
    text.push_str(&grid(&frame_rows(records, summary.served)));
    let Summary { model, model_version, clips_scored, seconds, .. } = summary;
    let _ = write!(
        text,
        "\nmodel {model}@{model_version}\n\
         {clips_scored} clips in {seconds:.1} s, {:.1} clips/s, latency p50 {:.1} ms, p95 {:.1} ms\n",
        summary.clips_per_second, summary.p50_ms, summary.p95_ms
    );
    text.push_str(&auc_lines(summary));
    text
}

fn auc_lines(summary: &Summary) -> String {
    if let Some(reason) = &summary.auc_unavailable {
        return format!("no AUC: {reason}\n");
    }
    let Some(aucs) = &summary.auc else { return String::new() };
    let number = |auc: Option<f64>| auc.map_or("-".to_owned(), |auc| format!("{auc:.4}"));
    let served = match summary.served {
        Some(ServedScore::SmoothedSurprise) => "served (smoothed surprise)",
        Some(ServedScore::AnomalyScore) | None => "served (calibrated)",
    };
    let rows = vec![
        vec!["micro AUC".to_owned(), String::new()],
        vec![served.to_owned(), number(aucs.served)],
        vec![format!("by video, gamma {}", summary.gamma), number(Some(aucs.video))],
        vec!["PSNR only".to_owned(), number(Some(aucs.psnr))],
        vec!["feature distance only".to_owned(), number(aucs.feature_distance)],
        vec!["copy-frame baseline".to_owned(), number(aucs.copy_frame)],
    ];
    let found = summary.at_threshold.map_or_else(String::new, |rates| {
        let DetectionRates { true_positive_rate, false_positive_rate } = rates;
        let percent = |share: f64| 100.0 * share;
        format!(
            "at the threshold {:.1} % of the abnormal frames are found, and {:.1} % of the normal ones are false alarms\n",
            percent(true_positive_rate),
            percent(false_positive_rate)
        )
    });
    format!(
        "\n{}{} normal and {} abnormal frames\n{found}",
        grid(&rows),
        aucs.normal_frames,
        aucs.abnormal_frames
    )
}

fn video_rows(records: &[FrameRecord], served: Option<ServedScore>) -> Vec<Vec<String>> {
    let score = match served {
        Some(ServedScore::SmoothedSurprise) => "surprise mean",
        Some(ServedScore::AnomalyScore) | None => "anomaly mean",
    };
    let header = ["video", "scored", "anomalous", score, "max", "PSNR dB", "distance"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for video in records.chunk_by(|a, b| a.video_index == b.video_index) {
        let scores: Vec<f64> = video.iter().filter_map(FrameRecord::served).collect();
        let distances: Vec<f64> = video.iter().filter_map(|r| r.feature_distance).collect();
        let psnr: Vec<f64> = video.iter().map(|record| record.psnr_db).collect();
        let anomalous = video.iter().filter(|record| record.anomalous == Some(true)).count();
        rows.push(vec![
            video[0].video.clone(),
            video.len().to_string(),
            anomalous.to_string(),
            fixed(mean(&scores), 3),
            fixed(scores.iter().copied().reduce(f64::max), 3),
            fixed(mean(&psnr), 2),
            fixed(mean(&distances), 3),
        ]);
    }
    rows
}

fn frame_rows(records: &[FrameRecord], served: Option<ServedScore>) -> Vec<Vec<String>> {
    let header: &[&str] = match served {
        Some(ServedScore::SmoothedSurprise) => {
            &["video", "frame", "surprise", "why", "where", "PSNR dB", "distance", "truth"]
        }
        Some(ServedScore::AnomalyScore) | None => {
            &["video", "frame", "anomaly", "PSNR dB", "distance", "truth"]
        }
    };
    let mut rows = vec![header.iter().map(|&name| name.to_owned()).collect()];
    for index in most_anomalous(records, LISTED) {
        let record = &records[index];
        let truth = match record.label {
            None => "-",
            Some(true) => "abnormal",
            Some(false) => "normal",
        };
        let mut row =
            vec![record.video.clone(), record.frame.to_string(), fixed(record.served(), 3)];
        if served == Some(ServedScore::SmoothedSurprise) {
            row.push(record.why().map_or("-", Part::name).to_owned());
            row.push(record.region.as_ref().map_or("-".to_owned(), place));
        }
        row.push(fixed(Some(record.psnr_db), 2));
        row.push(fixed(record.feature_distance, 3));
        row.push(truth.to_owned());
        rows.push(row);
    }
    rows
}

/// From where to where the region goes, in percent of the frame's width and height.
fn place(region: &Region) -> String {
    let Region { left, top, right, bottom, .. } = region;
    let percent = |from: f64, to: f64| format!("{:.0}-{:.0} %", 100.0 * from, 100.0 * to);
    format!("x {}, y {}", percent(*left, *right), percent(*top, *bottom))
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

fn fixed(value: Option<f64>, decimals: usize) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.decimals$}"))
}

/// Rows of cells in columns, the first to the left and the others to the right.
pub(crate) fn grid(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let cell_width = |row: &Vec<String>, c: usize| row.get(c).map_or(0, |s| s.chars().count());
    let widths: Vec<usize> = (0..columns)
        .map(|column| rows.iter().map(|row| cell_width(row, column)).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(column, (cell, &width))| match column {
                0 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            })
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use protoguard_proto::v1::Model;

    use super::*;

    #[test]
    fn columns_line_up() {
        let rows =
            [["video", "scored"], ["a-long-name", "7"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(grid(&rows), "video        scored\na-long-name       7\n");
    }

    #[test]
    fn the_table_names_videos_frames_and_the_sum() {
        let record = |frame: usize, anomaly: f64| FrameRecord {
            video: "hall".to_owned(),
            frame,
            psnr_db: 30.0,
            anomaly_score: Some(anomaly),
            label: Some(true),
            ..Default::default()
        };
        let records = [record(4, 0.25), record(40, 0.75)];
        let model = Model { name: "m".into(), version: "v".into(), ..Default::default() };
        let summary = Summary::new(&model, &records, &[41], Duration::from_secs(1));
        let text = render(&records, &summary);
        assert!(text.contains("hall        2          0         0.500  0.750    30.00         -"));
        assert!(text.contains("\nmodel m@v\n2 clips in 1.0 s, 2.0 clips/s"));
        assert!(text.contains("no AUC: all 2 frames are abnormal"), "{text}");
        let (worst, other) = (text.find("hall      40"), text.find("hall       4"));
        assert!(worst.is_some() && worst < other, "{text}");
    }

    #[test]
    fn where_the_surprise_is_served_the_table_says_why_and_where() {
        let record = FrameRecord {
            video: "hall".to_owned(),
            frame: 7,
            psnr_db: 30.0,
            anomaly_score: Some(1.0),
            smoothed_surprise: Some(4.25),
            surprise_threshold: Some(2.0),
            anomalous: Some(true),
            parts: [(Part::LargestError, 1.5), (Part::Speed, 3.5)].into(),
            region: Some(Region { left: 0.25, top: 0.5, right: 0.375, bottom: 1.0, share: 0.5 }),
            ..Default::default()
        };
        let records = [record];
        let summary = Summary::new(&Model::default(), &records, &[8], Duration::from_secs(1));
        let text = render(&records, &summary);
        assert!(text.contains("hall        1          1          4.250  4.250"), "{text}");
        let row = "hall       7     4.250  speed  x 25-38 %, y 50-100 %    30.00         -      -";
        assert!(text.contains(row), "{text}");
    }
}
