//! Child programs that never outlive the command that started them.
//!
//! A signal to this process becomes SIGTERM to every child; the command then ends by the ordinary
//! path of an error, so that temporary folders and other children are cleaned up on the way.

use std::collections::HashSet;
use std::ffi::c_int;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, kill_process_group, pidfd_open};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

/// How often the memory of a child is looked at. The kernel keeps the peak, so only growth in the
/// last moments of its life can be missed.
const LOOK: Duration = Duration::from_millis(50);

/// The children of this process that are still running.
#[derive(Debug, Default)]
pub struct Children {
    running: Mutex<HashSet<Pid>>,
    interrupted: AtomicBool,
}

impl Children {
    /// Passes signals on as long as somebody holds what this returns: all who ask hold the same.
    /// Afterwards a signal does again what it did before.
    ///
    /// # Errors
    /// When the operating system refuses the signal handlers.
    pub fn watch() -> Result<Arc<Self>> {
        let mut watched = watched();
        if let Some(children) = watched.as_ref().and_then(Weak::upgrade) {
            return Ok(children);
        }
        if watched.is_none() {
            catch_signals()?;
        }
        let children = Arc::new(Self::default());
        *watched = Some(Arc::downgrade(&children));
        Ok(children)
    }

    /// Starts a program.
    ///
    /// # Errors
    /// When it cannot be started, or this command was told to stop.
    pub fn spawn(self: &Arc<Self>, command: &mut Command) -> Result<Running> {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut running = self.lock();
        ensure!(!self.interrupted.load(Ordering::SeqCst), "interrupted");
        let child = command.spawn().with_context(|| format!("{name} cannot be started"))?;
        let pid = Pid::from_child(&child);
        let exit = pidfd_open(pid, PidfdFlags::empty()).context("the child cannot be watched")?;
        running.insert(pid);
        Ok(Running { child, pid, exit, name, ended: None, children: Arc::clone(self) })
    }

    /// Runs a program to its end.
    ///
    /// # Errors
    /// When it cannot be started or fails, which it has explained on standard error.
    pub fn run(self: &Arc<Self>, command: &mut Command) -> Result<Finished> {
        let mut running = self.spawn(command)?;
        let finished = running.end()?;
        ensure!(finished.status.success(), "{} failed ({})", running.name, finished.status);
        Ok(finished)
    }

    /// Runs a program to its end, and hands on each line that it writes to standard error. What the
    /// program starts is signalled with it: `python3` may be a script around Python.
    ///
    /// # Errors
    /// When it cannot be started or listened to, or this command was told to stop.
    pub fn listen(
        self: &Arc<Self>,
        command: &mut Command,
        mut hear: impl FnMut(&str),
    ) -> Result<ExitStatus> {
        let mut running = self.spawn(command.stderr(Stdio::piped()).process_group(0))?;
        let said = running.child.stderr.take().context("a program has no standard error")?;
        running.heard(said, |line| {
            hear(line);
            Ok(())
        })
    }

    /// The same of what it writes to standard output.
    ///
    /// # Errors
    /// As [`Children::listen`], and what `hear` says.
    pub fn read(
        self: &Arc<Self>,
        command: &mut Command,
        hear: impl FnMut(&str) -> Result<()>,
    ) -> Result<ExitStatus> {
        let mut running = self.spawn(command.stdout(Stdio::piped()).process_group(0))?;
        let said = running.child.stdout.take().context("a program has no standard output")?;
        running.heard(said, hear)
    }

    /// Runs a program to its end, with what it starts.
    ///
    /// # Errors
    /// When it cannot be started, or this command was told to stop.
    pub fn status(self: &Arc<Self>, command: &mut Command) -> Result<ExitStatus> {
        Ok(self.spawn(command.process_group(0))?.end()?.status)
    }

    fn interrupt(&self) {
        // Whoever asks twice does not want to wait.
        let again = self.interrupted.swap(true, Ordering::SeqCst);
        self.signal(if again { Signal::KILL } else { Signal::TERM });
    }

    fn signal(&self, signal: Signal) {
        for &pid in self.lock().iter() {
            // It may have ended already: it is reaped only under this lock, so the number is its own.
            let _ = send(pid, signal);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<Pid>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs a program to its end, and ends it and what it starts with this one.
///
/// # Errors
/// When it cannot be started, or this command was told to stop.
pub fn status(command: &mut Command) -> Result<ExitStatus> {
    Children::watch()?.status(command)
}

/// Whom signals are passed on to; nobody before the first has asked.
static WATCHED: Mutex<Option<Weak<Children>>> = Mutex::new(None);

fn watched() -> MutexGuard<'static, Option<Weak<Children>>> {
    WATCHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the thread that passes signals on.
fn catch_signals() -> Result<()> {
    // What nohup told the whole command to ignore stays ignored.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let caught = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| !ignores(&status, *signal));
    let mut signals = Signals::new(caught).context("signals cannot be caught")?;
    std::thread::spawn(move || {
        for signal in signals.forever() {
            let children = watched().as_ref().and_then(Weak::upgrade);
            match children {
                Some(children) => children.interrupt(),
                None => drop(emulate_default_handler(signal)),
            }
        }
    });
    Ok(())
}

/// Whether a process with this text in /proc/PID/status ignores a signal.
fn ignores(status: &str, signal: c_int) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    (mask >> (signal - 1)) & 1 == 1
}

/// How a program ended.
#[derive(Clone, Copy, Debug)]
pub struct Finished {
    /// Its exit status.
    pub status: ExitStatus,
    /// The most memory that was resident at once, in bytes.
    pub peak_bytes: u64,
}

/// A started program; it is ended when this is dropped.
#[derive(Debug)]
pub struct Running {
    /// The program, with its pipes.
    pub child: Child,
    pid: Pid,
    exit: OwnedFd,
    name: String,
    ended: Option<ExitStatus>,
    children: Arc<Children>,
}

impl Running {
    /// Its number; valid as long as this is not dropped.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When the operating system refuses, as it does where the program has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(self.pid, signal)
            .with_context(|| format!("{} cannot be sent a signal", self.name))
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// When the operating system cannot wait.
    pub fn wait(&mut self) -> Result<Finished> {
        let mut peak_bytes = peak_bytes(self.pid);
        while !self.ends_within(LOOK)? {
            peak_bytes = peak_bytes.max(self::peak_bytes(self.pid));
        }
        Ok(Finished { status: self.reap()?, peak_bytes })
    }

    /// Hands on each line of what it says, to its end.
    fn heard(
        &mut self,
        said: impl Read,
        mut hear: impl FnMut(&str) -> Result<()>,
    ) -> Result<ExitStatus> {
        for line in BufReader::new(said).split(b'\n') {
            let line = line.with_context(|| format!("{} cannot be listened to", self.name))?;
            hear(&String::from_utf8_lossy(&line))?;
        }
        Ok(self.end()?.status)
    }

    /// Waits for an end that nobody asked for.
    fn end(&mut self) -> Result<Finished> {
        let finished = self.wait()?;
        ensure!(!self.children.interrupted.load(Ordering::SeqCst), "interrupted");
        Ok(finished)
    }

    /// Asks the program to stop, and waits for it.
    ///
    /// # Errors
    /// When it does not end in time; it is killed then.
    pub fn stop(&mut self, patience: Duration) -> Result<ExitStatus> {
        send(self.pid, Signal::TERM)
            .with_context(|| format!("{} cannot be told to stop", self.name))?;
        if !self.ends_within(patience)? {
            let _ = send(self.pid, Signal::KILL);
            self.reap()?;
            bail!("{} was still running {patience:?} after SIGTERM", self.name);
        }
        self.reap()
    }

    fn ends_within(&self, patience: Duration) -> Result<bool> {
        let patience = Timespec::try_from(patience).context("a patience of that length")?;
        let mut watched = [PollFd::new(&self.exit, PollFlags::IN)];
        match poll(&mut watched, Some(&patience)) {
            Ok(ready) => Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(error).with_context(|| format!("{} cannot be waited for", self.name)),
        }
    }

    fn reap(&mut self) -> Result<ExitStatus> {
        if let Some(status) = self.ended {
            return Ok(status);
        }
        // Blocks only after a kill; the lock is taken when the end is certain.
        while !self.ends_within(Duration::from_secs(1))? {}
        let children = Arc::clone(&self.children);
        let mut running = children.lock();
        running.remove(&self.pid);
        let status = self.child.wait()?;
        self.ended = Some(status);
        Ok(status)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ended.is_none() {
            let stopped = self.stop(Duration::from_secs(10));
            if stopped.is_err() && self.ended.is_none() {
                let _ = self.child.kill();
            }
        }
    }
}

/// Signals a child, and the group of processes that it leads if it leads one.
fn send(pid: Pid, signal: Signal) -> rustix::io::Result<()> {
    kill_process_group(pid, signal).or_else(|_| kill_process(pid, signal))
}

/// Memory that is resident now, in bytes; 0 for a process that has ended.
pub fn resident_bytes(pid: Pid) -> u64 {
    status_bytes(pid, "VmRSS:")
}

fn peak_bytes(pid: Pid) -> u64 {
    status_bytes(pid, "VmHWM:")
}

fn status_bytes(pid: Pid, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero()));
    let status = status.unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests;
