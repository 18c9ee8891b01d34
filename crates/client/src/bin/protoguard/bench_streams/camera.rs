//! One camera, from its first frame to the answer of its last.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use protoguard_client::{CameraStream, Client, ClientError, ClientOptions, StreamFrames};
use protoguard_proto::v1;
use protoguard_proto::v1::score_stream_response::Message;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, sleep_until};

use super::arguments::{BenchStreamsArguments, Mode};
use super::pictures::{Pictures, bytes_of};
use super::tally::Tally;

/// Between two attempts to find a server.
const AGAIN: Duration = Duration::from_millis(50);
/// A camera that finds no server for so long gives up.
const PATIENCE: Duration = Duration::from_secs(30);
/// Frames that a file may have under way.
const AHEAD: usize = 32;

/// What all cameras do.
#[derive(Debug)]
pub(crate) struct Plan {
    pictures: Pictures,
    servers: Servers,
    opening: v1::StreamOpening,
    mode: Mode,
    interval: Duration,
    /// Microseconds between two frames by their time stamps.
    stamp_us: i64,
    frames: u64,
    began: Instant,
}

impl Plan {
    pub(crate) fn new(
        arguments: &BenchStreamsArguments,
        pictures: Pictures,
        servers: Servers,
    ) -> Self {
        let stamp_ms = arguments.stamp_ms.unwrap_or(arguments.interval_ms);
        let mode = match arguments.mode {
            Mode::Live => v1::StreamMode::Live,
            Mode::Lossless => v1::StreamMode::Lossless,
        };
        let alarm = arguments
            .false_alarms
            .map(|rate| v1::AlarmOptions { false_alarms_an_hour: rate, ..Default::default() });
        let opening = v1::StreamOpening {
            model: arguments.model.clone(),
            mode: mode.into(),
            alarm,
            frame_interval_ms: f64::from(stamp_ms),
            ..Default::default()
        };
        Self {
            pictures,
            servers,
            opening,
            mode: arguments.mode,
            interval: Duration::from_millis(arguments.interval_ms.into()),
            stamp_us: 1000 * i64::from(stamp_ms),
            frames: arguments.frames,
            began: Instant::now(),
        }
    }

    fn frame(&self, id: u64) -> v1::StreamFrame {
        let capture_time_us = self.stamp_us * id as i64;
        v1::StreamFrame { id, capture_time_us, picture: Some(self.pictures.at(id)) }
    }

    fn opening(&self, camera: String, token: &[u8]) -> v1::StreamOpening {
        let resume_token = token.to_vec().into();
        v1::StreamOpening { camera, resume_token, ..self.opening.clone() }
    }
}

/// Connections to servers, perhaps shared.
#[derive(Debug)]
pub(crate) struct Servers {
    addresses: Vec<String>,
    /// Shared connections a server; none where every camera has its own.
    connections: Option<u16>,
    shared: Mutex<BTreeMap<(usize, u16), Client>>,
}

impl Servers {
    pub(crate) fn new(addresses: Vec<String>, connections: Option<u16>) -> Self {
        Self { addresses, connections, shared: Mutex::default() }
    }

    /// A connection for a camera to the server at this place of the round.
    async fn connect(&self, camera: u16, turn: usize) -> Result<Client, ClientError> {
        let server = turn % self.addresses.len();
        let new = || Client::connect(&self.addresses[server], ClientOptions::default());
        let Some(connections) = self.connections else { return new().await };
        let mut shared = self.shared.lock().await;
        let key = (server, camera % connections);
        if let Some(client) = shared.get(&key) {
            return Ok(client.clone());
        }
        let client = new().await?;
        shared.insert(key, client.clone());
        Ok(client)
    }
}

/// Sends a camera's frames at their pace and reads nothing.
pub(crate) async fn send_and_read_nothing(plan: &Plan, number: u16) {
    let Ok(client) = plan.servers.connect(number, 0).await else { return };
    let opening = plan.opening(format!("deaf-{number}"), &[]);
    let Ok(stream) = client.stream(opening).await else { return };
    for id in 0..plan.frames {
        sleep_until(plan.began + plan.interval * id as u32).await;
        let Some(slot) = stream.frames.slot().await else { return };
        slot.send(plan.frame(id));
    }
    // What was sent and not read stays so for as long as the stream is there.
    std::future::pending().await
}

/// One camera.
pub(crate) struct Camera {
    plan: Arc<Plan>,
    number: u16,
    /// The next frame that was never sent.
    next: u64,
    /// What is to be sent before that, because a stream ended: to fill the window, and unanswered.
    again: VecDeque<u64>,
    /// Frames that were sent on this stream and are not answered, with when they were first sent.
    waiting: VecDeque<Sent>,
    /// The last frames that were answered, as many as fill a window.
    answered: VecDeque<u64>,
    past_frames: usize,
    token: Vec<u8>,
    tally: Tally,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    id: u64,
    at: Instant,
    /// It was answered on another stream.
    fills: bool,
}

/// How a stream ended.
enum End {
    Done,
    /// The server said so, or is gone.
    Elsewhere,
    Failed(ClientError),
}

impl Camera {
    pub(crate) fn new(plan: Arc<Plan>, number: u16) -> Self {
        Self {
            plan,
            number,
            next: 0,
            again: VecDeque::new(),
            waiting: VecDeque::new(),
            answered: VecDeque::new(),
            past_frames: 0,
            token: Vec::new(),
            tally: Tally::default(),
        }
    }

    /// Streams until every frame is answered, at one server after the other.
    pub(crate) async fn run(mut self) -> Tally {
        let mut turn = usize::from(self.number);
        let mut found = Instant::now();
        loop {
            let end = match self.open(turn).await {
                Ok(stream) => {
                    found = Instant::now();
                    self.watch(stream).await
                }
                Err(_) if found.elapsed() < PATIENCE => End::Elsewhere,
                Err(error) => End::Failed(error),
            };
            match end {
                End::Done => break,
                End::Elsewhere => {
                    turn += 1;
                    self.begin_again();
                    sleep(AGAIN).await;
                }
                End::Failed(error) => {
                    self.tally.failed(&error);
                    break;
                }
            }
        }
        self.tally.finish(self.plan.frames);
        self.tally
    }

    async fn open(&mut self, turn: usize) -> Result<CameraStream, ClientError> {
        let client = self.plan.servers.connect(self.number, turn).await?;
        let opening = self.plan.opening(format!("camera-{}", self.number), &self.token);
        client.stream(opening).await
    }

    /// Puts what the next stream needs before what is new.
    fn begin_again(&mut self) {
        let unanswered = self.waiting.drain(..).filter(|sent| !sent.fills).map(|sent| sent.id);
        let mut again: Vec<u64> = self.answered.iter().copied().chain(unanswered).collect();
        again.extend(self.again.drain(..));
        again.sort_unstable();
        again.dedup();
        self.again = again.into();
    }

    async fn watch(&mut self, stream: CameraStream) -> End {
        let CameraStream { mut frames, mut answers } = stream;
        let mut closing = false;
        loop {
            let due = self.due();
            let all_sent = due.is_none();
            if all_sent && !closing {
                frames.finish();
            }
            let room = self.plan.mode == Mode::Live || self.waiting.len() < AHEAD;
            tokio::select! {
                biased;
                answer = answers.next() => match answer {
                    Ok(Some(Message::Closing(last))) => {
                        self.token = last.resume_token.to_vec();
                        self.tally.handovers += 1;
                        closing = true;
                    }
                    Ok(Some(message)) => self.read(message),
                    Ok(None) => return End::Done,
                    Err(error) if elsewhere(&error) => return End::Elsewhere,
                    Err(error) => return End::Failed(error),
                },
                () = self.send(&frames, due), if !all_sent && !closing && room => {}
            }
        }
    }

    /// When the next frame is to be sent; nothing after the last.
    fn due(&self) -> Option<Instant> {
        match (self.again.front(), self.plan.mode) {
            (Some(_), _) => Some(Instant::now()),
            (None, _) if self.next >= self.plan.frames => None,
            (None, Mode::Live) => Some(self.plan.began + self.plan.interval * self.next as u32),
            (None, Mode::Lossless) => Some(Instant::now()),
        }
    }

    /// Sends the next frame when it is due; nothing is lost where this is dropped before.
    async fn send(&mut self, frames: &StreamFrames, due: Option<Instant>) {
        if let Some(due) = due {
            sleep_until(due).await;
        }
        let Some(slot) = frames.slot().await else {
            // The answers say why.
            return std::future::pending().await;
        };
        let id = self.again.pop_front().unwrap_or_else(|| {
            self.next += 1;
            self.next - 1
        });
        let frame = self.plan.frame(id);
        let fills = self.answered.contains(&id);
        if !fills {
            self.tally.sent(id, bytes_of(&frame));
        }
        self.waiting.push_back(Sent { id, at: Instant::now(), fills });
        slot.send(frame);
    }

    fn read(&mut self, message: Message) {
        match message {
            Message::Opened(opened) => self.past_frames = opened.past_frames as usize,
            Message::Frame(answer) => self.answer(&answer),
            Message::Alarm(event) => self.tally.alarm(&event),
            Message::CameraState(_) | Message::Closing(_) => {}
        }
    }

    fn answer(&mut self, answer: &v1::FrameAnswer) {
        let Some(sent) = self.waiting.pop_front() else {
            self.tally.misordered += 1;
            return;
        };
        if sent.id != answer.id {
            self.tally.misordered += 1;
        }
        if sent.fills {
            return;
        }
        self.tally.answered(answer, sent.at.elapsed(), bytes_of(answer));
        self.answered.push_back(sent.id);
        while self.answered.len() > self.past_frames {
            self.answered.pop_front();
        }
    }
}

/// Whether another server may go on with the stream.
fn elsewhere(error: &ClientError) -> bool {
    error.code() == Some(tonic::Code::Unavailable)
}
