//! Opens and makes files of the VM without init, where the kernel decides for the host as it would for init.
//!
//! A message to init for each small directory takes longer than the files in it. Init has opened the directory, in the VM's view; the
//! thread has the ids of the user that calls act as and no capability ([`AsGuest`](crate::files::sys::AsGuest)); and each name is one of that
//! directory, on its mount, and no link. Everything else is left to init: other mounts, file systems that are interfaces of the kernel,
//! whatever fails, and all files where a Landlock domain decides, which the host is not in.
//!
//! The host removes and renames nothing here. The kernel keeps what is mounted, such as a protected file, from being removed or
//! replaced, but only by processes of the VM's own mount namespace, and also where another mount shows the same directory.

use std::fs::File;
use std::os::fd::OwnedFd;

use agent_vm_protocol::message::is_kernel_interface;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{Mode, UtimensatFlags, mkdirat, utimensat};
use nix::sys::statfs::fstatfs;
use nix::sys::time::TimeSpec;
use nix::unistd::{getegid, getgroups, symlinkat};

use super::entry::{Content, Entry, Kept};
use super::in_directory::{ALWAYS, time};
use super::progress::Progress;
use super::sending::fill;
use super::small::{Small, opened};
use crate::boot::{Ids, Isolation};
use crate::error::Error;
use crate::shared::Shared;
use crate::vm::Vm;

/// Whether the host may do so in this VM.
pub fn is_possible(vm: &Vm) -> bool {
    let shared = vm.shared();
    shared.isolation == Isolation::Namespaces && (shared.guest.is_some() || has_guests_groups(shared))
}

/// Whether the groups of this process, an ordinary user's, are those of the VM's user. With a single id all programs keep them, and
/// with a range none does.
fn has_guests_groups(shared: &Shared) -> bool {
    if shared.users.ids() != Some(Ids::Range) {
        return true;
    }
    let own = getegid();
    getgroups().is_ok_and(|groups| groups.iter().all(|group| *group == own))
}

/// Whether the host may do so in this directory.
fn is_ordinary(directory: &OwnedFd) -> bool {
    fstatfs(directory).is_ok_and(|found| !is_kernel_interface(found.filesystem_type().0))
}

fn open(directory: &OwnedFd, name: &[u8], flags: OFlag, mode: Mode) -> Result<OwnedFd, Errno> {
    let how = OpenHow::new().flags(flags | ALWAYS).mode(mode).resolve(
        ResolveFlag::RESOLVE_BENEATH
            | ResolveFlag::RESOLVE_NO_SYMLINKS
            | ResolveFlag::RESOLVE_NO_MAGICLINKS
            | ResolveFlag::RESOLVE_NO_XDEV,
    );
    openat2(directory, name, how)
}

/// Opens a directory; `None` if init must.
pub fn directory(base: &OwnedFd, name: &[u8]) -> Option<OwnedFd> {
    if !is_ordinary(base) {
        return None;
    }
    open(base, name, OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty()).ok()
}

/// Whether it can be the name of something in a directory. Init refuses others.
fn is_single(name: &[u8]) -> bool {
    !name.is_empty() && name != b"." && name != b".." && !name.contains(&b'/')
}

/// Makes a directory. Returns whether it is new, and the directory unless init must open or make it.
pub fn make_directory(base: &OwnedFd, name: &[u8]) -> (bool, Option<OwnedFd>) {
    if !is_single(name) || !is_ordinary(base) {
        return (false, None);
    }
    // Until the content is there, others have no rights that the original does not give them.
    let is_new = match mkdirat(base, name, Mode::S_IRWXU) {
        Ok(()) => true,
        Err(Errno::EEXIST) => false,
        Err(_) => return (false, None),
    };
    (is_new, directory(base, name))
}

/// Opens files. Appends them to `entries`, and returns those that are left to init.
pub fn load(
    directory: &OwnedFd,
    names: Vec<Vec<u8>>,
    entries: &mut Vec<Entry>,
    small: &mut Small,
) -> Result<Vec<Vec<u8>>, Error> {
    if !is_ordinary(directory) {
        return Ok(names);
    }
    let mut names = names.into_iter();
    while let Some(name) = names.next() {
        match open(directory, &name, OFlag::O_RDONLY, Mode::empty()) {
            Ok(fd) => entries.extend(opened(fd, &name, small)?.map(|content| Entry { name, content })),
            // It is gone, or has become a link.
            Err(Errno::ENOENT | Errno::ELOOP) => {}
            Err(_) => return Ok(std::iter::once(name).chain(names).collect()),
        }
    }
    Ok(Vec::new())
}

/// What [`make`] has not finished.
pub struct Unfinished {
    /// Files that are made, without their content.
    pub empty: Vec<(Vec<u8>, Content, OwnedFd)>,
    /// What is left to init.
    pub left: Vec<Entry>,
}

/// Makes files and links, in the order of the entries, until a name is taken.
pub fn make(directory: &OwnedFd, entries: Vec<Entry>, progress: &Progress) -> Result<Unfinished, Error> {
    let mut empty = Vec::new();
    if !is_ordinary(directory) {
        return Ok(Unfinished { empty, left: entries });
    }
    let mut entries = entries.into_iter();
    while let Some(Entry { name, content }) = entries.next() {
        progress.check()?;
        let made = match &content {
            Content::Symlink { target, modified } => {
                symlink(directory, &name, target, *modified).map(|()| None)
            }
            Content::File { kept, .. } | Content::Bytes { kept, .. } => {
                file(directory, &name, *kept).map(Some)
            }
        };
        match (made, content) {
            (Ok(None), _) => progress.link()?,
            (Ok(Some(fd)), Content::Bytes { bytes, kept }) => {
                fill(&File::from(fd), &bytes, kept, &name)?;
                progress.bytes(bytes.len() as u64)?;
                progress.file()?;
            }
            (Ok(Some(fd)), content) => empty.push((name, content, fd)),
            (Err(_), content) => {
                let left = std::iter::once(Entry { name, content }).chain(entries).collect();
                return Ok(Unfinished { empty, left });
            }
        }
    }
    let left = Vec::new();
    Ok(Unfinished { empty, left })
}

/// Makes a file with at most the rights of the original.
fn file(directory: &OwnedFd, name: &[u8], kept: Kept) -> Result<OwnedFd, Errno> {
    if !is_single(name) {
        return Err(Errno::EINVAL);
    }
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL;
    open(
        directory,
        name,
        flags,
        Mode::from_bits_truncate(kept.mode & 0o777),
    )
}

fn symlink(directory: &OwnedFd, name: &[u8], target: &[u8], modified: (i64, u32)) -> Result<(), Errno> {
    if !is_single(name) {
        return Err(Errno::EINVAL);
    }
    symlinkat(target, directory, name)?;
    let flags = UtimensatFlags::NoFollowSymlink;
    utimensat(directory, name, &TimeSpec::UTIME_OMIT, &time(modified), flags)
}
