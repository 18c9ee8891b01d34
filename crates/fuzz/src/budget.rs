use std::time::{Duration, Instant};

/// Environment variable with the seconds that a test may mutate; without it, tests try a fixed
/// number of inputs, so that they take the same way every time.
pub const SECONDS_VARIABLE: &str = "PROTOGUARD_FUZZ_SECONDS";

/// Environment variable with the seed of such a stretch of time; without it, each is another.
pub const SEED_VARIABLE: &str = "PROTOGUARD_FUZZ_SEED";

/// How many inputs a test tries.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    spent: u64,
    limit: Limit,
}

#[derive(Clone, Copy, Debug)]
enum Limit {
    Inputs(u64),
    Until(Instant),
}

impl Budget {
    /// So many inputs, or as many as fit into the seconds of [`SECONDS_VARIABLE`].
    ///
    /// # Panics
    /// When the variable is not a number: nothing would be tried without a word.
    pub fn of(inputs: u64) -> Self {
        let limit = match std::env::var(SECONDS_VARIABLE) {
            Ok(text) => {
                let seconds = text.parse().unwrap_or_else(|_| {
                    panic!("{SECONDS_VARIABLE} is {text:?}; whole seconds are expected")
                });
                Limit::Until(Instant::now() + Duration::from_secs(seconds))
            }
            Err(_) => Limit::Inputs(inputs),
        };
        Self { spent: 0, limit }
    }

    /// Takes one input; false when there is none left.
    pub fn spend(&mut self) -> bool {
        self.spent += 1;
        match self.limit {
            Limit::Inputs(inputs) => self.spent <= inputs,
            Limit::Until(end) => Instant::now() < end,
        }
    }

    /// A seed for the mutator: the same every time for a number of inputs, another every time for
    /// a stretch of time, unless [`SEED_VARIABLE`] says which.
    pub fn seed(&self) -> u64 {
        let said = std::env::var(SEED_VARIABLE).ok().and_then(|text| text.parse().ok());
        match self.limit {
            Limit::Inputs(_) => 0,
            Limit::Until(_) => said.unwrap_or_else(|| fastrand::u64(..)),
        }
    }
}
