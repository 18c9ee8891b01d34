//! Single frames, as JPEG within the page.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::codecs::jpeg::JpegEncoder;
use image::{Rgb, RgbImage, imageops};
use maud::{Markup, html};
use protoguard_core::{PartSurprise, Region};
use protoguard_frames::picture::{
    difference_pixels, error_pixels, frame_pixels, rgb_pixels, true_difference,
};

use crate::evaluate::close_up::CloseUp;
use crate::evaluate::live::Score;
use crate::evaluate::measured::Measured;
use crate::evaluate::normalised::detector_of;

const QUALITY: u8 = 85;
/// Pixels a side above which a tile is made smaller: a page has dozens.
const LARGEST_TILE: u32 = 256;
/// The same for each map of a strip of RGB differences.
const LARGEST_MAP: u32 = 160;
/// Of the box around what is unusual.
const BOX: Rgb<u8> = Rgb([255, 40, 40]);

/// One frame with its tiles.
pub(super) fn panel(close_up: &CloseUp, measured: &Measured<'_>) -> Markup {
    let frame = close_up.frame;
    let video = &measured.videos[frame.video];
    let score = &video.scores[frame.position];
    let distance = score.feature_distance.map(|distance| format!(" · DIST {:.3}", distance.0));
    html! {
        figure.frame {
            figcaption {
                b { "Video " (video.name) ", frame " (video.first_frame + frame.position) } " · "
                @if frame.abnormal { span.tag.abnormal { "abnormal" } } @else { span.tag { "normal" } }
                (said(close_up, measured))
                " · PSNR " (format!("{:.2}", score.psnr.0)) " dB"
                (distance.unwrap_or_default())
            }
            div.tiles {
                @for (name, picture) in tiles(close_up) { (tile(&name, picture, LARGEST_TILE)) }
            }
            div.tiles.wide {
                @for (name, maps) in strips(close_up) { (tile(name, Some(maps), u32::MAX)) }
            }
        }
    }
}

/// What raised the alarm and why, or the score where there is no detector.
fn said(close_up: &CloseUp, measured: &Measured<'_>) -> String {
    let frame = close_up.frame;
    let video = &measured.videos[frame.video];
    let Some(detector) = detector_of(measured.calibrations, video) else {
        return format!(" · score {:.3}", frame.anomaly);
    };
    let judged = detector.judge(&video.statistics[frame.position]);
    let part = |part: &PartSurprise| {
        format!(
            "{} {:.1}",
            Score::Part(part.part).title().trim_start_matches("part: "),
            part.surprise
        )
    };
    let parts: Vec<String> = judged.parts.iter().map(part).collect();
    format!(" · smoothed surprise {:.1} (in this frame: {})", frame.anomaly, parts.join(", "))
}

/// The frame with the box that carries its anomaly.
fn boxed(mut picture: RgbImage, region: Region) -> RgbImage {
    let [width, height] = [picture.width(), picture.height()];
    let at = |share: f64, of: u32| ((share * f64::from(of)).round() as u32).min(of - 1);
    let [left, right] = [region.left, region.right].map(|share| at(share, width));
    let [top, bottom] = [region.top, region.bottom].map(|share| at(share, height));
    for x in left..=right {
        [top, bottom].into_iter().for_each(|y| picture.put_pixel(x, y, BOX));
    }
    for y in top..=bottom {
        [left, right].into_iter().for_each(|x| picture.put_pixel(x, y, BOX));
    }
    picture
}

/// A tile's name and its picture, where the model gives one.
type Tile = (String, Option<RgbImage>);

fn tiles(close_up: &CloseUp) -> Vec<Tile> {
    let CloseUp { clip, score, .. } = close_up;
    let error = score.error_map.as_ref();
    let region = score.maps.as_ref().map(Region::of);
    let target = clip.target().map(frame_pixels);
    let target = target.map(|target| match region {
        Some(region) => boxed(target, region),
        None => target,
    });
    let largest = error.iter().flat_map(|e| e.values.iter().copied()).fold(0.0, f32::max);
    vec![
        ("last input frame".to_owned(), clip.past().last().map(frame_pixels)),
        ("target, with the box of its alarm".to_owned(), target),
        ("prediction".to_owned(), score.predicted_frame.as_ref().map(rgb_pixels)),
        (
            format!("squared error, 0 to {largest:.3}"),
            error.map(|error| error_pixels(error, largest)),
        ),
    ]
}

/// The RGB differences of every past frame, oldest first, side by side.
fn strips(close_up: &CloseUp) -> Vec<(&'static str, RgbImage)> {
    let CloseUp { clip, score, .. } = close_up;
    let Some(target) = clip.target() else { return Vec::new() };
    let actual = clip.past().iter().map(|past| true_difference(past, target)).collect();
    let generated: Vec<RgbImage> = score.rgb_difference.iter().map(difference_pixels).collect();
    let mut strips =
        vec![("RGB difference of each input frame to the target", side_by_side(actual))];
    if !generated.is_empty() {
        strips.push(("the same, generated", side_by_side(generated)));
    }
    strips
}

fn side_by_side(pictures: Vec<RgbImage>) -> RgbImage {
    let small: Vec<RgbImage> = pictures.into_iter().map(|p| at_most(p, LARGEST_MAP)).collect();
    let height = small.first().map_or(1, RgbImage::height);
    let width = small.iter().map(RgbImage::width).sum::<u32>().max(1);
    let mut strip = RgbImage::new(width, height);
    let mut x = 0;
    for picture in &small {
        imageops::replace(&mut strip, picture, x, 0);
        x += i64::from(picture.width());
    }
    strip
}

fn at_most(picture: RgbImage, side: u32) -> RgbImage {
    let largest = picture.width().max(picture.height());
    if largest <= side {
        return picture;
    }
    let scaled = |length: u32| (length * side / largest).max(1);
    let (width, height) = (scaled(picture.width()), scaled(picture.height()));
    imageops::resize(&picture, width, height, imageops::FilterType::Triangle)
}

fn tile(name: &str, picture: Option<RgbImage>, largest: u32) -> Markup {
    let picture = picture.map(|picture| at_most(picture, largest));
    html! {
        div.tile {
            @match picture.as_ref().and_then(data_url) {
                Some(url) => { img src=(url) alt=(name) {} }
                None => { div.absent { "the model gives none" } }
            }
            small { (name) }
        }
    }
}

/// Nothing for a picture that cannot be encoded, which one of at least a pixel can.
fn data_url(picture: &RgbImage) -> Option<String> {
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, QUALITY).encode_image(picture).ok()?;
    Some(format!("data:image/jpeg;base64,{}", STANDARD.encode(jpeg)))
}
