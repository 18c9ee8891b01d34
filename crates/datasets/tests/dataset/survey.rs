//! What a survey says of good and of odd data.

use std::fs;

use protoguard_datasets::Dataset;
use protoguard_datasets::{Survey, SurveyOptions};

use crate::fixture::{draw_video, put, put_labels, put_picture, shared, small_set};

fn survey(root: &std::path::Path, decode: bool) -> Survey {
    let dataset = Dataset::open(root, None).unwrap();
    Survey::of(&dataset, SurveyOptions { decode }, |_| ()).unwrap()
}

fn lines(survey: &Survey) -> String {
    let line = |oddity: &protoguard_datasets::Oddity| {
        assert_eq!(oddity.message.lines().count(), 1, "{oddity:?}");
        format!("{} {}\n", if oddity.problem { "problem:" } else { "note:" }, oddity.message)
    };
    survey.oddities.iter().map(line).collect()
}

#[test]
fn a_good_half_is_counted_and_junk_is_told() {
    let root = small_set();
    put_labels(
        &root.path().join("frame_labels.npy"),
        &[11],
        vec![0u8, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1],
    );
    let survey = survey(root.path(), true);
    assert_eq!((survey.layout, survey.halves.len(), survey.problems()), ("converted", 1, 0));
    let half = &survey.halves[0];
    assert_eq!((half.name, half.videos.len(), half.frames()), ("testing", 2, 11));
    let video = &half.videos[0];
    assert_eq!((video.height, video.width, video.format.as_str()), (Some(16), Some(20), "PNG"));
    assert_eq!((video.abnormal, half.videos[1].abnormal), (Some(2), Some(1)));
    let labels = survey.labels.as_ref().unwrap();
    assert_eq!((labels.frames, labels.abnormal), (11, 3));
    let lines = lines(&survey);
    for expected in [
        "note: no training half",
        "note: ignored 5 files that macOS leaves behind",
        "note: ignored 4 files that are neither frames nor videos",
        "the number after 0.png is 5.png",
    ] {
        assert!(lines.contains(expected), "{expected:?} is not in\n{lines}");
    }
}

#[test]
fn every_problem_is_named_at_once() {
    let root = small_set();
    let first = root.path().join("testing/frames/01_0002");
    put_picture(&first.join("10.png"), 24, 1);
    put(&first.join("15.png"), "text");
    let second = root.path().join("testing/frames/01_0010/20.png");
    let bytes = fs::read(&second).unwrap();
    fs::write(&second, &bytes[..bytes.len() - 20]).unwrap();
    put_labels(&root.path().join("frame_labels.npy"), &[10], vec![0u8; 10]);
    let quick = survey(root.path(), false);
    let said = lines(&quick);
    for expected in [
        "problem: video 01_0002: 1 files cannot be read as frames; the first is",
        "15.png\": image is in no known format",
        "problem: video 01_0002: 1 files have another size than the video's first frame",
        "has 10 labels; 11 are expected",
    ] {
        assert!(said.contains(expected), "{expected:?} is not in\n{said}");
    }
    // The head of a picture that breaks off is whole: only decoding tells.
    assert_eq!(quick.problems(), 3);
    let decoded = survey(root.path(), true);
    assert_eq!(decoded.problems(), 4);
    assert!(lines(&decoded).contains("20.png\": PNG image cannot be decoded"));
}

#[test]
fn video_files_tell_their_rate() {
    let root = tempfile::tempdir().unwrap();
    if !draw_video(&root.path().join("one.avi"), 12) {
        return;
    }
    put(&root.path().join("two.avi"), "text");
    for decode in [false, true] {
        let survey = survey(root.path(), decode);
        let half = &survey.halves[0];
        assert_eq!((half.name, survey.layout), ("training and testing", "own"));
        let video = &half.videos[0];
        assert_eq!((video.frames, video.height, video.width), (12, Some(48), Some(64)));
        assert_eq!((video.fps, video.format.as_str()), (Some(5.0), "mpeg4"));
        assert!(lines(&survey).contains("two.avi\" cannot be decoded as a video"));
        assert_eq!(survey.problems(), 1);
    }
}

#[test]
fn a_folder_with_nothing_to_report_is_an_error() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("training/frames/01")).unwrap();
    let dataset = Dataset::open(root.path(), None).unwrap();
    let error = Survey::of(&dataset, SurveyOptions::default(), |_| ()).unwrap_err().to_string();
    assert!(error.contains("training/frames/01\" has 0 folders"), "{error}");
}

#[test]
fn the_published_samples_traps_are_each_a_line() {
    let Some(root) = shared("ped2_tif_sample") else { return };
    let survey = survey(&root, true);
    let lines = lines(&survey);
    assert_eq!(survey.problems(), 0, "{lines}");
    for expected in [
        "UCSDped2.m describes 12 clips, of which 1 are here; masks and script differ on 0 of 150",
        "UCSDped2.m~, an outdated copy that differs from UCSDped2.m",
        "files that macOS leaves behind",
    ] {
        assert!(lines.contains(expected), "{expected:?} is not in\n{lines}");
    }
    let labels = survey.labels.unwrap();
    assert_eq!((labels.frames, labels.abnormal), (150, 129));
}
