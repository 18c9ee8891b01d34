//! How the threads of a layer wait for work.

use std::env;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// How often a thread of OpenMP polls for work before it sleeps. By libgomp's default it polls for
/// milliseconds, on cores that decoding, the network and other programs need; if it slept at once,
/// every layer would wait for its threads to wake up.
const SPINS: (&str, &str) = ("GOMP_SPINCOUNT", "2000");

/// Replaces this process by the same program with `GOMP_SPINCOUNT` in its environment, and returns where
/// the environment already says how to wait, as it does the second time. libgomp reads the variable
/// when it is loaded, which is before `main`, so that setting it here would be too late.
///
/// # Errors
/// When the program cannot be started again.
pub fn spin_briefly() -> io::Result<()> {
    let (name, spins) = SPINS;
    if [name, "OMP_WAIT_POLICY"].iter().any(|name| env::var_os(name).is_some()) {
        return Ok(());
    }
    let mut again = Command::new(env::current_exe()?);
    again.args(env::args_os().skip(1)).env(name, spins);
    Err(again.exec())
}
