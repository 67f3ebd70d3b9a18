//! A tree of files on the host.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::{FchmodatFlags, Mode, fchmod, fchmodat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::entries::Entries;
use crate::sys::entries;
use crate::tree::Tree;
use crate::walk::remove;

/// Removes a directory with everything below it, including directories whose modes lock their owner out. It is no error
/// if the path does not exist. Blocks until done.
///
/// # Errors
/// The kernel's error: EBUSY if something is mounted, EPERM if something belongs to another user.
pub fn remove_all(path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut walk = pin!(remove(&Host, &path));
    let mut context = Context::from_waker(Waker::noop());
    loop {
        // Its calls block, so the future is ready at the first poll.
        if let Poll::Ready(removed) = walk.as_mut().poll(&mut context) {
            return removed.map_err(|failed| failed.error.into());
        }
    }
}

struct Host;

impl Tree for Host {
    type Error = Errno;

    async fn open(&self, directory: Option<Arc<OwnedFd>>, name: &CStr) -> Result<OwnedFd, Errno> {
        let within = base(directory.as_deref());
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        match openat(within, name, flags | OFlag::O_RDONLY, Mode::empty()) {
            // The path itself has no directory that could be unlocked.
            Err(Errno::EACCES) if directory.is_none() && unlock(within, name).is_ok() => {
                openat(within, name, flags | OFlag::O_RDONLY, Mode::empty())
            }
            other => other,
        }
    }

    async fn remove(
        &self,
        directory: Option<Arc<OwnedFd>>,
        name: &CStr,
        is_directory: bool,
    ) -> Result<(), Errno> {
        let flag = if is_directory {
            UnlinkatFlags::RemoveDir
        } else {
            UnlinkatFlags::NoRemoveDir
        };
        unlinkat(base(directory.as_deref()), name, flag)
    }

    async fn list(&self, directory: Arc<OwnedFd>) -> Result<Entries, Errno> {
        entries(directory.as_fd())
    }

    fn unlock(&self, directory: &Arc<OwnedFd>, name: Option<&CStr>) -> bool {
        match name {
            Some(name) => unlock(directory.as_fd(), name).is_ok(),
            None => fchmod(directory, Mode::S_IRWXU).is_ok(),
        }
    }

    fn errno(error: &Errno) -> Option<Errno> {
        Some(*error)
    }

    fn error(errno: Errno, _call: &'static str) -> Errno {
        errno
    }
}

fn base(directory: Option<&OwnedFd>) -> BorrowedFd<'_> {
    directory.map_or(AT_FDCWD, OwnedFd::as_fd)
}

/// Through a descriptor, so that a link that replaces the directory meanwhile is not followed.
fn unlock(within: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let directory = openat(within, name, flags, Mode::empty())?;
    // fchmod(2) refuses such a descriptor, and fchmodat2(2) needs Linux 6.6.
    let path = format!("/proc/self/fd/{}", directory.as_raw_fd());
    fchmodat(
        AT_FDCWD,
        path.as_str(),
        Mode::S_IRWXU,
        FchmodatFlags::FollowSymlink,
    )
}
