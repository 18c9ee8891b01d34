//! Signals that ask the process to end.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// Whether the process was told to stop. The first SIGTERM or Ctrl-C asks the loop to save and
/// leave between two steps; the second ends the process at once.
#[derive(Debug, Default)]
pub struct Interrupt {
    received: Arc<AtomicUsize>,
}

/// A signal that asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopSignal(i32);

impl Interrupt {
    /// The process's own, watching from the first call on. Before it, a signal ends the process as
    /// the system does: there is nothing to save.
    ///
    /// # Errors
    /// When the system refuses the handlers.
    pub fn watch() -> io::Result<&'static Self> {
        static WATCHED: OnceLock<Interrupt> = OnceLock::new();
        if let Some(interrupt) = WATCHED.get() {
            return Ok(interrupt);
        }
        let (armed, received) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        for signal in [SIGINT, SIGTERM] {
            // In this order: the first signal arms what ends the process at the second.
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&armed))?;
            flag::register(signal, Arc::clone(&armed))?;
            flag::register_usize(signal, Arc::clone(&received), signal as usize)?;
        }
        Ok(WATCHED.get_or_init(|| Self { received }))
    }

    /// As if a signal had come.
    #[cfg(test)]
    pub(crate) fn received(signal: i32) -> Self {
        Self { received: Arc::new(AtomicUsize::new(signal as usize)) }
    }

    /// The signal, once one came.
    pub fn signal(&self) -> Option<StopSignal> {
        match self.received.load(Ordering::SeqCst) {
            0 => None,
            signal => Some(StopSignal(signal as i32)),
        }
    }
}

impl StopSignal {
    /// What a shell would report of a program that the signal ended: 130 or 143.
    pub fn exit_code(self) -> u8 {
        128 + self.0 as u8
    }
}

impl fmt::Display for StopSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0 == SIGINT { "SIGINT" } else { "SIGTERM" })
    }
}
