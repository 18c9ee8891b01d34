//! An encoded picture to a frame, and on to the model's side: what one frame of a request costs
//! a decoding thread.
//!
//! The picture is drawn, and its JPEG is 4:4:4, the dearest that cameras send. With
//! `PROTOGUARD_BENCH_JPEG=FILE` a picture of one's own is measured beside it.

#![allow(clippy::unwrap_used, reason = "a bench that cannot read its picture has nothing to say")]

use std::hint::black_box;
use std::io::Cursor;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use protoguard_core::Frame;
use protoguard_frames::scenes::{Scene, SynthConfig};
use protoguard_frames::{DecodeLimits, decode, resize};

const QUALITY: u8 = 85;
const SIDE: usize = 256;

fn drawn() -> Frame {
    let config = SynthConfig { height: 432, width: 768, ..SynthConfig::default() };
    Scene::training(&config, 0).frame(100)
}

fn encoded(frame: &Frame, encoder: impl ImageEncoder) {
    let (width, height) = (frame.width() as u32, frame.height() as u32);
    encoder.write_image(frame.pixels(), width, height, ExtendedColorType::Rgb8).unwrap();
}

fn jpeg(frame: &Frame) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    encoded(frame, JpegEncoder::new_with_quality(&mut bytes, QUALITY));
    bytes.into_inner()
}

fn png(frame: &Frame) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    encoded(frame, PngEncoder::new(&mut bytes));
    bytes.into_inner()
}

fn decoding(criterion: &mut Criterion) {
    let frame = drawn();
    let mut pictures = vec![("jpeg", jpeg(&frame)), ("png", png(&frame))];
    if let Some(path) = std::env::var_os("PROTOGUARD_BENCH_JPEG") {
        pictures.push(("own", std::fs::read(path).unwrap()));
    }
    let limits = DecodeLimits::default();
    let mut group = criterion.benchmark_group("decode");
    for (name, bytes) in &pictures {
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(*name, |bench| {
            bench.iter(|| decode(black_box(bytes), &limits).unwrap());
        });
        group.bench_function(format!("{name}_and_resize"), |bench| {
            bench.iter(|| resize(&decode(black_box(bytes), &limits).unwrap(), SIDE));
        });
    }
    group.finish();
}

criterion_group!(benches, decoding);
criterion_main!(benches);
