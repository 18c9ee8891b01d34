//! BatchScoreClips.

use protoguard_proto::v1;

use crate::bench::{Served, clip, config};
use crate::camera::street;

#[tokio::test]
async fn clips_of_a_batch_succeed_and_fail_alone() {
    let served = Served::ready(street(), config()).await;
    let mut client = served.scoring().await;
    let named = |id: &str, request: v1::ScoreClipRequest| v1::ScoreClipRequest {
        request_id: id.to_owned(),
        ..request
    };
    let other_rate = v1::ScoreClipRequest { frame_interval_ms: 40.0, ..clip(3) };
    let any_rate = v1::ScoreClipRequest { any_frame_interval: true, ..other_rate.clone() };
    let requests = vec![
        named("a", clip(1)),
        v1::ScoreClipRequest { model: "gate".to_owned(), ..clip(2) },
        named("c", other_rate),
        named("d", any_rate),
    ];
    let batch = v1::BatchScoreClipsRequest { requests };
    let results = client.batch_score_clips(batch).await.unwrap().into_inner().results;
    let shown: Vec<Result<String, (String, String)>> = results
        .into_iter()
        .map(|result| match result.result.unwrap() {
            v1::clip_result::Result::Response(response) => Ok(response.request_id),
            v1::clip_result::Result::Error(error) => Err((error.reason, error.message)),
        })
        .collect();
    assert_eq!(shown[0], Ok("a".to_owned()));
    assert_eq!(shown[1].clone().unwrap_err().0, "MODEL_NOT_FOUND");
    assert_eq!(
        shown[2].clone().unwrap_err().1,
        "frame_interval_ms is 40 ms, and model `hall` learnt frames 100 ms apart; at most a quarter \
         off is accepted, or any with any_frame_interval"
    );
    assert_eq!(shown[3], Ok("d".to_owned()));
    let empty = client.batch_score_clips(v1::BatchScoreClipsRequest::default()).await;
    assert_eq!(empty.unwrap_err().message(), "requests has 0 clips; 1 to 256 are expected");
    served.stop().await;
}
