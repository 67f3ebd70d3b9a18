//! The log for developers: what the host's side says through `tracing`, on the server's standard error.
//!
//! Silent unless it is asked for. What programs print, their arguments and their environment are never in it.

#![allow(clippy::needless_pass_by_value, reason = "napi hands arguments over by value")]

use std::io;

use napi_derive::napi;
use tracing::Level;

/// Logs what is of this level or graver, for as long as the process lives. The first call in a process counts: the addon
/// may be loaded again, by a worker thread or a second copy of the package.
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
    // An error says that the process logs already.
    let _already = tracing::subscriber::set_global_default(subscriber);
    Ok(())
}
