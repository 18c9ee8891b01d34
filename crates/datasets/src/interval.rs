//! The interval that videos have in common.

use protoguard_core::FrameInterval;
use protoguard_frames::files::Video;

use crate::DatasetError;

/// The time between two frames that are read, the mean of all videos; none where nothing says it of
/// a video.
///
/// # Errors
/// When one of those that are known is more than a quarter off the mean: a model takes frames for its
/// own as far as that.
pub fn common_interval(videos: &[Video]) -> Result<Option<FrameInterval>, DatasetError> {
    let known = videos.iter().filter_map(|video| Some((video, video.pace.interval?)));
    let mut known: Vec<(&Video, FrameInterval)> = known.collect();
    known.sort_by(|(_, a), (_, b)| a.milliseconds().total_cmp(&b.milliseconds()));
    let ([(fast, fast_interval), ..], [.., (slow, slow_interval)]) = (&*known, &*known) else {
        return Ok(None);
    };
    let sum: f64 = known.iter().map(|(_, interval)| interval.milliseconds()).sum();
    let mean = FrameInterval::try_from(sum / known.len() as f64).ok();
    let suit = |mean: &FrameInterval| fast_interval.suits(*mean) && slow_interval.suits(*mean);
    match mean.filter(suit) {
        Some(mean) => Ok((known.len() == videos.len()).then_some(mean)),
        None => Err(DatasetError::MixedIntervals {
            fast: fast.name.clone(),
            fast_interval: *fast_interval,
            slow: slow.name.clone(),
            slow_interval: *slow_interval,
        }),
    }
}
