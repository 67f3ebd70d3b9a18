//! A root of the user's own: a directory with another distribution in it.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use agent_vm_protocol::message::BindSource;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};

use super::{Access, DirectoryError, Opened, Wanted};

/// The most that is read of its `passwd` and `group`.
const MAX_TABLE: u64 = 1024 * 1024;

/// A root that was opened and looked at.
#[derive(Debug)]
pub struct Rootfs {
    /// As init can use it.
    pub source: BindSource,
    /// Its `/etc/passwd`, as far as it can be read.
    pub passwd: String,
    /// Its `/etc/group` likewise.
    pub group: String,
    /// Whether it has a `/bin/bash`.
    pub has_bash: bool,
}

impl Rootfs {
    /// Opens the one at `path`. `id` is the host id of the VM's user where that is not the server's own; the descriptor
    /// that the source names is added to `fds`.
    pub fn open(path: &Path, id: Option<u32>, fds: &mut Vec<OwnedFd>) -> Result<Self, DirectoryError> {
        let opened = Opened::at(path, Wanted::Folder)?;
        let root_fd = opened.fd.as_fd();
        let (passwd, group) = (table(root_fd, "etc/passwd"), table(root_fd, "etc/group"));
        let has_bash = look_up(root_fd, "bin/bash", OFlag::O_PATH).is_some();
        let source = opened.into_source(id, Access::Layer, fds)?;
        Ok(Self {
            source,
            passwd,
            group,
            has_bash,
        })
    }
}

/// Opens a file as one sees it whose root is `root_fd`; nothing if that fails.
fn look_up(root_fd: BorrowedFd<'_>, path: &str, flags: OFlag) -> Option<OwnedFd> {
    let how = OpenHow::new()
        .flags(flags | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    openat2(root_fd, path, how).ok()
}

/// What a table says; nothing if it is none that can be read.
fn table(root_fd: BorrowedFd<'_>, path: &str) -> String {
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let Some(file) = look_up(root_fd, path, flags).map(File::from) else {
        return String::new();
    };
    let mut bytes = Vec::new();
    match file.metadata() {
        Ok(metadata) if metadata.is_file() => match file.take(MAX_TABLE).read_to_end(&mut bytes) {
            Ok(_) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(_) => String::new(),
        },
        _ => String::new(),
    }
}
