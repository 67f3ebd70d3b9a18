//! Looks for files that have other names too.
//!
//! A mount protects a file at its name. By another name of the same file, programs could write to it.

use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;

use agent_vm_protocol::message::Unprotectable;
use nix::dir::Dir;
use nix::errno::Errno;
use nix::sys::stat::{FileStat, SFlag, fstat};

use super::mark::kind;
use super::place;

/// How many entries are looked at: a few tenths of a second.
const MOST_ENTRIES: usize = 100_000;
/// How many directories deep, each of which needs a descriptor.
const MOST_DEEP: usize = 128;

/// Refuses a regular file with several names, and a directory that contains one. `found` is what the name was.
pub fn refuse(parent_fd: &OwnedFd, name: &CStr, found: &FileStat) -> Result<(), Unprotectable> {
    if kind(found) != SFlag::S_IFDIR {
        return refuse_file(found);
    }
    let top_fd = place::open(parent_fd, name, true).map_err(unseen)?;
    if place::identity(&fstat(&top_fd).map_err(unseen)?) != place::identity(found) {
        return Err(unseen(Errno::ESTALE));
    }
    let mut left = MOST_ENTRIES;
    let mut open = vec![Names::of(top_fd, &mut left)?];
    while let Some(depth) = open.len().checked_sub(1) {
        let directory = &mut open[depth];
        let Some(name) = directory.names.pop() else {
            open.pop();
            continue;
        };
        let found = match place::named(&directory.fd, &name) {
            // It was removed meanwhile.
            Err(Errno::ENOENT) => continue,
            found => found.map_err(unseen)?,
        };
        if kind(&found) != SFlag::S_IFDIR {
            refuse_file(&found)?;
        } else if depth + 1 == MOST_DEEP {
            return Err(Unprotectable::TooMany);
        } else {
            let below_fd = place::open(&directory.fd, &name, true).map_err(unseen)?;
            open.push(Names::of(below_fd, &mut left)?);
        }
    }
    Ok(())
}

/// Whether the directory with that name has nothing in it.
pub fn is_empty(parent_fd: &OwnedFd, name: &CStr) -> Result<bool, Errno> {
    let mut listed = place::open(parent_fd, name, true).and_then(Dir::from_fd)?;
    for entry in listed.iter() {
        let entry = entry?;
        if entry.file_name() != c"." && entry.file_name() != c".." {
            return Ok(false);
        }
    }
    Ok(true)
}

fn refuse_file(found: &FileStat) -> Result<(), Unprotectable> {
    if kind(found) == SFlag::S_IFREG && found.st_nlink > 1 {
        return Err(Unprotectable::HardLinks);
    }
    Ok(())
}

fn unseen(errno: Errno) -> Unprotectable {
    Unprotectable::Unseen { errno: errno as i32 }
}

/// An open directory, and its names that were not looked at yet.
struct Names {
    fd: OwnedFd,
    names: Vec<CString>,
}

impl Names {
    /// Reads all names, of which at most `left` may be left.
    fn of(fd: OwnedFd, left: &mut usize) -> Result<Self, Unprotectable> {
        let mut listed = place::clone(&fd).and_then(Dir::from_fd).map_err(unseen)?;
        let mut names = Vec::new();
        for entry in listed.iter() {
            let entry = entry.map_err(unseen)?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            *left = left.checked_sub(1).ok_or(Unprotectable::TooMany)?;
            names.push(name.to_owned());
        }
        Ok(Self { fd, names })
    }
}
