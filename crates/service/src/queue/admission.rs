//! The bound on what a model holds, taken before anything is decoded.
//!
//! tonic's and tower's limits count requests of one connection; this one counts clips and bytes of
//! all connections together, which is what memory is made of.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::queue::fair_queue::{CallerId, FIRST_STREAM};

/// The bound of one model's queue: clips that are admitted and not yet answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdmissionLimits {
    /// Clips.
    pub max_clips: usize,
    /// Bytes of requests and of their decoded clips. A lone request is always admitted.
    pub max_bytes: usize,
}

/// Counts what one model has admitted and not yet answered.
#[derive(Debug)]
pub(crate) struct Admission {
    limits: AdmissionLimits,
    in_use: Mutex<InUse>,
    /// Told when nothing is in use.
    empty: Notify,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct InUse {
    pub(crate) clips: usize,
    /// Those of streams among them.
    of_streams: usize,
    pub(crate) bytes: usize,
    /// The clips of each caller that has some.
    callers: HashMap<CallerId, usize>,
    /// Whether the model was replaced and takes nothing more.
    pub(crate) closed: bool,
}

/// Why a clip is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Overloaded(Overloaded),
    /// Another model stands in this one's place now.
    Closed,
}

/// The bound that a request would have broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overloaded {
    pub(crate) unit: &'static str,
    pub(crate) in_use: usize,
    pub(crate) limit: usize,
}

/// The right of one clip to be decoded, queued and computed; dropping it makes room.
#[derive(Debug)]
pub(crate) struct Permit {
    admission: Arc<Admission>,
    caller: CallerId,
    bytes: usize,
}

impl Admission {
    pub(crate) fn new(limits: AdmissionLimits) -> Arc<Self> {
        Arc::new(Self { limits, in_use: Mutex::default(), empty: Notify::new() })
    }

    /// Takes room for one clip of `bytes`, or says which bound is full. A clip alone is always
    /// admitted, so that no accepted message waits for ever.
    pub(crate) fn admit(
        self: &Arc<Self>,
        caller: CallerId,
        bytes: usize,
    ) -> Result<Permit, Refusal> {
        let AdmissionLimits { max_clips, max_bytes } = self.limits;
        let full = |unit, in_use, limit| Refusal::Overloaded(Overloaded { unit, in_use, limit });
        let mut in_use = self.lock();
        if in_use.closed {
            return Err(Refusal::Closed);
        }
        if in_use.clips >= max_clips {
            return Err(full("clips", in_use.clips, max_clips));
        }
        // Streams come again at once where there is no room; other callers keep half of it.
        let is_stream = caller >= FIRST_STREAM;
        let limit = max_clips.div_ceil(2);
        if is_stream && in_use.of_streams >= limit {
            return Err(full("clips of streams", in_use.of_streams, limit));
        }
        if in_use.clips > 0 && in_use.bytes.saturating_add(bytes) > max_bytes {
            return Err(full("bytes", in_use.bytes, max_bytes));
        }
        in_use.clips += 1;
        in_use.of_streams += usize::from(is_stream);
        in_use.bytes += bytes;
        *in_use.callers.entry(caller).or_default() += 1;
        Ok(Permit { admission: Arc::clone(self), caller, bytes })
    }

    /// Clips that would be computed before one more of this caller, as callers take turns.
    pub(crate) fn ahead_of(&self, caller: CallerId) -> usize {
        let in_use = self.lock();
        let turns = in_use.callers.get(&caller).map_or(1, |own| own + 1);
        in_use.callers.values().map(|&clips| clips.min(turns)).sum()
    }

    /// Admits nothing from here on, and waits until what was admitted is answered.
    pub(crate) async fn close(&self) {
        self.lock().closed = true;
        loop {
            let empty = self.empty.notified();
            if self.lock().clips == 0 {
                return;
            }
            empty.await;
        }
    }

    #[cfg(test)]
    pub(crate) fn in_use(&self) -> InUse {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, InUse> {
        // The counters are consistent at every step, so a panic elsewhere spoils nothing.
        self.in_use.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn caller(&self) -> CallerId {
        self.caller
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut in_use = self.admission.lock();
        in_use.clips -= 1;
        in_use.of_streams -= usize::from(self.caller >= FIRST_STREAM);
        in_use.bytes -= self.bytes;
        if let Some(clips) = in_use.callers.get_mut(&self.caller) {
            *clips -= 1;
            if *clips == 0 {
                in_use.callers.remove(&self.caller);
            }
        }
        if in_use.clips == 0 {
            self.admission.empty.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALLER: CallerId = 1;

    fn admission() -> Arc<Admission> {
        Admission::new(AdmissionLimits { max_clips: 2, max_bytes: 100 })
    }

    #[test]
    fn room_comes_back_when_a_permit_is_dropped() {
        let admission = admission();
        let first = admission.admit(CALLER, 10).unwrap();
        let _second = admission.admit(CALLER, 10).unwrap();
        let full = admission.admit(CALLER, 10).unwrap_err();
        let expected = Overloaded { unit: "clips", in_use: 2, limit: 2 };
        assert_eq!(full, Refusal::Overloaded(expected));
        drop(first);
        assert!(admission.admit(CALLER, 10).is_ok());
    }

    #[test]
    fn streams_leave_other_callers_half_of_the_room() {
        let admission = Admission::new(AdmissionLimits { max_clips: 3, max_bytes: 100 });
        let admit = |caller| admission.admit(caller, 1);
        let first = admit(FIRST_STREAM).unwrap();
        let _second = admit(FIRST_STREAM + 1).unwrap();
        let full = Overloaded { unit: "clips of streams", in_use: 2, limit: 2 };
        assert_eq!(admit(FIRST_STREAM + 2).unwrap_err(), Refusal::Overloaded(full));
        let _other = admit(CALLER).unwrap();
        drop(first);
        assert!(admit(FIRST_STREAM).is_ok());
    }

    #[test]
    fn bytes_are_bounded_except_for_a_clip_alone() {
        let admission = admission();
        let large = admission.admit(CALLER, 500).unwrap();
        let full = admission.admit(CALLER, 1).unwrap_err();
        let expected = Overloaded { unit: "bytes", in_use: 500, limit: 100 };
        assert_eq!(full, Refusal::Overloaded(expected));
        drop(large);
        assert_eq!(admission.in_use(), InUse::default());
    }

    #[test]
    fn bytes_are_taken_to_the_last_one() {
        let admission = Admission::new(AdmissionLimits { max_clips: 3, max_bytes: 100 });
        let _held = [60, 40].map(|bytes| admission.admit(CALLER, bytes).unwrap());
        let full = admission.admit(CALLER, 1).unwrap_err();
        let expected = Overloaded { unit: "bytes", in_use: 100, limit: 100 };
        assert_eq!(full, Refusal::Overloaded(expected));
    }

    #[tokio::test]
    async fn a_closed_admission_is_empty_once_all_is_answered() {
        let admission = admission();
        let permits = [admission.admit(CALLER, 10).unwrap(), admission.admit(CALLER, 10).unwrap()];
        let closing = tokio::spawn({
            let admission = Arc::clone(&admission);
            async move { admission.close().await }
        });
        while !admission.in_use().closed {
            tokio::task::yield_now().await;
        }
        assert_eq!(admission.admit(CALLER, 10).unwrap_err(), Refusal::Closed);
        assert!(!closing.is_finished());
        drop(permits);
        closing.await.unwrap();
    }

    #[test]
    fn a_caller_waits_for_the_turns_of_others_and_not_for_all_that_they_have() {
        let admission = Admission::new(AdmissionLimits { max_clips: 9, max_bytes: 100 });
        let admit = |caller| admission.admit(caller, 1).unwrap();
        let mut held: Vec<Permit> = [1, 1, 1, 1, 2].map(admit).into();
        assert_eq!([1, 2, 3].map(|caller| admission.ahead_of(caller)), [5, 3, 2]);
        held.truncate(1);
        assert_eq!([1, 2].map(|caller| admission.ahead_of(caller)), [1, 1]);
        held.clear();
        assert_eq!(admission.in_use(), InUse::default());
    }
}
