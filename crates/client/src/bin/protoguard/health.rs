//! `protoguard health`.

use std::io::{self, Write};
use std::process::ExitCode;

use protoguard_client::{Client, Health};

use crate::arguments::HealthArguments;

/// Prints the server's state; anything but serving is a failure.
pub(crate) async fn run(arguments: HealthArguments) -> anyhow::Result<ExitCode> {
    let client = Client::connect(&arguments.server.address, arguments.server.options()).await?;
    let health = client.health(&arguments.service).await?;
    let word = match health {
        Health::Serving => "serving",
        Health::NotServing => "not serving",
        Health::Unknown => "unknown",
    };
    writeln!(io::stdout(), "{word}")?;
    Ok(if health == Health::Serving { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
