//! Placeholders at places that do not exist.
//!
//! VMs, also those of other servers, share the placeholders in a directory. Each keeper that needs one holds a shared lock
//! of it (`flock(2)`), and the keeper that gets the exclusive lock is alone and removes it. The kernel frees the locks of a keeper
//! that was killed. A directory that was made for a placeholder needs no lock: only an empty one can be removed.
//!
//! Keepers take [turns](super::turn). A placeholder appears under its name marked and locked, since it is made under another name first. If several names of
//! a path do not exist, the first of them appears together with all that is below it.

use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use agent_vm_protocol::message::{ProtectedPlace, Unprotectable};
use nix::errno::Errno;
use nix::fcntl::{RenameFlags, renameat2};
use nix::sys::stat::{FileStat, SFlag, fstat};

use super::hard_links;
use super::mark::{self, kind};
use super::place::{Identity, clone, identity, look};
use super::placeholder::Placeholder;
use super::turn::{PAUSE, Turn};
use crate::sys;

/// How long a place may change, or be locked, before it is given up.
const PATIENCE: Duration = Duration::from_secs(2);

/// The placeholders that this keeper has made, or shares with another one. What is below another one comes after it.
#[derive(Default)]
pub struct Placeholders {
    held: Vec<Placeholder>,
}

/// What came of one look at a place.
enum Look {
    /// It is a placeholder, which is held.
    Held,
    /// A file or directory of the host has its name, in a directory.
    Found(OwnedFd, FileStat),
    /// Somebody changed it meanwhile.
    Changed,
}

impl Placeholders {
    /// Whether there are none.
    pub fn are_none(&self) -> bool {
        self.held.is_empty()
    }

    /// Checks a place in a directory, and makes placeholders if it does not exist. Returns whether it is one.
    pub fn hold(&mut self, directory_fd: &OwnedFd, place: &ProtectedPlace) -> Result<bool, Unprotectable> {
        let names: Vec<CString> = place
            .path
            .split('/')
            .map(|name| match name {
                "" | "." | ".." => Err(unseen(Errno::EINVAL)),
                _ => CString::new(name).map_err(|_| unseen(Errno::EINVAL)),
            })
            .collect::<Result<_, _>>()?;
        let name = names.last().ok_or_else(|| unseen(Errno::EINVAL))?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let turn = Turn::take();
            let look = self.look(directory_fd, &names, place.is_directory)?;
            drop(turn);
            match look {
                Look::Held => return Ok(true),
                Look::Found(parent_fd, found) => match hard_links::refuse(&parent_fd, name, &found) {
                    Err(Unprotectable::Unseen { errno }) if errno == Errno::ESTALE as i32 => {}
                    refused => return refused.map(|()| false),
                },
                Look::Changed => {}
            }
            if Instant::now() > deadline {
                return Err(unseen(Errno::EBUSY));
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Removes those that no other keeper needs and nobody has changed.
    pub fn remove(self) {
        let _turn = Turn::take();
        // To remove something from a directory takes the directory's mark away.
        let had_mark: Vec<bool> = self.held.iter().map(Placeholder::has_mark).collect();
        for (placeholder, had_mark) in self.held.into_iter().zip(had_mark).rev() {
            if let Err(errno) = placeholder.remove(had_mark) {
                sys::log(&errno);
            }
        }
    }

    /// Removes those that were not shown under their name.
    fn discard(self) {
        for placeholder in self.held.iter().rev() {
            if let Err(errno) = placeholder.unlink() {
                sys::log(&errno);
            }
        }
    }

    fn look(
        &mut self,
        directory_fd: &OwnedFd,
        names: &[CString],
        is_directory: bool,
    ) -> Result<Look, Unprotectable> {
        let mut parent_fd = clone(directory_fd).map_err(unseen)?;
        for (index, name) in names.iter().enumerate() {
            let is_last = index + 1 == names.len();
            let (fd, found) = match look(&parent_fd, name) {
                Err(Errno::ENOENT) => return self.make(&parent_fd, &names[index..], is_directory),
                other => other.map_err(unseen)?,
            };
            match kind(&found) {
                SFlag::S_IFDIR => {}
                SFlag::S_IFLNK => return Err(Unprotectable::Link),
                _ if !is_last || is_directory => return Err(Unprotectable::NotDirectory),
                SFlag::S_IFREG => {}
                _ => return Err(Unprotectable::Kind),
            }
            let mut is_placeholder = mark::is_set(&found);
            // A program of an earlier VM can have set that time for a directory with files in it.
            if is_placeholder && is_last && kind(&found) == SFlag::S_IFDIR {
                is_placeholder = match hard_links::is_empty(&parent_fd, name) {
                    Err(Errno::ENOENT | Errno::ELOOP | Errno::ENOTDIR) => return Ok(Look::Changed),
                    is_empty => is_empty.map_err(unseen)?,
                };
            }
            if is_placeholder && self.find(identity(&found)).is_none() {
                match Placeholder::share(&parent_fd, name, &found, is_last) {
                    Ok(placeholder) => self.held.push(placeholder),
                    Err(Errno::ESTALE) => return Ok(Look::Changed),
                    Err(errno) => return Err(unseen(errno)),
                }
            }
            if is_last && !is_placeholder {
                return Ok(Look::Found(parent_fd, found));
            }
            parent_fd = fd;
        }
        Ok(Look::Held)
    }

    /// Makes placeholders for names of which the first does not exist: directories, and in the end a file or directory.
    fn make(
        &mut self,
        parent_fd: &OwnedFd,
        names: &[CString],
        is_directory: bool,
    ) -> Result<Look, Unprotectable> {
        let hidden = sys::random()
            .map(|number| CString::new(format!(".agent-vm-{number:016x}")).unwrap_or_default())
            .map_err(unseen)?;
        let mut made = Self::default();
        let shown = made
            .make_hidden(parent_fd, &hidden, names, is_directory)
            .and_then(|()| {
                let (from, to) = (&*hidden, &*names[0]);
                renameat2(parent_fd, from, parent_fd, to, RenameFlags::RENAME_NOREPLACE)
            });
        if let Err(errno) = shown {
            made.discard();
            return match errno {
                // Another keeper was faster, or has removed the directory.
                Errno::EEXIST | Errno::ENOENT => Ok(Look::Changed),
                _ => Err(Unprotectable::Unmakeable { errno: errno as i32 }),
            };
        }
        if let Some(first) = made.held.first_mut() {
            names[0].clone_into(&mut first.name);
        }
        self.held.append(&mut made.held);
        // To make it has changed the directory, which may be a placeholder itself.
        let parent = fstat(parent_fd).map_err(unseen)?;
        if let Some(parent) = self.find(identity(&parent)) {
            mark::set(parent.fd()).map_err(unseen)?;
        }
        Ok(Look::Held)
    }

    fn make_hidden(
        &mut self,
        parent_fd: &OwnedFd,
        hidden: &CStr,
        names: &[CString],
        is_directory: bool,
    ) -> Result<(), Errno> {
        let mut parent_fd = clone(parent_fd)?;
        for index in 0..names.len() {
            let name = if index == 0 { hidden } else { &*names[index] };
            let is_last = index + 1 == names.len();
            let placeholder = Placeholder::make(&parent_fd, name, is_directory || !is_last, is_last)?;
            parent_fd = placeholder
                .fd()
                .try_clone_to_owned()
                .map_err(|error| sys::errno_of(&error))?;
            self.held.push(placeholder);
        }
        // From the inside out, because a file that is made changes the directory.
        for placeholder in self.held.iter().rev() {
            mark::set(placeholder.fd())?;
        }
        Ok(())
    }

    fn find(&self, identity: Identity) -> Option<&Placeholder> {
        self.held.iter().find(|held| held.identity == identity)
    }
}

fn unseen(errno: Errno) -> Unprotectable {
    Unprotectable::Unseen { errno: errno as i32 }
}
