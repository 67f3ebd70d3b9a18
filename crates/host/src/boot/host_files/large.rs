//! A listed directory that is shown itself, because it has too much content to copy.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::dir::Type;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fstat, fstatat};

use super::listing::{self, directory_flags};
use super::names;
use super::users::{READ, SEARCH, Users, allows, kind};

/// A listed directory with more content than this is shown itself.
const SMALL_BYTES: i64 = 512 * 1024;
const SMALL_ENTRIES: usize = 512;

/// The maximum number of files and directories in it.
const ENTRIES: usize = 200_000;

/// Whether a directory has too much content to copy and, now and later, contains nothing that the VM's user may
/// read but others may not: only root and the server's user can put files there.
pub(super) fn is_large_and_open(fd: &OwnedFd, path: &str, users: &Users) -> bool {
    let Ok(top) = fstat(fd) else { return false };
    let Ok(top_fd) = fd.try_clone() else { return false };
    let (mut bytes, mut entries) = (0, 0);
    let mut next = vec![(top_fd, path.to_owned())];
    while let Some((directory_fd, path)) = next.pop() {
        let Ok(names) = listing::entries(directory_fd.as_fd()) else {
            return false;
        };
        for (name, type_) in names {
            entries += 1;
            let Some(name) = name.filter(|_| entries < ENTRIES) else {
                return false;
            };
            let path = format!("{path}/{name}");
            // The id of a root server's VM owns nothing here.
            if users.own.is_none() && matches!(type_, Some(Type::File | Type::Symlink)) {
                if names::is_denied(Path::new(&path)) {
                    return false;
                }
                continue;
            }
            let Ok(found) = fstatat(&directory_fd, name.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW) else {
                return false;
            };
            let is_directory = kind(&found) == SFlag::S_IFDIR;
            let needed = if is_directory { READ | SEARCH } else { READ };
            let is_plain = matches!(kind(&found), SFlag::S_IFREG | SFlag::S_IFDIR | SFlag::S_IFLNK);
            if !is_plain || found.st_dev != top.st_dev || names::is_denied(Path::new(&path)) {
                return false;
            }
            // An access control list may allow the server's user to read what others may not.
            if kind(&found) != SFlag::S_IFLNK && users.own.is_some() && !allows(&found, needed) {
                return false;
            }
            if is_directory && (!users.is_closed(&found) || users.is_ours(&found)) {
                return false;
            }
            bytes += found.st_size;
            if is_directory && allows(&found, READ | SEARCH) {
                let flags = directory_flags() | OFlag::O_NOFOLLOW;
                let Ok(fd) = openat(&directory_fd, name.as_str(), flags, Mode::empty()) else {
                    return false;
                };
                next.push((fd, path));
            }
        }
    }
    bytes > SMALL_BYTES || entries > SMALL_ENTRIES
}
