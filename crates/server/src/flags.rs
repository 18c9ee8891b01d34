//! The flags of the program: what to do with the configuration, and one for each of its keys.

use std::path::PathBuf;

use clap::Parser;

use crate::config::RawConfig;

/// Serves anomaly scores over gRPC.
///
/// Every setting has a key in the configuration file (TOML), an environment variable
/// (PROTOGUARD_SERVER__ and the key in capitals, such as PROTOGUARD_SERVER__MAX_BATCH_SIZE) and a
/// flag; the flag wins over the environment, the environment over the file, the file over the
/// default. `--print-config` shows what results, as a file with a comment for every key.
#[derive(Clone, Debug, Parser)]
#[command(name = "protoguard-server", version)]
pub(crate) struct Flags {
    /// Configuration file in TOML.
    #[arg(long, short, env = "PROTOGUARD_SERVER_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Checks the configuration and exits.
    #[arg(long)]
    pub(crate) check_config: bool,
    /// Prints the effective configuration as TOML and exits.
    #[arg(long)]
    pub(crate) print_config: bool,
    /// The keys with their defaults. Which of them were given is in the matches alone, from which
    /// [`crate::config::flag_layer`] takes them.
    #[command(flatten)]
    _keys: RawConfig,
}
