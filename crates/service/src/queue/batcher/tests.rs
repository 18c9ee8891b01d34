//! The task under paused time: whatever passes here passes without waiting, unless a timer was
//! really started.

use std::sync::Arc;
use std::time::Duration;

use protoguard_core::{Clip, ClipShape, Frame, Outputs, ScorerInput};
use tokio::sync::oneshot;

use super::*;
use crate::metrics::{Metrics, ModelMetrics};
use crate::queue::admission::{Admission, AdmissionLimits, InUse};
use crate::queue::dispatcher::BatchPolicy;
use crate::queue::job::{Scored, Ticket};
use crate::worker::batch::Batch;

type Answer = oneshot::Receiver<Result<Scored, ServiceError>>;

/// A batcher whose workers are the test.
struct Bench {
    events: mpsc::UnboundedSender<Event>,
    workers: Vec<mpsc::Receiver<Vec<Job>>>,
    admission: Arc<Admission>,
    state: watch::Receiver<ModelState>,
    closed: CancellationToken,
    metrics: Metrics,
    /// The channels of restarted workers.
    restarted: mpsc::UnboundedReceiver<mpsc::Receiver<Vec<Job>>>,
}

impl Bench {
    fn start(workers: usize) -> Self {
        let limits = AdmissionLimits { max_clips: 100, max_bytes: usize::MAX };
        let admission = Admission::new(limits);
        let policy = BatchPolicy { max_batch_size: 3 };
        let (events, inbox) = mpsc::unbounded_channel();
        let (state_sender, state) = watch::channel(ModelState::Loading);
        let closed = CancellationToken::new();
        let (senders, receivers) = (0..workers).map(|_| mpsc::channel(1)).unzip();
        let (report, restarted) = mpsc::unbounded_channel();
        let restart = Box::new(move |_| {
            let (sender, receiver) = mpsc::channel(1);
            report.send(receiver).unwrap();
            Ok(sender)
        });
        let batcher = Batcher {
            model: "hall".to_owned(),
            dispatcher: Dispatcher::new(policy, workers),
            workers: senders,
            restarts: Restarts::new(workers, restart),
            events: inbox,
            state: state_sender,
            closed: closed.clone(),
        };
        tokio::spawn(batcher.run());
        let metrics = Metrics::default();
        let bench =
            Self { events, workers: receivers, admission, state, closed, metrics, restarted };
        (0..workers)
            .for_each(|worker| bench.tell(Event::WorkerReady { worker, best_batch_size: None }));
        bench
    }

    fn tell(&self, event: Event) {
        self.events.send(event).unwrap();
    }

    fn enqueue(&self, deadline: Option<Duration>) -> Answer {
        let (reply, answer) = oneshot::channel();
        let frame = Frame::new(16, 16, vec![0; 768]).unwrap();
        let clip = Clip::new(ClipShape::new(4, 16).unwrap(), vec![frame; 5]).unwrap();
        let now = Instant::now();
        let ticket = Ticket {
            reply,
            deadline: deadline.map(|patience| now + patience),
            enqueued_at: now,
            permit: self.admission.admit(0, 1).unwrap(),
            span: tracing::Span::none(),
            request_id: String::new(),
            waiting: None,
            metrics: ModelMetrics::new(&self.metrics, "hall"),
        };
        let input = ScorerInput { clip, outputs: Outputs::NONE };
        self.tell(Event::Enqueue(Box::new(Job { input, ticket })));
        answer
    }

    async fn batch(&mut self, worker: usize) -> Vec<Job> {
        self.workers[worker].recv().await.unwrap()
    }

    /// Lets the batcher do all that it can do now.
    async fn settle(&self) {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lone_clip_on_an_idle_worker_waits_for_no_timer() {
    let mut bench = Bench::start(1);
    let started = Instant::now();
    let _answer = bench.enqueue(None);
    assert_eq!(bench.batch(0).await.len(), 1);
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_busy_worker_is_computed_together() {
    let mut bench = Bench::start(1);
    let _first = bench.enqueue(None);
    assert_eq!(bench.batch(0).await.len(), 1);
    let _waiting = [bench.enqueue(None), bench.enqueue(None)];
    bench.settle().await;
    assert!(bench.workers[0].try_recv().is_err(), "a batch was frozen while it was small");
    bench.tell(Event::WorkerDone(0));
    assert_eq!(bench.batch(0).await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_full_batch_lies_ready_while_the_worker_computes() {
    let mut bench = Bench::start(1);
    let _first = bench.enqueue(None);
    assert_eq!(bench.batch(0).await.len(), 1);
    let _waiting: Vec<Answer> = (0..4).map(|_| bench.enqueue(None)).collect();
    assert_eq!(bench.batch(0).await.len(), 3);
    bench.settle().await;
    assert!(bench.workers[0].try_recv().is_err());
    bench.tell(Event::WorkerDone(0));
    bench.tell(Event::WorkerDone(0));
    assert_eq!(bench.batch(0).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_makes_room_at_once() {
    let mut bench = Bench::start(1);
    let _first = bench.enqueue(None);
    let computing = bench.batch(0).await;
    // Fewer than a full batch, which would already lie with the worker.
    let gone = bench.enqueue(None);
    let late = bench.enqueue(Some(Duration::from_millis(5)));
    bench.settle().await;
    assert_eq!(bench.admission.in_use().clips, 3);
    drop(gone);
    tokio::time::advance(Duration::from_millis(6)).await;
    drop(late);
    bench.tell(Event::GivenUp);
    bench.settle().await;
    assert_eq!(bench.admission.in_use().clips, 1);
    let kept = bench.enqueue(None);
    bench.tell(Event::WorkerDone(0));
    assert_eq!(bench.batch(0).await.len(), 1);
    drop((computing, kept));
    assert_eq!(bench.admission.in_use(), InUse::default());
}

#[tokio::test(start_paused = true)]
async fn a_lost_device_is_told_at_once_and_its_jobs_go_to_another_and_then_to_none() {
    let mut bench = Bench::start(2);
    let answer = bench.enqueue(None);
    let left = bench.batch(0).await;
    let source = ScorerError::DeviceLost { reason: "gone".to_owned() };
    bench.tell(Event::WorkerLost { worker: 0, source: source.clone(), left });
    let left = bench.batch(1).await;
    assert_eq!((left.len(), bench.state.borrow().clone()), (1, ModelState::Lost(source.clone())));
    bench.tell(Event::WorkerLost { worker: 1, source: source.clone(), left });
    let why = Unavailable::NoWorker;
    let refused = Err(ServiceError::Unavailable { model: "hall".to_owned(), why });
    assert_eq!(answer.await.unwrap(), refused);
    assert_eq!(bench.enqueue(None).await.unwrap(), refused);
    assert!(bench.restarted.try_recv().is_err(), "a lost device was tried again");
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_ends_otherwise_is_restarted_with_its_jobs_and_not_for_ever() {
    let mut bench = Bench::start(1);
    let source = ScorerError::Load { reason: "worker panicked".to_owned() };
    let lose = |left| Event::WorkerLost { worker: 0, source: source.clone(), left };
    let answer = bench.enqueue(None);
    let mut left = bench.batch(0).await;
    for _ in 0..MAX_RESTARTS {
        bench.tell(lose(left));
        bench.workers[0] = bench.restarted.recv().await.unwrap();
        assert_eq!(*bench.state.borrow(), ModelState::Ready);
        bench.tell(Event::WorkerReady { worker: 0, best_batch_size: None });
        left = bench.batch(0).await;
        assert_eq!(left.len(), 1);
    }
    bench.tell(lose(left));
    assert!(answer.await.unwrap().is_err());
    assert_eq!(*bench.state.borrow(), ModelState::Lost(source.clone()));
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_computes_again_may_be_lost_again() {
    let mut bench = Bench::start(1);
    let source = ScorerError::Load { reason: "worker panicked".to_owned() };
    for _ in 0..3 * MAX_RESTARTS {
        bench.tell(Event::WorkerLost { worker: 0, source: source.clone(), left: Vec::new() });
        bench.workers[0] = bench.restarted.recv().await.unwrap();
        bench.tell(Event::WorkerReady { worker: 0, best_batch_size: None });
        let _answer = bench.enqueue(None);
        assert_eq!(bench.batch(0).await.len(), 1);
        bench.tell(Event::WorkerDone(0));
    }
    bench.settle().await;
    assert_eq!(*bench.state.borrow(), ModelState::Ready);
}

#[tokio::test(start_paused = true)]
async fn what_lapses_is_counted_by_its_reason() {
    let mut bench = Bench::start(1);
    let _first = bench.enqueue(None);
    let _computing = bench.batch(0).await;
    let gone = bench.enqueue(None);
    let _late = bench.enqueue(Some(Duration::from_millis(5)));
    bench.settle().await;
    drop(gone);
    tokio::time::advance(Duration::from_millis(6)).await;
    bench.tell(Event::GivenUp);
    bench.settle().await;
    let _later = bench.enqueue(Some(Duration::from_millis(5)));
    bench.settle().await;
    tokio::time::advance(Duration::from_millis(6)).await;
    bench.tell(Event::GivenUp);
    bench.settle().await;
    let page = bench.metrics.page();
    for line in [
        r#"protoguard_clips_cancelled_total{model="hall"} 1"#,
        r#"protoguard_clips_expired_total{model="hall"} 2"#,
    ] {
        assert!(page.contains(line), "{line} is not in {page}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_clip_is_hopeless_once_its_pass_would_end_after_its_deadline() {
    let ms = Duration::from_millis;
    let mut bench = Bench::start(1);
    let start = Instant::now();
    let _answer = bench.enqueue(Some(ms(5)));
    let jobs = bench.batch(0).await;
    let lapse = |after, compute| jobs[0].ticket.lapse(start + ms(after), ms(compute));
    assert_eq!([lapse(0, 5), lapse(2, 3), lapse(4, 1)], [None; 3]);
    assert_eq!([lapse(0, 6), lapse(2, 4), lapse(4, 9)], [Some(Lapse::Hopeless); 3]);
    assert_eq!([lapse(5, 0), lapse(6, 1)], [Some(Lapse::Expired); 2]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_says_whether_a_pass_would_be_too_late_and_not_who_left() {
    let ms = Duration::from_millis;
    let mut bench = Bench::start(1);
    let answers = [bench.enqueue(Some(ms(5))), bench.enqueue(None)];
    let mut batch = Batch::from(bench.batch(0).await);
    assert!(!batch.drop_lapsed(ms(5)));
    assert_eq!(batch.len(), 2);
    assert!(batch.drop_lapsed(ms(6)));
    assert_eq!(batch.len(), 1, "the clip without a deadline");
    drop(answers);
    assert!(!batch.drop_lapsed(ms(6)));
    assert_eq!(batch.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn closing_answers_what_waits_and_ends_the_workers() {
    let mut bench = Bench::start(1);
    let _computing = bench.enqueue(None);
    let _batch = bench.batch(0).await;
    let waiting = bench.enqueue(None);
    bench.settle().await;
    bench.closed.cancel();
    let why = Unavailable::Draining;
    let refused = Err(ServiceError::Unavailable { model: "hall".to_owned(), why });
    assert_eq!(waiting.await.unwrap(), refused);
    assert!(bench.workers[0].recv().await.is_none());
}
