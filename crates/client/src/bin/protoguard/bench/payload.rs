//! The clips that a load is made of.

use anyhow::Context;
use protoguard_core::ClipShape;
use protoguard_frames::scenes::test_clip;
use protoguard_proto::v1;
use protoguard_proto::v1::score_clip_request::Clip as WireClip;

use super::arguments::BenchArguments;
use crate::score::clips::Packing;
use crate::score::source;

/// Requests to be sent in turns, all packed beforehand so that the load costs this side little.
pub(crate) fn requests(
    arguments: &BenchArguments,
    model: ClipShape,
) -> anyhow::Result<Vec<v1::ScoreClipRequest>> {
    let side = arguments.side.unwrap_or(model.side());
    let shape = ClipShape::new(model.past_frames(), side).context("--side")?;
    let packing = Packing { shape, payload: arguments.payload };
    let clips = match &arguments.frames {
        Some(path) => read(arguments, path, packing)?,
        None => [false, true]
            .into_iter()
            .map(|anomalous| packing.pack_drawn(&test_clip(shape, anomalous)))
            .collect::<anyhow::Result<_>>()?,
    };
    let request = |clip| v1::ScoreClipRequest {
        model: arguments.model.clone(),
        scene: arguments.scene.clone(),
        view: arguments.view.on_the_wire().into(),
        clip: Some(clip),
        ..Default::default()
    };
    Ok(clips.into_iter().map(request).collect())
}

fn read(
    arguments: &BenchArguments,
    path: &std::path::Path,
    packing: Packing,
) -> anyhow::Result<Vec<WireClip>> {
    let wanted = usize::from(arguments.distinct_clips);
    let sources = source::discover(&[path.to_owned()])?;
    let mut clips = Vec::new();
    for source in &sources {
        source.check_length(packing.shape)?;
        // The count of frames is of no use here, and wrong where reading stops early.
        packing.for_each_clip(source, |clip| {
            clips.push(clip.wire);
            Ok(clips.len() < wanted)
        })?;
        if clips.len() >= wanted {
            break;
        }
    }
    anyhow::ensure!(!clips.is_empty(), "{} has no clip", path.display());
    Ok(clips)
}

/// Bytes of a clip as it travels, on average.
pub(crate) fn mean_bytes(requests: &[v1::ScoreClipRequest]) -> usize {
    let bytes = |request: &v1::ScoreClipRequest| match &request.clip {
        Some(WireClip::RawFrames(raw)) => raw.data.len(),
        Some(WireClip::EncodedFrames(encoded)) => encoded.frames.iter().map(|f| f.len()).sum(),
        Some(WireClip::TestClip(_)) | None => 0,
    };
    requests.iter().map(bytes).sum::<usize>() / requests.len().max(1)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::arguments::{Arguments, Command};

    fn bench(more: &[&str]) -> BenchArguments {
        let line = ["protoguard", "bench"].iter().chain(more);
        let Command::Bench(bench) = Arguments::try_parse_from(line).unwrap().command else {
            panic!("bench was asked for")
        };
        *bench
    }

    #[test]
    fn drawn_clips_travel_raw_or_compressed_at_the_side_asked_for() {
        let model = ClipShape::new(4, 32).unwrap();
        let raw = requests(&bench(&["--side", "64", "--view", "full"]), model).unwrap();
        assert_eq!((raw.len(), raw[0].view()), (2, v1::View::Full));
        let Some(WireClip::RawFrames(frames)) = &raw[0].clip else { panic!("not raw") };
        assert_eq!((frames.height, frames.width, frames.count), (64, 64, 5));
        assert_ne!(raw[0].clip, raw[1].clip);
        let jpeg = requests(&bench(&["--payload", "jpeg"]), model).unwrap();
        let Some(WireClip::EncodedFrames(frames)) = &jpeg[0].clip else { panic!("not encoded") };
        assert!(frames.frames.iter().all(|frame| frame.starts_with(&[0xFF, 0xD8])));
        assert!(mean_bytes(&jpeg) < mean_bytes(&raw));
    }

    #[test]
    fn a_side_that_no_model_has_is_refused() {
        let error = requests(&bench(&["--side", "60"]), ClipShape::new(4, 32).unwrap());
        let message = format!("{:#}", error.unwrap_err());
        assert!(message.starts_with("--side: side is 60"), "{message}");
    }
}
