//! The limit on open files, which bounds how many connections may be open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{debug, warn};

/// Raises the soft limit on open files to the hard one: each connection is one, and the usual soft
/// limit of 1024 is fewer than a server may hold.
pub(crate) fn raise_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => debug!(from = current, to = maximum, "limit on open files raised"),
        Err(error) => warn!(limit = current, error = %error, "limit on open files not raised"),
    }
}
