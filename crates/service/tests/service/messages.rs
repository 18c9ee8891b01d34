//! Messages that cannot be read, or that do not arrive.

use std::time::Duration;

use protoguard_service::testing::FakeFactory;
use protoguard_service::{ConnectionConfig, DOMAIN, ServiceConfig};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::bench::{Served, bounded, clip, config};
use crate::wire::{Call, Wire, framed, framed_request};

fn reason(status: &Status) -> String {
    let info = status.get_details_error_info().unwrap_or_else(|| panic!("no info: {status:?}"));
    assert_eq!(info.domain, DOMAIN);
    info.reason
}

#[tokio::test]
async fn what_is_no_message_is_an_invalid_argument() {
    let served = Served::ready(FakeFactory::new("hall"), config()).await;
    let mut wire = Wire::to(&served).await;
    let gzip = Call { encoding: "gzip", ..Call::default() };
    let cases = [
        ("no protobuf", Call::default(), framed(0, 3, &[0xFF; 3])),
        ("nothing", Call::default(), Vec::new()),
        ("half a message", Call::default(), framed(0, 100, &[1; 10])),
        ("an unknown flag", Call::default(), framed(7, 3, &[1; 3])),
        ("compressed by nothing", Call::default(), framed(1, 3, &[1; 3])),
        ("no gzip", gzip, framed(1, 3, &[1; 3])),
    ];
    for (what, call, bytes) in cases {
        let status = wire.send(call, bytes).await.unwrap();
        assert_eq!(status.code(), Code::InvalidArgument, "{what}: {status:?}");
        assert_eq!(reason(&status), "UNREADABLE_MESSAGE", "{what}");
        assert!(status.message().starts_with("the message cannot be read: "), "{status:?}");
    }
    // The connection is as it was.
    assert!(wire.send(Call::default(), framed_request(&clip(1))).await.is_none());
    served.stop().await;
}

#[tokio::test]
async fn what_the_server_does_not_know_is_told_with_what_it_knows() {
    let served = Served::ready(FakeFactory::new("hall"), config()).await;
    let mut wire = Wire::to(&served).await;
    let brotli = Call { encoding: "br", ..Call::default() };
    let status = wire.send(brotli, framed(1, 3, &[1; 3])).await.unwrap();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::Unimplemented, "UNSUPPORTED_ENCODING")
    );
    assert!(status.message().contains("`br`"), "{status:?}");
    // As gRPC has it, so that a library can send the message again.
    assert_eq!(status.metadata().get("grpc-accept-encoding").unwrap(), "gzip,zstd,identity");
    for path in ["/protoguard.v1.ScoringService/Guess", "/nobody.Service/Method"] {
        let call = Call { path, ..Call::default() };
        let status = wire.send(call, framed_request(&clip(1))).await.unwrap();
        assert_eq!(status.code(), Code::Unimplemented, "{path}: {status:?}");
        assert_eq!(reason(&status), "METHOD_NOT_FOUND", "{path}");
    }
    assert!(wire.send(Call::default(), framed_request(&clip(1))).await.is_none());
    served.stop().await;
}

#[tokio::test]
async fn half_a_message_is_waited_for_no_longer_than_the_bound() {
    let receive_timeout = Duration::from_millis(100);
    let connections = ConnectionConfig { receive_timeout, ..ConnectionConfig::default() };
    let served =
        Served::ready(FakeFactory::new("hall"), ServiceConfig { connections, ..config() }).await;
    let mut wire = Wire::to(&served).await;
    let (sender, status) = wire.begin(Call::default());
    sender.send(framed(0, 100, &[1; 10])).unwrap();
    let status = status.await.unwrap();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::DeadlineExceeded, "SLOW_MESSAGE"));
    drop(sender);
    assert!(bounded(served.scoring().await.score_clip(clip(1))).await.is_ok());
    served.stop().await;
}

/// With room for one clip and a half: one that hangs keeps the next one out, and takes its bytes
/// with it when it ends, whichever way that is.
#[tokio::test]
async fn what_is_being_received_is_bounded_in_bytes() {
    const HELD: usize = 1000;
    let connections = ConnectionConfig { max_receiving_bytes: 1900, ..ConnectionConfig::default() };
    let served =
        Served::ready(FakeFactory::new("hall"), ServiceConfig { connections, ..config() }).await;
    let whole = framed_request(&clip(1));
    assert!(whole.len() + HELD > 1900 && whole.len() < 1900);
    let mut client = served.scoring().await;
    for round in 0..20 {
        let mut wire = Wire::to(&served).await;
        let (sender, status) = wire.begin(Call::default());
        sender.send(whole[..HELD].to_vec()).unwrap();
        // Until what was sent has arrived, a clip finds room.
        let refused = loop {
            if let Err(refused) = bounded(client.score_clip(clip(2))).await {
                break refused;
            }
        };
        assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
        assert_eq!(reason(&refused), "RECEIVING_TOO_MUCH");
        assert!(refused.get_details_retry_info().unwrap().retry_delay.is_some());
        match round % 3 {
            // The rest comes, and the clip is scored.
            0 => {
                sender.send(whole[HELD..].to_vec()).unwrap();
                drop(sender);
                assert!(status.await.is_none());
            }
            // It ends too early.
            1 => {
                drop(sender);
                assert_eq!(status.await.unwrap().code(), Code::InvalidArgument);
            }
            // The caller is gone with its connection.
            _ => drop((status, wire)),
        }
        while let Err(refused) = bounded(client.score_clip(clip(3))).await {
            assert_eq!(reason(&refused), "RECEIVING_TOO_MUCH", "{refused}");
        }
    }
    served.stop().await;
}

#[tokio::test]
async fn a_lone_message_is_received_whatever_the_bound() {
    let connections = ConnectionConfig { max_receiving_bytes: 1, ..ConnectionConfig::default() };
    let served =
        Served::ready(FakeFactory::new("hall"), ServiceConfig { connections, ..config() }).await;
    assert!(bounded(served.scoring().await.score_clip(clip(1))).await.is_ok());
    served.stop().await;
}
