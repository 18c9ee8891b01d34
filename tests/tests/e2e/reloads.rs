//! Checkpoints that change while they are served.

use std::fs;
use std::path::{Path, PathBuf};

use protoguard_proto::v1::model_service_client::ModelServiceClient;
use protoguard_proto::v1::{ReloadModelRequest, ReloadedModel};
use tempfile::TempDir;
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

/// A folder with the trained model as `door` and as version `v1` of `hall`, and its server.
struct Folder {
    root: TempDir,
    trained: &'static Trained,
    /// Another checkpoint than the trained one.
    two: Vec<u8>,
    server: Server,
}

impl Folder {
    async fn served() -> Self {
        let trained = trained().await;
        let one = fs::read(&trained.checkpoint).unwrap();
        let two = fs::read(another().await).unwrap();
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("models");
        fs::create_dir_all(folder.join("hall")).unwrap();
        publish(&one, &folder.join("door.safetensors"));
        publish(&one, &folder.join("hall/v1.safetensors"));
        let models = ["--models-folder", folder.to_str().unwrap(), "--default-model", "hall"];
        let server = Server::start_bare(&models).await;
        Self { root, trained, two, server }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join("models").join(name)
    }

    async fn version(&self, model: &str) -> String {
        version(&self.server, self.trained, model).await.unwrap()
    }
}

#[tokio::test]
async fn a_folder_is_served_and_followed() {
    let folder = Folder::served().await;
    let first = folder.version("").await;
    assert_eq!(folder.version("door").await, first);
    assert_eq!(folder.version("hall@v1").await, first);
    // A file changes: the server follows by itself.
    publish(&folder.two, &folder.path("door.safetensors"));
    while folder.version("door").await == first {}
    let second = folder.version("door").await;
    // A version appears, and answers for its name.
    publish(&folder.two, &folder.path("hall/v2.safetensors"));
    while folder.version("hall").await != second {}
    assert_eq!(folder.version("hall@v1").await, first);
    folder.server.signal("TERM").await;
    assert!(folder.server.ended().await.0.success());
}

#[tokio::test]
async fn what_is_broken_leaves_what_is_served() {
    let folder = Folder::served().await;
    let first = folder.version("door").await;
    let door = folder.path("door.safetensors");
    let mut flipped = folder.two.clone();
    let last = flipped.len() - 1;
    flipped[last] ^= 1;
    let half = &folder.two[..folder.two.len() / 2];
    for (broken, words) in [(half, "truncated"), (&flipped[..], "hash")] {
        publish(broken, &door);
        let refused = reload(&folder.server).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
        let message = refused.message();
        assert!(message.contains("door") && message.contains(words), "{message}");
        assert_eq!(folder.version("door").await, first);
    }
    let (here, away) = (folder.path(""), folder.root.path().join("away"));
    fs::rename(&here, &away).unwrap();
    assert_eq!(reload(&folder.server).await.unwrap_err().code(), Code::FailedPrecondition);
    assert_eq!(folder.version("hall").await, first);
    fs::rename(&away, &here).unwrap();
    publish(&folder.two, &door);
    let reloaded = reload(&folder.server).await.unwrap();
    assert_eq!(reloaded.len(), 2, "{reloaded:?}");
    assert_ne!(folder.version("door").await, first);
    folder.server.signal("TERM").await;
    let (status, log) = folder.server.ended().await;
    assert!(status.success() && log.contains("reload failed"), "{log}");
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
