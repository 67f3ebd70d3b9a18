//! Copies whole trees between the host and a VM: what a user of `tar` would pass through a pipe.
//!
//! A transfer has a [source](walk::Source) and a [target](sink::Target), each on the host or in the VM, and both run at the same
//! time: the source reads ahead by a few directories. On the VM's side init opens and makes every file, several with one message,
//! as the VM's user; on the host's side every file is opened by one name in a directory that is open, so links lead nowhere. The
//! host copies the content.
//!
//! A tar archive is a [source](tar_in) or a [target](tar_out) too: a stream of bytes between JavaScript and the VM's side, or, on
//! the machine of an actor's client, [the host's](local).
//!
//! The memory and the descriptors of a transfer do not depend on the tree: see [`trail`] and [`walk`].

mod archive;
mod bytes_in;
mod entry;
mod exclude;
mod host;
mod inside;
mod local;
mod progress;
mod request;
mod sink;
mod sink_archive;
mod tar_header;
mod tar_in;
mod tar_out;
mod temporary;
mod trail;
mod transfer;
mod walk;
mod workers;

pub use archive::ArchiveRequest;
pub use exclude::Exclude;
pub use local::LocalArchives;
pub use progress::OnProgress;
pub use request::{TransferLimits, TransferRequest};

use std::time::Duration;

use nix::errno::Errno;

use crate::error::Error;
use crate::files::entries::EntryKind;

/// For how long a thread copies before other calls have their turn.
const TURN: Duration = Duration::from_millis(50);

/// The error, about this name of a directory.
fn named(error: Error, name: &[u8]) -> Error {
    match error {
        Error::System { errno, syscall, .. } => trail::failed(Errno::from_raw(errno), &syscall, name),
        other => other,
    }
}

/// The error, about this path.
fn with_path(error: Error, path: &str) -> Error {
    match error {
        Error::System { errno, syscall, .. } => Error::System {
            errno,
            syscall,
            path: Some(path.to_owned()),
        },
        other => other,
    }
}
