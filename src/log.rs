//! The log for developers: writes what the host's code reports through `tracing` to the server's standard error.
//!
//! Nothing is logged by default. The log never contains a program's output, arguments or environment.

#![allow(clippy::needless_pass_by_value, reason = "napi hands arguments over by value")]

use std::io;

use napi_derive::napi;
use tracing::Level;

/// Logs messages of at least this level while the process lives. Only the first call in a process counts: a worker
/// thread or a second copy of the package may load the addon again.
#[napi]
#[cfg_attr(
    test,
    allow(dead_code, reason = "exported to JavaScript, but not by a test's binary")
)]
pub fn start_log(level: String) -> napi::Result<()> {
    let level: Level = level
        .parse()
        .map_err(|_| napi::Error::from_reason(format!("there is no log level {level}")))?;
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(false)
        .with_writer(io::stderr)
        .finish();
    // An error means that the process logs already.
    let _already = tracing::subscriber::set_global_default(subscriber);
    Ok(())
}
