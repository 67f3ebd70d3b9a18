//! Copies whole trees between the host and a VM: what a user of `tar` would pass through a pipe.
//!
//! A transfer has a [source](walk::Source) and a [target](sink::Target), each on the host or in the VM, and both run at the same
//! time: the source reads ahead by a few directories, and reads [small] files whole. On the VM's side every file is opened and made as
//! the VM's user: [by the host](direct) where the kernel decides for it as for the VM, and otherwise by init, several with one message.
//! On both sides every file is opened by one name in a directory that is open, so links lead nowhere. The host copies the content.
//!
//! A tar archive is a [source](tar_in) or a [target](tar_out) too: a stream of bytes between JavaScript and the VM's side, or, on
//! the machine of an actor's client, [the host's](local).
//!
//! The memory and the descriptors of a transfer do not depend on the tree: see [`trail`] and [`walk`].

mod archive;
mod by_init;
mod bytes_in;
mod direct;
mod entry;
mod exclude;
mod host;
mod in_directory;
mod inside;
mod local;
mod progress;
mod receiving;
mod request;
mod sending;
mod sink;
mod sink_archive;
mod small;
mod tar_entry;
mod tar_header;
mod tar_in;
mod tar_out;
mod tar_ranges;
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

use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::errno::Errno;

use crate::error::Error;
use crate::files::entries::EntryKind;

/// For how long a thread copies before other calls have their turn.
const TURN: Duration = Duration::from_millis(50);

/// A directory as it is attached to a message to init.
fn attached(directory: &OwnedFd) -> Result<Vec<OwnedFd>, Error> {
    let fd = directory
        .try_clone()
        .map_err(|error| Error::system(&error, "dup"))?;
    Ok(vec![fd])
}

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
