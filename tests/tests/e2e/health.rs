//! Whether the server says truly how it is.

use protoguard_client::Health;

use crate::programs::run;
use crate::server::Server;
use crate::trained::{SIDE, trained};

#[tokio::test]
async fn a_server_that_listens_serves() {
    let trained = trained().await;
    let server = Server::start(&trained.checkpoint).await;
    let client = server.client().await;
    for service in ["", "protoguard.v1.ScoringService", "protoguard.v1.ModelService"] {
        assert_eq!(client.health(service).await.unwrap(), Health::Serving, "{service:?}");
    }
    let uri = server.uri();
    let health = || run("protoguard", ["health", "--address", &uri]);
    assert_eq!(health().await.success(), "serving\n");
    server.signal("TERM").await;
    assert!(server.ended().await.0.success());
    let gone = health().await;
    assert!(gone.refusal(1).contains(&uri), "{gone:?}");
}

#[tokio::test]
async fn the_server_describes_its_model() {
    let trained = trained().await;
    let server = Server::start(&trained.checkpoint).await;
    let client = server.client().await;
    let listed = client.models().await.unwrap();
    assert_eq!(listed.models.len(), 1);
    let model = client.model("").await.unwrap();
    assert_eq!(listed.models[0], model);
    assert_eq!(listed.default_model, model.name);
    assert_eq!((model.side, model.past_frames, model.memory_items), (SIDE, 4, 10));
    assert!(!model.version.is_empty() && model.motion_branch);
    assert_eq!(model.calibrations[0].thresholds.len(), 2);
    let pinned = format!("{}@{}", model.name, model.version);
    assert_eq!(client.model(&pinned).await.unwrap(), model);
    let models = run("protoguard", ["models", "--address", &server.uri()]).await.success();
    assert!(models.contains(&pinned), "{models}");
}
