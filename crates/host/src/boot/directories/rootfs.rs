//! A root that the caller brings: a directory with another distribution.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use agent_vm_protocol::message::BindSource;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::fstat;

use super::super::own_paths::{ADDED_FOR_ROOT, APT_SETTINGS, SHADOWS};
use super::super::user::GuestIds;
use super::error::DirectoryError;
use super::opened::{Access, Opened, Wanted};

/// How much of its `passwd` and `group` is read.
const MAX_TABLE: u64 = 1024 * 1024;

/// What a root is, as far as a boot depends on it: a VM that was made of it serves for another one that is equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rootfs {
    /// The directory's device and inode.
    identity: (libc::dev_t, libc::ino_t),
    /// Its `/etc/passwd`, as far as it is readable.
    pub passwd: String,
    /// Its `/etc/group`, as far as it is readable.
    pub group: String,
    /// Whether it has a `/bin/bash`.
    pub has_bash: bool,
    /// Whether it has an `/etc/mailname`.
    pub has_mailname: bool,
    /// Whether it has a `/root`.
    pub has_roots_home: bool,
    /// Which of [`ADDED_FOR_ROOT`] it lacks and has a directory for, to which no link leads.
    pub places: Vec<&'static str>,
    /// The path and content of each of [`SHADOWS`], as far as it is readable.
    pub shadows: Vec<(&'static str, String)>,
}

/// A root that was opened.
pub struct OpenedRootfs<'a>(Opened<'a>);

impl OpenedRootfs<'_> {
    /// The source for init, whose descriptor is added to `fds`. `id` is the host id of the VM's user if it is not the
    /// server's own; with `first`, the root's ids 0 to 65,535 are those from `first` on.
    pub fn into_source(
        self,
        id: Option<u32>,
        first: Option<u32>,
        fds: &mut Vec<OwnedFd>,
    ) -> Result<BindSource, DirectoryError> {
        self.0
            .into_source(id.map(GuestIds::same), Access::Layer { first }, fds)
    }
}

impl Rootfs {
    /// Opens the root at `path`, checks it and reads it. Looks for what a root needs if the VM is `with_root`.
    pub fn open(path: &Path, with_root: bool) -> Result<(Self, OpenedRootfs<'_>), DirectoryError> {
        let opened = Opened::at(path, Wanted::Directory)?;
        let root_fd = opened.fd.as_fd();
        let (passwd, group) = (table(root_fd, "etc/passwd"), table(root_fd, "etc/group"));
        require_shell(root_fd, path)?;
        let has_bash = look_up(root_fd, "bin/bash", OFlag::O_PATH).is_ok();
        let has_mailname = look_up(root_fd, "etc/mailname", OFlag::O_PATH).is_ok();
        let directory = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
        let has_roots_home = with_root && look_up(root_fd, "root", directory).is_ok();
        let places = ADDED_FOR_ROOT
            .into_iter()
            .filter(|path| with_root && is_free(root_fd, path));
        let shadows = SHADOWS
            .into_iter()
            .filter(|_| with_root)
            .map(|path| (path, table(root_fd, path)))
            .filter(|(_, content)| !content.is_empty());
        let (places, shadows) = (places.collect(), shadows.collect());
        let rootfs = Self {
            identity: opened.identity(),
            passwd,
            group,
            has_bash,
            has_mailname,
            has_roots_home,
            places,
            shadows,
        };
        Ok((rootfs, OpenedRootfs(opened)))
    }
}

impl Rootfs {
    /// Whether apt has its settings in it.
    pub fn has_apt(&self) -> bool {
        self.places.contains(&APT_SETTINGS)
    }
}

/// Checks that it has the `/bin/sh` that `exec` and shells run, resolved as a program with this root would.
fn require_shell(root_fd: BorrowedFd<'_>, path: &Path) -> Result<(), DirectoryError> {
    let found = look_up(root_fd, "bin/sh", OFlag::O_PATH).and_then(fstat);
    let lack = match found {
        Ok(found) if found.st_mode & libc::S_IFMT != libc::S_IFREG => "which is not a regular file",
        Ok(found) if found.st_mode & 0o111 == 0 => "which nobody may execute",
        Ok(_) => return Ok(()),
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) if is_link(root_fd) => {
            "which is a link that leads nowhere within it"
        }
        Err(Errno::ENOENT | Errno::ENOTDIR) => "which is missing",
        Err(Errno::ELOOP) => "which is behind links that lead nowhere within it",
        Err(Errno::EACCES) => "which the server may not reach",
        Err(errno) => {
            return Err(DirectoryError::Open {
                path: path.join("bin/sh"),
                syscall: "open",
                source: errno.into(),
            });
        }
    };
    Err(DirectoryError::Shell {
        path: path.to_owned(),
        lack,
    })
}

/// Whether there is a directory for the file at `path`, to which no link leads, and not the file.
fn is_free(root_fd: BorrowedFd<'_>, path: &str) -> bool {
    let links = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_SYMLINKS;
    let open = |path: &Path, flags| {
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_CLOEXEC | flags)
            .resolve(links);
        openat2(root_fd, path, how)
    };
    let path = Path::new(path);
    let directory = path.parent().map(|parent| open(parent, OFlag::O_DIRECTORY));
    matches!(directory, Some(Ok(_))) && open(path, OFlag::O_NOFOLLOW).err() == Some(Errno::ENOENT)
}

fn is_link(root_fd: BorrowedFd<'_>) -> bool {
    look_up(root_fd, "bin/sh", OFlag::O_PATH | OFlag::O_NOFOLLOW)
        .and_then(fstat)
        .is_ok_and(|found| found.st_mode & libc::S_IFMT == libc::S_IFLNK)
}

/// Opens a file as a program whose root is `root_fd` would.
fn look_up(root_fd: BorrowedFd<'_>, path: &str, flags: OFlag) -> nix::Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(flags | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    openat2(root_fd, path, how)
}

/// The content of a table; empty if it cannot be read.
fn table(root_fd: BorrowedFd<'_>, path: &str) -> String {
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let Ok(file) = look_up(root_fd, path, flags).map(File::from) else {
        return String::new();
    };
    let mut bytes = Vec::new();
    match file.metadata() {
        Ok(metadata) if metadata.is_file() => match file.take(MAX_TABLE).read_to_end(&mut bytes) {
            Ok(_) => lines(&bytes, MAX_TABLE),
            Err(_) => String::new(),
        },
        _ => String::new(),
    }
}

/// The lines of a table of which at most so many bytes were read. One that was cut there is left out: its last member would be
/// another user. So is one whose name is no text, or looks like one that is none: no user has such a name.
fn lines(bytes: &[u8], most: u64) -> String {
    let is_cut = bytes.len() as u64 >= most;
    let end = match bytes.iter().rposition(|&byte| byte == b'\n') {
        Some(last) if is_cut => last + 1,
        None if is_cut => 0,
        _ => bytes.len(),
    };
    let named = |line: &&[u8]| {
        let name = line.split(|&byte| byte == b':').next().unwrap_or_default();
        std::str::from_utf8(name).is_ok_and(|name| !name.contains(char::REPLACEMENT_CHARACTER))
    };
    let kept = bytes[..end].split_inclusive(|&byte| byte == b'\n').filter(named);
    kept.map(String::from_utf8_lossy).collect()
}

#[cfg(test)]
mod tests {
    use super::lines;

    #[test]
    fn a_line_that_was_cut_is_left_out() {
        let text = b"wheel:x:10:ann\nstaff:x:50:bobby\n";
        assert_eq!(lines(text, 100), "wheel:x:10:ann\nstaff:x:50:bobby\n");
        assert_eq!(lines(&text[..28], 28), "wheel:x:10:ann\n");
        assert_eq!(lines(b"staff:x:50:bob", 100), "staff:x:50:bob");
        assert_eq!(lines(b"staff:x:50:bob", 14), "");
    }

    #[test]
    fn a_name_that_is_no_text_is_nobodys() {
        let text = b"\xff:x:0:0::/:/bin/sh\n\xef\xbf\xbd:x:1:1::/:/bin/sh\nann:x:2:2:M\xfcller:/:/bin/sh\n";
        assert_eq!(lines(text, 100), "ann:x:2:2:M\u{fffd}ller:/:/bin/sh\n");
    }
}
