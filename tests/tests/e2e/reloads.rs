//! Checkpoints that change while they are served.

use std::fs;
use std::path::Path;

use protoguard_proto::v1::model_service_client::ModelServiceClient;
use protoguard_proto::v1::{ReloadModelRequest, ReloadedModel};
use tonic::{Code, Status};

use crate::clips::encoded;
use crate::server::Server;
use crate::trained::{Trained, another, trained};

/// As the trainer publishes: written beside and renamed.
fn publish(bytes: &[u8], path: &Path) {
    let fresh = path.with_extension("new");
    fs::write(&fresh, bytes).unwrap();
    fs::rename(fresh, path).unwrap();
}

async fn version(server: &Server, trained: &Trained, model: &str) -> Result<String, Status> {
    let mut request = encoded(trained, 0);
    request.model = model.to_owned();
    let answer = server.scoring().await.score_clip(request).await?;
    Ok(answer.into_inner().model_version)
}

async fn reload(server: &Server) -> Result<Vec<ReloadedModel>, Status> {
    let mut client = ModelServiceClient::connect(server.uri()).await.unwrap();
    Ok(client.reload_model(ReloadModelRequest::default()).await?.into_inner().models)
}

#[tokio::test]
async fn a_folder_is_served_and_followed_and_what_is_broken_is_not() {
    let trained = trained().await;
    let (one, two) = (fs::read(&trained.checkpoint).unwrap(), fs::read(another().await).unwrap());
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("models");
    fs::create_dir_all(folder.join("hall")).unwrap();
    let (door, hall) = (folder.join("door.safetensors"), folder.join("hall/v1.safetensors"));
    publish(&one, &door);
    publish(&one, &hall);
    let arguments = ["--models-folder", folder.to_str().unwrap(), "--default-model", "hall"];
    let server = Server::start_bare(&arguments).await;
    let first = version(&server, trained, "").await.unwrap();
    assert_eq!(version(&server, trained, "door").await.unwrap(), first);
    assert_eq!(version(&server, trained, "hall@v1").await.unwrap(), first);

    // A file changes: the server follows by itself.
    publish(&two, &door);
    let second = loop {
        let found = version(&server, trained, "door").await.unwrap();
        if found != first {
            break found;
        }
    };
    // A version appears, and answers for its name.
    publish(&two, &folder.join("hall/v2.safetensors"));
    while version(&server, trained, "hall").await.unwrap() != second {}
    assert_eq!(version(&server, trained, "hall@v1").await.unwrap(), first);

    // Half a checkpoint, a flipped byte, and no folder at all.
    let mut flipped = one.clone();
    let last = flipped.len() - 1;
    flipped[last] ^= 1;
    for (broken, words) in [(&one[..one.len() / 2], "bytes"), (&flipped[..], "hash")] {
        publish(broken, &door);
        let refused = reload(&server).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
        assert!(
            refused.message().contains("door") && refused.message().contains(words),
            "{refused}"
        );
        assert_eq!(version(&server, trained, "door").await.unwrap(), second);
    }
    let away = root.path().join("away");
    fs::rename(&folder, &away).unwrap();
    assert_eq!(reload(&server).await.unwrap_err().code(), Code::FailedPrecondition);
    assert_eq!(version(&server, trained, "hall").await.unwrap(), second);
    fs::rename(&away, &folder).unwrap();
    publish(&one, &door);
    let reloaded = reload(&server).await.unwrap();
    assert_eq!(reloaded.len(), 3, "{reloaded:?}");
    assert_eq!(version(&server, trained, "door").await.unwrap(), first);
    server.signal("TERM").await;
    let (status, log) = server.ended().await;
    assert!(status.success(), "{log}");
    assert!(log.contains("reload failed"), "{log}");
}

#[tokio::test]
async fn a_hangup_loads_what_has_changed() {
    let trained = trained().await;
    let two = fs::read(another().await).unwrap();
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("hall.safetensors");
    publish(&fs::read(&trained.checkpoint).unwrap(), &path);
    let server = Server::start(&path).await;
    let first = version(&server, trained, "").await.unwrap();
    publish(&two, &path);
    server.signal("HUP").await;
    while version(&server, trained, "").await.unwrap() == first {}
    server.signal("TERM").await;
    assert!(server.ended().await.0.success());
}
