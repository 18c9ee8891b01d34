//! A clip's score does not depend on the clips that share its forward pass.

use protoguard_proto::v1::scoring_service_client::ScoringServiceClient;
use protoguard_proto::v1::{Image, ImageEncoding, ScoreClipResponse, View};
use tokio::task::JoinSet;
use tonic::transport::Channel;

use crate::clips::encoded;
use crate::server::Server;
use crate::trained::{SIDE, Trained, trained};

const BATCH: usize = 8;
const TOLERANCE: f64 = 1e-5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_together_score_as_eight_alone() {
    let trained = trained().await;
    let server = Server::start_with(&trained.checkpoint, &["--fit-batch-size", "false"]).await;
    let client = server.scoring().await;
    let mut alone = Vec::new();
    for index in 0..BATCH {
        alone.push(score(client.clone(), trained, index).await);
    }
    assert!(alone.iter().all(|response| batch_size(response) == 1));

    // More clips at once than a batch holds wait for the worker, and leave in full batches. How
    // they meet is up to the scheduler: ask until each of the eight was in one.
    let mut together: [Option<ScoreClipResponse>; BATCH] = Default::default();
    let mut tries = 0;
    while together.iter().any(Option::is_none) {
        assert!(tries < 100, "eight clips never shared a batch");
        tries += 1;
        let mut calls = JoinSet::new();
        for index in (0..BATCH).cycle().take(4 * BATCH) {
            let client = client.clone();
            calls.spawn(async move { (index, score(client, trained, index).await) });
        }
        for (index, response) in calls.join_all().await {
            if batch_size(&response) == BATCH as u32 {
                together[index] = Some(response);
            }
        }
    }
    let together = together.iter().flatten();
    for (alone, together) in alone.iter().zip(together) {
        assert_same(alone, together);
    }
}

async fn score(
    mut client: ScoringServiceClient<Channel>,
    trained: &Trained,
    index: usize,
) -> ScoreClipResponse {
    let mut request = encoded(trained, index);
    request.set_view(View::Full);
    request.set_image_encoding(ImageEncoding::RawF32);
    client.score_clip(request).await.unwrap().into_inner()
}

fn batch_size(response: &ScoreClipResponse) -> u32 {
    response.timings.unwrap().batch_size
}

fn assert_same(alone: &ScoreClipResponse, together: &ScoreClipResponse) {
    let (a, b) = (numbers(alone), numbers(together));
    assert_eq!(a.len(), b.len());
    for (a, b) in a.into_iter().zip(b) {
        assert!((a - b).abs() <= TOLERANCE * a.abs().max(1.0), "{a} and {b}");
    }
    assert_eq!(alone.anomalous, together.anomalous);
    let pictures = |r: &ScoreClipResponse| -> Vec<Image> {
        let single = [r.predicted_frame.clone().unwrap(), r.error_map.clone().unwrap()];
        single.into_iter().chain(r.rgb_differences.iter().cloned()).collect()
    };
    let (alone, together) = (pictures(alone), pictures(together));
    assert_eq!((alone.len(), together.len()), (6, 6));
    for (a, b) in alone.iter().zip(&together) {
        assert_eq!((a.height, a.width, a.channels), (SIDE, SIDE, b.channels));
        let pairs = floats(a).into_iter().zip(floats(b));
        let apart = pairs.map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max);
        assert!(apart <= TOLERANCE, "{apart}");
    }
}

/// The scores, why and where.
fn numbers(response: &ScoreClipResponse) -> Vec<f64> {
    let of_clip = [response.psnr_db, response.feature_distance, response.regularity];
    let of_detector = [response.surprise, response.surprise_sum, response.surprise_threshold];
    let mut numbers: Vec<f64> =
        of_clip.into_iter().chain(of_detector).map(|number| number.unwrap()).collect();
    assert!(!response.parts.is_empty());
    numbers.extend(response.parts.iter().flat_map(|part| [part.value, part.surprise]));
    let region = response.region.unwrap();
    numbers.extend([region.left, region.top, region.right, region.bottom, region.share]);
    numbers
}

fn floats(image: &Image) -> Vec<f32> {
    let values: Vec<f32> = image
        .data
        .chunks_exact(4)
        .map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        .collect();
    assert_eq!(values.len(), (image.height * image.width * image.channels) as usize);
    values
}
