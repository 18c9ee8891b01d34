//! Turns on a device, between workers that serve and replicas that warm up beside them.
//!
//! Forward passes of several replicas on the same cores cost far more than one after the other: the
//! threads of each wait for one another, and those that do not run make all wait. In a soak at 70 %
//! load every reload took ten seconds, in which hardly a clip was answered. So beside workers that
//! serve, a pass of a replica that warms up has the device to itself, and leaves it alone for three
//! times as long afterwards. Before anybody serves there are no turns.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread;

use tokio::time::Instant;

/// A pass is followed by so many times its length of rest.
const REST: u32 = 3;

/// The devices of a service, by name.
#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<HashMap<String, Turn>>);

/// One device's; clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turn(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Held by every pass that serves, and alone by one that warms up.
    device: RwLock<()>,
    /// Workers that serve.
    serving: AtomicUsize,
}

/// A worker that serves, while this lives.
#[derive(Debug)]
pub(crate) struct Serving(Turn);

impl Turns {
    pub(crate) fn on(&self, device: &str) -> Turn {
        let mut devices = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        devices.entry(device.to_owned()).or_default().clone()
    }
}

impl Turn {
    /// From here on replicas that warm up wait for their turns.
    pub(crate) fn begin_serving(&self) -> Serving {
        self.0.serving.fetch_add(1, Ordering::Relaxed);
        Serving(self.clone())
    }

    /// Whether anybody serves.
    pub(crate) fn is_serving(&self) -> bool {
        self.0.serving.load(Ordering::Relaxed) > 0
    }

    /// A pass for clips that wait.
    pub(crate) fn serve<T>(&self, pass: impl FnOnce() -> T) -> T {
        let _shared = self.0.device.read().unwrap_or_else(PoisonError::into_inner);
        pass()
    }

    /// A pass that nobody waits for.
    pub(crate) fn warm_up<T>(&self, pass: impl FnOnce() -> T) -> T {
        if !self.is_serving() {
            return pass();
        }
        let alone = self.0.device.write().unwrap_or_else(PoisonError::into_inner);
        let started = Instant::now();
        let done = pass();
        let took = started.elapsed();
        drop(alone);
        thread::sleep(took * REST);
        done
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.0.serving.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_device_has_one_turn_and_others_have_their_own() {
        let turns = Turns::default();
        let _serving = turns.on("cpu").begin_serving();
        assert!(turns.on("cpu").is_serving());
        assert!(!turns.on("cuda:0").is_serving());
    }

    #[test]
    fn beside_workers_that_serve_a_warm_up_is_alone_and_rests() {
        let turn = Turn::default();
        let serving = turn.begin_serving();
        let (begun, begins) = mpsc::channel();
        thread::scope(|scope| {
            turn.serve(|| {
                scope.spawn(|| turn.warm_up(|| begun.send(()).unwrap()));
                // Nobody else gets in once somebody waits to be alone: then it is blocked.
                while turn.0.device.try_read().is_ok() {
                    let early = begins.try_recv();
                    assert!(early.is_err(), "a warm-up began beside a pass that serves");
                    thread::yield_now();
                }
                let early = begins.try_recv();
                assert!(early.is_err(), "a warm-up began beside a pass that serves");
            });
            begins.recv().unwrap();
        });
        let pass = Duration::from_millis(20);
        let started = Instant::now();
        turn.warm_up(|| thread::sleep(pass));
        assert!(started.elapsed() >= pass * (1 + REST));
        drop(serving);
        assert!(!turn.is_serving());
    }

    #[test]
    fn passes_that_serve_do_not_wait_for_each_other() {
        let turn = Turn::default();
        turn.serve(|| turn.serve(|| ()));
        // Nor do warm-ups before anybody serves.
        turn.warm_up(|| turn.warm_up(|| ()));
    }
}
