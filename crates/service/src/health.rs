//! `grpc.health.v1` for the server as a whole and for each of its services.

use tonic_health::ServingStatus;
use tonic_health::server::{HealthReporter, HealthService};

use protoguard_proto::v1::model_service_server::SERVICE_NAME as MODEL_SERVICE;
use protoguard_proto::v1::scoring_service_server::SERVICE_NAME as SCORING_SERVICE;
use tonic_health::pb::health_server::HealthServer;

/// What is reported on; the empty name is the server as a whole.
const NAMES: [&str; 3] = ["", SCORING_SERVICE, MODEL_SERVICE];

pub(crate) struct Health {
    reporter: HealthReporter,
}

impl Health {
    /// Not serving: tonic's reporter would begin as SERVING.
    pub(crate) async fn new() -> Self {
        let health = Self { reporter: HealthReporter::new() };
        health.set(ServingStatus::NotServing).await;
        health
    }

    pub(crate) async fn set(&self, status: ServingStatus) {
        for name in NAMES {
            self.reporter.set_service_status(name, status).await;
        }
    }

    /// Ends every Watch, which would otherwise hold its connection open for ever.
    pub(crate) async fn end_watches(&mut self) {
        for name in NAMES {
            self.reporter.clear_service_status(name).await;
        }
    }

    pub(crate) fn server(&self) -> HealthServer<HealthService> {
        HealthServer::new(HealthService::from_health_reporter(self.reporter.clone()))
    }
}
