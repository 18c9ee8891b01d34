//! How much better a model does on the video that it learnt from than on other video of its camera.
//!
//! A few held-out videos are the emptiest, or the busiest, of a camera by chance, and a threshold
//! that is measured on them alone lets every busy hour through as an alarm. The video that the
//! model learnt from says much more of what is normal there, and flatters the model. So its values
//! are raised by what the model does worse on held-out clips than on learnt ones in which as much
//! moves.

use crate::maps::{Part, Statistics};
use crate::normalise::quantile;

/// Learnt clips that a held-out one is compared with: those in which the most similar amount moves.
const NEIGHBOURS: usize = 50;
/// The largest gap, as a factor of a value: a quarter of a mean squared error is 6 dB.
const MOST: f64 = 4.0;

/// What one clip has of each part, in the recipe's order, and how much moves in it.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    pub(super) moved: f64,
    pub(super) values: Vec<f64>,
}

/// By how much each part's values are larger on held-out clips than on learnt ones: the natural
/// logarithm of a factor, in `[0, ln 4]`; 0 for a part that no model has learnt.
///
/// Of every held-out video the median over its clips of the difference to the median of their
/// neighbours, and of those the mean less its standard error: videos differ by more than what they
/// are compared by, and what only some of them show is no gap. Videos in which mostly more or less
/// moves than in any learnt clip are not compared; nothing where none can be.
pub(super) fn gaps(
    parts: &[Part],
    held_out: &[Vec<Judged>],
    learnt: &[Vec<Judged>],
) -> Option<Vec<f64>> {
    let mut learnt: Vec<&Judged> = learnt.iter().flatten().collect();
    learnt.sort_by(|a, b| a.moved.total_cmp(&b.moved));
    let compare = |clip| Some(Compared { clip, near: neighbours(&learnt, clip.moved)? });
    let compared = held_out.iter().filter_map(|video| {
        let compared: Vec<Compared<'_>> = video.iter().filter_map(compare).collect();
        (!compared.is_empty() && 2 * compared.len() >= video.len()).then_some(compared)
    });
    let compared: Vec<Vec<Compared<'_>>> = compared.collect();
    let gap = |(index, &part): (usize, &Part)| {
        let medians: Option<Vec<f64>> =
            compared.iter().map(|video| median_difference(part, index, video)).collect();
        let evident = evident(&medians?)?;
        Some(if part.is_of_the_model() { evident.clamp(0.0, MOST.ln()) } else { 0.0 })
    };
    parts.iter().enumerate().map(gap).collect()
}

/// A held-out clip beside learnt ones in which as much moves.
struct Compared<'a> {
    clip: &'a Judged,
    near: &'a [&'a Judged],
}

fn median_difference(part: Part, index: usize, video: &[Compared<'_>]) -> Option<f64> {
    let level = |clip: &Judged| logarithm(part, clip.values[index]);
    let difference = |Compared { clip, near }: &Compared<'_>| {
        let near: Vec<f64> = near.iter().map(|clip| level(clip)).collect();
        Some(level(clip) - quantile(&near, 0.5)?)
    };
    quantile(&video.iter().filter_map(difference).collect::<Vec<f64>>(), 0.5)
}

/// The mean less its standard error, which one value does not have.
fn evident(values: &[f64]) -> Option<f64> {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    match values.len() {
        0 => None,
        1 => Some(mean),
        _ => {
            let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
            Some(mean - (squares / (count - 1.0) / count).sqrt())
        }
    }
}

/// A learnt clip's value as it would be had the clip not been learnt.
pub(super) fn raised(part: Part, value: f64, gap: f64) -> f64 {
    if part.is_in_decibels() { value + gap * DECIBELS } else { value * gap.exp() }
}

/// How much moves in a clip, as [`Judged::moved`].
pub(super) fn judged(clip: &Statistics, values: Vec<f64>) -> Judged {
    Judged { moved: clip.mean_moved(), values }
}

/// Decibels of a natural logarithm.
const DECIBELS: f64 = 10.0 / std::f64::consts::LN_10;

fn logarithm(part: Part, value: f64) -> f64 {
    if part.is_in_decibels() { value / DECIBELS } else { value.max(f64::MIN_POSITIVE).ln() }
}

/// The clips around a place in their order by motion; nothing beyond either end.
fn neighbours<'a, 'b>(ordered: &'b [&'a Judged], moved: f64) -> Option<&'b [&'a Judged]> {
    let (first, last) = (ordered.first()?, ordered.last()?);
    if !(first.moved..=last.moved).contains(&moved) {
        return None;
    }
    let count = NEIGHBOURS.min(ordered.len());
    // Of clips in which the same amount moves the middle one: they lie in the order of videos.
    let [from, to] = [f64::lt, f64::le]
        .map(|before| ordered.partition_point(|clip| before(&clip.moved, &moved)));
    let place = from.midpoint(to);
    let start = place.saturating_sub(count / 2).min(ordered.len() - count);
    ordered.get(start..start + count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clip(moved: f64, values: &[f64]) -> Judged {
        Judged { moved, values: values.to_vec() }
    }

    /// The larger the motion, the larger everything; held-out clips move more, and their errors are
    /// 1 dB and 10 % larger beside that.
    #[test]
    fn a_gap_is_what_motion_does_not_explain() {
        let parts = [Part::LargestError, Part::RelativeError, Part::Speed];
        let of = |moved: f64, decibels: f64, factor: f64| {
            clip(moved, &[10.0 * moved.log10() + decibels, moved * factor, moved * factor])
        };
        let learnt: Vec<Judged> = (1..=1000).map(|i| of(f64::from(i), 0.0, 1.0)).collect();
        let held_out: Vec<Judged> = (600..900).map(|i| of(f64::from(i), 1.0, 1.1)).collect();
        let found = gaps(&parts, &[held_out], &[learnt]).unwrap();
        assert!((found[0] - 0.1 * 10f64.ln()).abs() < 2e-3, "{found:?}");
        assert!((found[1] - 1.1f64.ln()).abs() < 2e-3, "{found:?}");
        assert_eq!(found[2], 0.0, "speed is no model's");
        assert!((raised(parts[0], -20.0, found[0]) + 19.0).abs() < 0.01);
        assert!((raised(parts[1], 0.5, found[1]) - 0.55).abs() < 0.002);
    }

    #[test]
    fn a_model_is_never_better_on_what_it_has_not_seen_nor_endlessly_worse() {
        let learnt: Vec<Judged> = (0..60).map(|i| clip(f64::from(i), &[-20.0, 0.0])).collect();
        let parts = [Part::PredictionError, Part::FeatureDistance];
        let learnt = [learnt];
        let of = |held_out: Judged| gaps(&parts, &[vec![held_out]], &learnt);
        assert_eq!(of(clip(30.0, &[-25.0, 0.0])), Some(vec![0.0, 0.0]));
        assert_eq!(of(clip(30.0, &[-3.0, 0.5])), Some(vec![4f64.ln(), 4f64.ln()]));
        assert_eq!(raised(parts[1], 0.0, 4f64.ln()), 0.0);
        // More moves than ever before: nothing to compare it with.
        assert_eq!(of(clip(61.0, &[-3.0, 0.5])), None);
        assert_eq!(gaps(&parts, &learnt, &[]), None);
        let video = |moved: [f64; 3]| moved.map(|moved| clip(moved, &[-20.0, 0.0])).to_vec();
        assert_eq!(gaps(&parts, &[video([30.0, 61.0, 62.0])], &learnt), None);
        assert_eq!(gaps(&parts, &[video([29.0, 30.0, 61.0])], &learnt), Some(vec![0.0, 0.0]));
    }

    /// Videos that are 3, 3 and 0 dB worse: a mean of 2 dB less a standard error of 1 dB.
    #[test]
    fn what_only_some_videos_show_is_no_gap() {
        let learnt: Vec<Judged> = (0..60).map(|i| clip(f64::from(i), &[-20.0])).collect();
        let video = |decibels: f64| vec![clip(30.0, &[decibels - 20.0]); 5];
        let found = |videos: &[Vec<Judged>]| {
            gaps(&[Part::LargestError], videos, std::slice::from_ref(&learnt)).unwrap()[0]
                * DECIBELS
        };
        assert!((found(&[video(3.0), video(3.0), video(0.0)]) - 1.0).abs() < 1e-9);
        assert_eq!(found(&[video(1.0), video(-0.5)]), 0.0);
        assert!((found(&[video(2.0), video(2.0)]) - 2.0).abs() < 1e-9);
    }

    #[test]
    fn neighbours_are_the_nearest_by_motion() {
        let clips: Vec<Judged> = (0..200).map(|i| clip(f64::from(i), &[])).collect();
        let ordered: Vec<&Judged> = clips.iter().collect();
        let range = |moved: f64| {
            let found = neighbours(&ordered, moved)?;
            Some((found.len(), found.first()?.moved, found.last()?.moved))
        };
        assert_eq!(range(100.0), Some((50, 75.0, 124.0)));
        assert_eq!(range(3.0), Some((50, 0.0, 49.0)));
        assert_eq!(range(199.0), Some((50, 150.0, 199.0)));
        assert_eq!(range(199.5), None);
        assert_eq!(neighbours(&ordered[..3], 1.0).map(<[_]>::len), Some(3));
        let still: Vec<Judged> = (0..200).map(|i| clip(0.0, &[f64::from(i)])).collect();
        let still: Vec<&Judged> = still.iter().collect();
        assert_eq!(neighbours(&still, 0.0).unwrap()[0].values, [75.0]);
    }
}
