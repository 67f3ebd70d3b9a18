//! Gives back the memory of layers that nothing needs any more.

use std::os::fd::OwnedFd;
use std::sync::LazyLock;
use std::sync::mpsc::{self, Sender};
use std::thread;

/// To the thread that closes mounts; `None` if it could not be started.
static CLOSER: LazyLock<Option<Sender<OwnedFd>>> = LazyLock::new(|| {
    let (sender, receiver) = mpsc::channel();
    let thread = thread::Builder::new().name("agent-vm-layers".to_owned());
    thread
        .spawn(move || receiver.into_iter().for_each(drop::<OwnedFd>))
        .ok()
        .map(|_| sender)
});

/// Closes the last descriptor of a file system in memory, on a thread of its own: the kernel frees its files meanwhile, a
/// tenth of a second for each GiB.
pub fn close(mount_fd: OwnedFd) {
    match &*CLOSER {
        // The thread lives as long as this process, so it takes the descriptor; else it is closed here.
        Some(closer) => drop(closer.send(mount_fd)),
        None => drop(mount_fd),
    }
}
