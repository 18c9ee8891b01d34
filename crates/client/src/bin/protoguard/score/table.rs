//! Results for a reader: a line a video, the most anomalous frames, and the sum.

use std::fmt::Write;

use super::record::FrameRecord;
use super::summary::Summary;
use super::worst::most_anomalous;

/// Frames that are listed.
const LISTED: usize = 10;

/// The whole table as text.
pub(crate) fn render(records: &[FrameRecord], summary: &Summary) -> String {
    let mut text = grid(&video_rows(records));
    text.push_str("\nmost anomalous frames\n");
    text.push_str(&grid(&frame_rows(records)));
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
    let rows = vec![
        vec!["micro AUC".to_owned(), String::new()],
        vec!["served (calibrated)".to_owned(), number(aucs.served)],
        vec!["by video, gamma 0.6".to_owned(), number(Some(aucs.video))],
        vec!["PSNR only".to_owned(), number(Some(aucs.psnr))],
        vec!["feature distance only".to_owned(), number(aucs.feature_distance)],
        vec!["copy-frame baseline".to_owned(), number(aucs.copy_frame)],
    ];
    format!(
        "\n{}{} normal and {} abnormal frames\n",
        grid(&rows),
        aucs.normal_frames,
        aucs.abnormal_frames
    )
}

fn video_rows(records: &[FrameRecord]) -> Vec<Vec<String>> {
    let header = ["video", "scored", "anomalous", "anomaly mean", "max", "PSNR dB", "distance"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for video in records.chunk_by(|a, b| a.video_index == b.video_index) {
        let scores: Vec<f64> = video.iter().filter_map(|record| record.anomaly_score).collect();
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

fn frame_rows(records: &[FrameRecord]) -> Vec<Vec<String>> {
    let header = ["video", "frame", "anomaly", "PSNR dB", "distance", "truth"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for index in most_anomalous(records, LISTED) {
        let record = &records[index];
        let truth = match record.label {
            None => "-",
            Some(true) => "abnormal",
            Some(false) => "normal",
        };
        rows.push(vec![
            record.video.clone(),
            record.frame.to_string(),
            fixed(record.anomaly_score, 3),
            fixed(Some(record.psnr_db), 2),
            fixed(record.feature_distance, 3),
            truth.to_owned(),
        ]);
    }
    rows
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

fn fixed(value: Option<f64>, decimals: usize) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.decimals$}"))
}

/// Columns as wide as their widest cell: the first to the left, numbers to the right.
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
}
