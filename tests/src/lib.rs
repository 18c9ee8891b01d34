//! Protoguard from end to end: the real programs, real sockets, other people's clients.
//!
//! The tests are in `tests/e2e`, one module a behaviour. They start the programs that cargo built
//! beside them and link none of them, so that what is tested is what is shipped. `cargo xtask
//! test` builds the programs and installs the foreign clients first; `golden/` holds small arrays
//! that other implementations computed, for the crates' own tests.
