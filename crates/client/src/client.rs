use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use protoguard_proto::v1;
use protoguard_proto::v1::model_service_client::ModelServiceClient;
use protoguard_proto::v1::scoring_service_client::ScoringServiceClient;
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::error::root_cause;
use crate::{ClientError, RetryPolicy};

/// How a [`Client`] calls.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientOptions {
    /// For the first connection, so that a wrong address is known at once.
    pub connect_timeout: Duration,
    /// For a call and all its retries together; the server learns what is left of it.
    pub deadline: Duration,
    /// When a failed call is tried again.
    pub retry: RetryPolicy,
    /// Largest message either way. gRPC's usual 4 MiB is four clips of 256 pixels or one answer
    /// with every picture.
    pub max_message_bytes: usize,
    /// HTTP/2 window of a call: a clip should leave in one go, not wait for window updates.
    pub stream_window_bytes: u32,
    /// HTTP/2 window of all calls together.
    pub connection_window_bytes: u32,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            deadline: Duration::from_secs(30),
            retry: RetryPolicy::default(),
            max_message_bytes: 256 << 20,
            stream_window_bytes: 16 << 20,
            connection_window_bytes: 64 << 20,
        }
    }
}

/// What a server says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It scores clips.
    Serving,
    /// It is loading, draining or broken.
    NotServing,
    /// It cannot tell.
    Unknown,
}

/// Bytes of a frame of HTTP/2 that the server may send: eight of them are the pictures of a clip,
/// which would take 64 of the usual size.
const MAX_FRAME_BYTES: u32 = 128 << 10;

/// A connection to one server. Clones share it, and calls may run side by side.
#[derive(Clone, Debug)]
pub struct Client {
    address: Arc<str>,
    channel: Channel,
    options: Arc<ClientOptions>,
}

impl Client {
    /// Connects to a server at `address`, such as `http://127.0.0.1:50051`; `http://` may be left
    /// out.
    ///
    /// # Errors
    /// When the address is not one, or nothing answers there.
    pub async fn connect(address: &str, options: ClientOptions) -> Result<Self, ClientError> {
        let not_one = || ClientError::Address { found: address.to_owned() };
        let uri =
            if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
        let endpoint = Endpoint::from_shared(uri.clone()).map_err(|_| not_one())?;
        let parts = endpoint.uri();
        if parts.scheme_str() != Some("http") || parts.port().is_none() {
            return Err(not_one());
        }
        let channel = endpoint
            .connect_timeout(options.connect_timeout)
            .initial_stream_window_size(options.stream_window_bytes)
            .initial_connection_window_size(options.connection_window_bytes)
            .max_frame_size(MAX_FRAME_BYTES)
            .tcp_nodelay(true)
            .connect()
            .await
            .map_err(|error| ClientError::Unreachable {
                address: uri.clone(),
                reason: root_cause(&error),
            })?;
        Ok(Self { address: uri.into(), channel, options: Arc::new(options) })
    }

    /// Where this client is connected to.
    pub fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    pub(crate) fn max_message_bytes(&self) -> usize {
        self.options.max_message_bytes
    }

    /// Scores one clip.
    ///
    /// # Errors
    /// When the server refuses the clip, or none of the attempts that the deadline and the
    /// [`RetryPolicy`] allow succeeds.
    pub async fn score_clip(
        &self,
        request: v1::ScoreClipRequest,
    ) -> Result<v1::ScoreClipResponse, ClientError> {
        let limit = self.options.max_message_bytes;
        self.call(request, |channel, request| async move {
            ScoringServiceClient::new(channel)
                .max_decoding_message_size(limit)
                .max_encoding_message_size(limit)
                .score_clip(request)
                .await
        })
        .await
    }

    /// Every loaded model, and which of them answers requests that name none.
    ///
    /// # Errors
    /// When no attempt succeeds.
    pub async fn models(&self) -> Result<v1::ListModelsResponse, ClientError> {
        self.call(v1::ListModelsRequest {}, |channel, request| async move {
            ModelServiceClient::new(channel).list_models(request).await
        })
        .await
    }

    /// One model by name, or the default model for an empty name.
    ///
    /// # Errors
    /// When there is no such model, or no attempt succeeds.
    pub async fn model(&self, name: &str) -> Result<v1::Model, ClientError> {
        let request = v1::GetModelRequest { model: name.to_owned() };
        let response: v1::GetModelResponse = self
            .call(request, |channel, request| async move {
                ModelServiceClient::new(channel).get_model(request).await
            })
            .await?;
        response.model.ok_or_else(|| ClientError::Incomplete {
            address: self.address.to_string(),
            field: "model",
        })
    }

    /// Whether the server, or one of its services by full name, serves.
    ///
    /// # Errors
    /// When the server knows no such service, or no attempt succeeds.
    pub async fn health(&self, service: &str) -> Result<Health, ClientError> {
        let request = HealthCheckRequest { service: service.to_owned() };
        let response: HealthCheckResponse = self
            .call(request, |channel, request| async move {
                HealthClient::new(channel).check(request).await
            })
            .await?;
        Ok(match response.status() {
            ServingStatus::Serving => Health::Serving,
            ServingStatus::NotServing => Health::NotServing,
            ServingStatus::Unknown | ServingStatus::ServiceUnknown => Health::Unknown,
        })
    }

    /// Sends a request until it is answered, within one deadline.
    async fn call<Q, A, F, R>(&self, request: Q, send: F) -> Result<A, ClientError>
    where
        Q: Clone,
        F: Fn(Channel, Request<Q>) -> R,
        R: Future<Output = Result<Response<A>, Status>>,
    {
        let deadline = Instant::now() + self.options.deadline;
        let mut attempt = 1;
        loop {
            let mut message = Request::new(request.clone());
            message.set_timeout(deadline.saturating_duration_since(Instant::now()));
            let sent = send(self.channel.clone(), message);
            let status = match tokio::time::timeout_at(deadline, sent).await {
                Ok(Ok(response)) => return Ok(response.into_inner()),
                Ok(Err(status)) => status,
                Err(_) => return Err(self.deadline_passed()),
            };
            // Tonic's own timer runs for the same time, rounded down to what its header can say,
            // and calls its end a cancellation.
            let timer_ended = status.code() == Code::Cancelled
                && Instant::now() + Duration::from_millis(2) >= deadline;
            if timer_ended || status.code() == Code::DeadlineExceeded {
                return Err(self.deadline_passed());
            }
            let wait = self.options.retry.wait(&status, attempt, fastrand::f64());
            match wait {
                Some(wait) if Instant::now() + wait < deadline => tokio::time::sleep(wait).await,
                _ => return Err(ClientError::from_status(&self.address, &status)),
            }
            attempt += 1;
        }
    }

    fn deadline_passed(&self) -> ClientError {
        ClientError::Deadline { address: self.address.to_string(), deadline: self.options.deadline }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tonic_types::{ErrorDetails, StatusExt};

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(30);

    /// A client whose calls are answered by the test, not over its channel.
    fn client() -> Client {
        Client {
            address: "http://127.0.0.1:1".into(),
            channel: Endpoint::from_static("http://127.0.0.1:1").connect_lazy(),
            options: Arc::new(ClientOptions { deadline: DEADLINE, ..ClientOptions::default() }),
        }
    }

    /// Refuses the first call, asking the caller to come back after `delay`, and answers others.
    /// Gives the outcome, with the times of the calls and of the end, from the start.
    async fn refused_once(delay: Duration) -> (Result<(), ClientError>, Vec<Duration>) {
        let started = Instant::now();
        let calls = Mutex::new(Vec::new());
        let outcome = client()
            .call((), |_, _: Request<()>| {
                let mut calls = calls.lock().unwrap();
                calls.push(started.elapsed());
                let details = ErrorDetails::with_retry_info(Some(delay));
                let full = Status::with_error_details(Code::ResourceExhausted, "full", details);
                let answer = if calls.len() == 1 { Err(full) } else { Ok(Response::new(())) };
                async move { answer }
            })
            .await;
        let mut times = calls.into_inner().unwrap();
        times.push(started.elapsed());
        (outcome, times)
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_comes_back_before_the_server_says() {
        let delay = Duration::from_millis(250);
        let (outcome, times) = refused_once(delay).await;
        outcome.unwrap();
        // And up to one backoff of 50 ms more, with the timer's granularity of a millisecond.
        let range = delay..=delay + Duration::from_millis(51);
        assert!(times.len() == 3 && range.contains(&times[1]), "{times:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn no_retry_outlives_the_deadline() {
        let (outcome, times) = refused_once(20 * DEADLINE).await;
        assert_eq!(outcome.unwrap_err().code(), Some(Code::ResourceExhausted));
        assert_eq!(times, [Duration::ZERO; 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_call_ends_at_its_deadline() {
        let started = Instant::now();
        let silence = |_, _: Request<()>| std::future::pending::<Result<Response<()>, Status>>();
        let error = client().call((), silence).await.unwrap_err();
        assert_eq!(error.code(), Some(Code::DeadlineExceeded));
        let took = started.elapsed();
        assert!(took >= DEADLINE && took <= DEADLINE + Duration::from_millis(1), "{took:?}");
    }
}
