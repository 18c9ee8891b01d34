//! How far the videos at hand fix a figure: frames of one video are not independent, so whole
//! videos are drawn again.

use serde::Serialize;

use super::{MetricError, roc_auc};
use crate::normalise::Bounds;

/// One video's anomaly scores and labels, one a frame.
#[derive(Clone, Copy, Debug)]
pub struct ScoredVideo<'a> {
    /// Anomaly scores on one scale for all videos.
    pub scores: &'a [f64],
    /// True for an abnormal frame.
    pub labels: &'a [bool],
}

/// How to draw again.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bootstrap {
    /// How many times.
    pub resamples: usize,
    /// Share of resamples inside the interval.
    pub level: f64,
    /// All that differs between two intervals of the same scores.
    pub seed: u64,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self { resamples: 1000, level: 0.95, seed: 0 }
    }
}

/// The AUC over the frames of all videos, with a percentile interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct AucInterval {
    /// Of the videos as they are.
    pub auc: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Resamples that it rests on.
    pub resamples: usize,
    /// Resamples with frames of one class only, which were drawn anew.
    pub redrawn: usize,
}

/// The AUC over the frames of all videos with a bootstrap interval: as many videos as there are
/// are drawn with replacement, a video with all its frames, and the interval lies between the
/// quantiles (1 − level) / 2 and (1 + level) / 2 of the resamples' AUC, interpolated linearly.
///
/// A resample of one class only has no AUC and is drawn anew; where the videos have both classes
/// between them, at least every second one has as well.
///
/// # Errors
/// As [`roc_auc`]; also with fewer than two videos, no resamples, or a level outside (0, 1).
pub fn auc_interval(
    videos: &[ScoredVideo<'_>],
    bootstrap: Bootstrap,
) -> Result<AucInterval, MetricError> {
    let Bootstrap { resamples, level, seed } = bootstrap;
    let frames = Ranked::new(videos)?;
    if videos.len() < 2 {
        return Err(MetricError::Videos { found: videos.len() });
    }
    let option = |field, found, expected| Err(MetricError::Option { field, found, expected });
    if resamples == 0 {
        return option("resamples", resamples.to_string(), "at least 1");
    }
    if !(level > 0.0 && level < 1.0) {
        return option("level", level.to_string(), "a share between 0 and 1");
    }
    let mut random = SplitMix64(seed);
    let (mut areas, mut redrawn) = (Vec::with_capacity(resamples), 0);
    while areas.len() < resamples {
        let mut times = vec![0u64; videos.len()];
        for _ in 0..videos.len() {
            times[random.below(videos.len())] += 1;
        }
        match frames.auc(&times) {
            Some(auc) => areas.push(auc),
            None => redrawn += 1,
        }
    }
    let Bounds { low, high } = Bounds::quantiles(&areas, (1.0 - level) / 2.0)
        .expect("at least one resample was asked for, and the loop ends with all of them");
    Ok(AucInterval { auc: frames.all, low, high, resamples, redrawn })
}

/// All frames, the highest score first: ranked once for every resample.
struct Ranked {
    frames: Vec<RankedFrame>,
    all: f64,
}

struct RankedFrame {
    video: usize,
    abnormal: bool,
    /// Whether the next frame scores less.
    ends_tie: bool,
}

impl Ranked {
    fn new(videos: &[ScoredVideo<'_>]) -> Result<Self, MetricError> {
        if let Some(video) = videos.iter().find(|video| video.scores.len() != video.labels.len()) {
            let (scores, labels) = (video.scores.len(), video.labels.len());
            return Err(MetricError::Length { scores, labels });
        }
        let scores = videos.iter().flat_map(|video| video.scores.iter().copied());
        let scores: Vec<f64> = scores.collect();
        let labels: Vec<bool> =
            videos.iter().flat_map(|video| video.labels.iter().copied()).collect();
        let all = roc_auc(&scores, &labels)?;
        let video_of = |(index, video): (usize, &ScoredVideo<'_>)| {
            std::iter::repeat_n(index, video.scores.len())
        };
        let video_of: Vec<usize> = videos.iter().enumerate().flat_map(video_of).collect();
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
        let ranked = order.iter().enumerate().map(|(rank, &frame)| RankedFrame {
            video: video_of[frame],
            abnormal: labels[frame],
            ends_tie: order.get(rank + 1).is_none_or(|&next| scores[next] != scores[frame]),
        });
        Ok(Self { frames: ranked.collect(), all })
    }

    /// The AUC when every video counts so many times; nothing where one class is missing.
    fn auc(&self, times: &[u64]) -> Option<f64> {
        let (mut hits, mut false_alarms, mut twice_won) = (0, 0, 0u128);
        let (mut tied_hits, mut tied_false_alarms) = (0, 0);
        for frame in &self.frames {
            let count = times[frame.video];
            if frame.abnormal {
                tied_hits += count
            } else {
                tied_false_alarms += count
            }
            if frame.ends_tie {
                // Abnormal frames above win against these normal ones; those of the tie half.
                twice_won += u128::from(tied_false_alarms) * u128::from(2 * hits + tied_hits);
                hits += std::mem::take(&mut tied_hits);
                false_alarms += std::mem::take(&mut tied_false_alarms);
            }
        }
        let pairs = hits as f64 * false_alarms as f64;
        (pairs > 0.0).then(|| twice_won as f64 / 2.0 / pairs)
    }
}

/// SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014),
/// with the constants of Vigna's public-domain code: ten lines, and the same numbers everywhere.
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, by the high half of a product: its bias is `end` over 2⁶⁴.
    fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.next()) * end as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn video<'a>(scores: &'a [f64], labels: &'a [bool]) -> ScoredVideo<'a> {
        ScoredVideo { scores, labels }
    }

    #[test]
    fn the_generator_gives_the_published_numbers() {
        // The first outputs of the reference code for the seed 1234567.
        let mut random = SplitMix64(1_234_567);
        let expected = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973];
        assert_eq!([random.next(), random.next()], expected);
        let drawn: Vec<usize> = (0..6000).map(|_| random.below(3)).collect();
        for value in 0..3 {
            let times = drawn.iter().filter(|&&drawn| drawn == value).count();
            assert!((1850..2150).contains(&times), "{value} came {times} times of 6000");
        }
    }

    #[test]
    fn two_videos_have_three_resamples() {
        // Video 0 alone has AUC 1, video 1 alone 0. Together: of the pairs (0.9, 0.1) (0.9, 0.8)
        // (0.2, 0.1) won and (0.2, 0.8) lost, 0.75. A quarter, a quarter and a half of draws.
        let videos = [video(&[0.1, 0.9], &[false, true]), video(&[0.8, 0.2], &[false, true])];
        let found = auc_interval(&videos, Bootstrap::default()).unwrap();
        let expected = AucInterval { auc: 0.75, low: 0.0, high: 1.0, resamples: 1000, redrawn: 0 };
        assert_eq!(found, expected);
        let narrow = Bootstrap { level: 0.4, ..Bootstrap::default() };
        let found = auc_interval(&videos, narrow).unwrap();
        assert_eq!((found.low, found.high), (0.75, 0.75));
        // A fifth is cut off at either end, and a quarter lies there.
        let wide = Bootstrap { level: 0.6, ..Bootstrap::default() };
        let found = auc_interval(&videos, wide).unwrap();
        assert_eq!((found.low, found.high), (0.0, 1.0));
        for seed in 0..20 {
            let once = auc_interval(&videos, Bootstrap { resamples: 1, seed, level: 0.9 }).unwrap();
            assert_eq!(once.low, once.high, "one resample is both ends");
        }
    }

    #[test]
    fn resamples_of_one_class_are_drawn_anew() {
        let videos = [video(&[0.1, 0.3], &[false; 2]), video(&[0.2, 0.4], &[true; 2])];
        let found = auc_interval(&videos, Bootstrap::default()).unwrap();
        // Only draws of both videos count, and every one of them is the same.
        assert_eq!((found.auc, found.low, found.high), (0.75, 0.75, 0.75));
        assert!((800..1200).contains(&found.redrawn), "{}", found.redrawn);
    }

    #[test]
    fn what_has_no_interval_is_named() {
        let one = [video(&[0.1, 0.9], &[false, true])];
        let error = auc_interval(&one, Bootstrap::default()).unwrap_err();
        assert_eq!(error, MetricError::Videos { found: 1 });
        let two = [one[0], one[0]];
        for (bootstrap, words) in [
            (Bootstrap { resamples: 0, ..Bootstrap::default() }, "resamples is 0; at least 1"),
            (Bootstrap { level: 1.0, ..Bootstrap::default() }, "level is 1; a share between"),
            (Bootstrap { level: 0.0, ..Bootstrap::default() }, "level is 0; a share between"),
        ] {
            let message = auc_interval(&two, bootstrap).unwrap_err().to_string();
            assert!(message.starts_with(words), "{message}");
        }
        let normal = [video(&[0.1], &[false]), video(&[0.2], &[false])];
        let error = auc_interval(&normal, Bootstrap::default()).unwrap_err();
        assert_eq!(error, MetricError::OneClass { frames: 2, only: "normal" });
        let uneven = [one[0], video(&[0.1], &[])];
        let error = auc_interval(&uneven, Bootstrap::default()).unwrap_err();
        assert_eq!(error, MetricError::Length { scores: 1, labels: 0 });
    }

    proptest! {
        #[test]
        fn counting_a_video_twice_is_repeating_it(
            first in proptest::collection::vec((0u8..6, any::<bool>()), 1..20),
            second in proptest::collection::vec((0u8..6, any::<bool>()), 1..20),
            times in proptest::array::uniform2(0u64..4),
        ) {
            let lists = [&first, &second];
            let scores = lists.map(|l| l.iter().map(|f| f64::from(f.0)).collect::<Vec<_>>());
            let labels = lists.map(|l| l.iter().map(|f| f.1).collect::<Vec<_>>());
            let videos = [video(&scores[0], &labels[0]), video(&scores[1], &labels[1])];
            let Ok(ranked) = Ranked::new(&videos) else { return Ok(()) };
            let order = [vec![0; times[0] as usize], vec![1; times[1] as usize]].concat();
            let repeated: Vec<f64> = order.iter().flat_map(|&i| scores[i].clone()).collect();
            let truth: Vec<bool> = order.iter().flat_map(|&i| labels[i].clone()).collect();
            match (ranked.auc(&times), roc_auc(&repeated, &truth)) {
                (Some(found), Ok(expected)) => prop_assert!((found - expected).abs() < 1e-12),
                (found, expected) => prop_assert_eq!(found, expected.ok()),
            }
        }
    }
}
