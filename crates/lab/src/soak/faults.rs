//! What goes wrong around a server: callers that leave, requests that make no sense, connections
//! that end in the middle, reloads of good and of broken checkpoints.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;

use crate::lab::{Lab, Served};
use crate::service::reloads::Reloader;

/// The first bytes of every HTTP/2 connection, and an empty SETTINGS frame.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";
/// HEADERS of a stream that promises more than follows.
const HALF_A_FRAME: &[u8] = b"\x00\x40\x00\x01\x04\x00\x00\x00\x01half";

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A good checkpoint takes the place of the last.
    Reload,
    /// A file that is no checkpoint does, and must be refused.
    BrokenCheckpoint,
    /// Callers that are killed with requests in flight.
    AbortedCallers,
    /// Deadlines that cannot be met.
    HopelessDeadlines,
    /// Requests for a scene that the model does not know.
    UnknownScene,
    /// Bytes that are no HTTP.
    Garbage,
    /// A connection that breaks in the middle of a frame.
    HalfAMessage,
    /// Connections that say nothing.
    SilentConnections,
}

/// Where faults are injected.
pub(super) struct Faults<'a> {
    pub(super) lab: &'a Lab,
    pub(super) served: &'a Served,
    pub(super) reloader: Reloader<'a>,
}

impl Fault {
    pub(super) const ALL: [Self; 8] = [
        Self::Reload,
        Self::BrokenCheckpoint,
        Self::AbortedCallers,
        Self::HopelessDeadlines,
        Self::UnknownScene,
        Self::Garbage,
        Self::HalfAMessage,
        Self::SilentConnections,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Reload => "reload",
            Self::BrokenCheckpoint => "broken_checkpoint",
            Self::AbortedCallers => "aborted_callers",
            Self::HopelessDeadlines => "hopeless_deadlines",
            Self::UnknownScene => "unknown_scene",
            Self::Garbage => "garbage",
            Self::HalfAMessage => "half_a_message",
            Self::SilentConnections => "silent_connections",
        }
    }
}

impl Faults<'_> {
    /// Does one, and checks that the server answers it as it must.
    ///
    /// # Errors
    /// When it does not.
    pub(super) fn inject(&mut self, fault: Fault) -> Result<()> {
        match fault {
            Fault::Reload => self.reloader.reload(),
            Fault::BrokenCheckpoint => self.reloader.break_and_mend(),
            Fault::AbortedCallers => self.aborted_callers(),
            Fault::HopelessDeadlines => {
                self.refused(&["--deadline-ms", "1"], &["OK", "DEADLINE_EXCEEDED"])
            }
            Fault::UnknownScene => self.refused(&["--scene", "nowhere"], &["NOT_FOUND"]),
            Fault::Garbage => self.send(&[0x16; 4096]).map(drop),
            Fault::HalfAMessage => self.send(&[PREFACE, HALF_A_FRAME].concat()).map(drop),
            Fault::SilentConnections => self.silent_connections(),
        }
    }

    fn aborted_callers(&self) -> Result<()> {
        let out = self.lab.at("aborted.json");
        let load = ["--clients", "4", "--requests", "100000", "--view", "full"];
        let mut callers = self.lab.begin_load(self.served, &out, &load)?;
        std::thread::sleep(Duration::from_millis(fastrand::u64(50..300)));
        callers.signal(Signal::KILL)?;
        callers.wait().map(drop)
    }

    /// Sends some requests that may only end in `codes`.
    fn refused(&self, how: &[&str], codes: &[&str]) -> Result<()> {
        let load = [&["--clients", "2", "--requests", "10"], how].concat();
        let report = self.lab.load(self.served, &load)?;
        let other = report.other_than(codes);
        ensure!(other == 0, "{:?} in place of {codes:?}: {:?}", report.codes, report.failures);
        Ok(())
    }

    fn silent_connections(&self) -> Result<()> {
        let open = || self.connect();
        let connections: Vec<TcpStream> =
            std::iter::repeat_with(open).take(50).collect::<Result<_>>()?;
        drop(connections);
        Ok(())
    }

    fn send(&self, bytes: &[u8]) -> Result<TcpStream> {
        let mut connection = self.connect()?;
        // The server may have closed it already, which is its right.
        let _ = connection.write_all(bytes);
        Ok(connection)
    }

    fn connect(&self) -> Result<TcpStream> {
        let address = self.served.server.address().trim_start_matches("http://");
        TcpStream::connect(address).context("the server accepts no connection")
    }
}
