//! Walks through the same directory of several layers at once.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat, makedev, mkdirat, mknodat};
use nix::unistd::{UnlinkatFlags, linkat, unlinkat};
use xattr::FileExt;

use super::file;
use super::names::{IS_OPAQUE, OPAQUE, is_opaque, is_whiteout, kind, names};

/// Where files with several names have one more while they are copied.
const LINKS: &CStr = c"links";

/// A walk. It has one directory of each layer open, and one of the result, however deep they are: back it goes by `..`, which leads
/// up in directories that nobody moves.
pub struct Walk<'a> {
    /// The current directory of each layer, the newest first.
    from: Vec<File>,
    to: File,
    links_fd: BorrowedFd<'a>,
    /// The number among [`LINKS`] of each file with several names, by its layer and number there.
    linked: HashMap<(usize, u64), u64>,
    /// The directories from the top to the current one.
    path: Vec<Level>,
}

/// A directory on the way.
struct Level {
    /// The layers that have it, the newest first, and its number in each.
    layers: Vec<(usize, u64)>,
    /// What is still to be done in it: each name, and the layers that have it.
    rest: std::collections::btree_map::IntoIter<CString, Vec<usize>>,
}

fn directory(parent_fd: BorrowedFd<'_>, name: &CStr) -> Result<File, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(parent_fd, name, flags, Mode::empty()).map(File::from)
}

impl<'a> Walk<'a> {
    /// Merges the directory `part` of those layers that have one into a new one of `to_fd`.
    pub fn merge(layers: &[OwnedFd], part: &CStr, to_fd: BorrowedFd<'a>) -> Result<(), Errno> {
        let mut from = Vec::new();
        for layer in layers {
            match directory(layer.as_fd(), part) {
                Ok(found) => from.push(found),
                Err(Errno::ENOENT) => {}
                Err(errno) => return Err(errno),
            }
        }
        let Some(newest) = from.first() else {
            return Ok(());
        };
        mkdirat(to_fd, part, Mode::S_IRWXU)?;
        let to = directory(to_fd, part)?;
        let newest = newest.try_clone().map_err(|error| crate::sys::errno_of(&error))?;
        mkdirat(to_fd, LINKS, Mode::S_IRWXU)?;
        let links = directory(to_fd, LINKS)?;
        let mut walk = Walk {
            from,
            to,
            links_fd: links.as_fd(),
            linked: HashMap::new(),
            path: Vec::new(),
        };
        walk.enter((0..walk.from.len()).collect())?;
        while !walk.path.is_empty() {
            walk.step()?;
        }
        file::describe(&newest, &walk.to, &fstat(&newest)?)?;
        for number in 0..walk.linked.len() as u64 {
            unlinkat(&links, &*number_name(number)?, UnlinkatFlags::NoRemoveDir)?;
        }
        unlinkat(to_fd, LINKS, UnlinkatFlags::RemoveDir)
    }

    /// Reads the current directories of these layers.
    fn enter(&mut self, layers: Vec<usize>) -> Result<(), Errno> {
        let mut rest: BTreeMap<CString, Vec<usize>> = BTreeMap::new();
        let mut numbered = Vec::new();
        for layer in layers {
            numbered.push((layer, fstat(&self.from[layer])?.st_ino));
            for name in names(self.from[layer].as_fd())? {
                match rest.entry(name) {
                    Entry::Vacant(entry) => drop(entry.insert(vec![layer])),
                    Entry::Occupied(mut entry) => entry.get_mut().push(layer),
                }
            }
        }
        self.path.push(Level {
            layers: numbered,
            rest: rest.into_iter(),
        });
        Ok(())
    }

    /// Does the next name, or leaves the directory.
    fn step(&mut self) -> Result<(), Errno> {
        let Some(level) = self.path.last_mut() else {
            return Ok(());
        };
        match level.rest.next() {
            Some((name, layers)) => self.entry(&name, &layers),
            None => self.leave(),
        }
    }

    fn entry(&mut self, name: &CStr, layers: &[usize]) -> Result<(), Errno> {
        let Some(&newest) = layers.first() else {
            return Ok(());
        };
        let found = self.look(newest, name)?;
        if is_whiteout(&found) {
            return mknodat(&self.to, name, SFlag::S_IFCHR, Mode::empty(), makedev(0, 0));
        }
        if kind(&found) == SFlag::S_IFDIR {
            return self.descend(name, layers);
        }
        if found.st_nlink < 2 {
            return file::copy(self.from[newest].as_fd(), name, &found, self.to.as_fd());
        }
        let key = (newest, found.st_ino);
        if let Some(&number) = self.linked.get(&key) {
            return linkat(
                self.links_fd,
                &*number_name(number)?,
                &self.to,
                name,
                AtFlags::empty(),
            );
        }
        file::copy(self.from[newest].as_fd(), name, &found, self.to.as_fd())?;
        let number = self.linked.len() as u64;
        linkat(
            &self.to,
            name,
            self.links_fd,
            &*number_name(number)?,
            AtFlags::empty(),
        )?;
        self.linked.insert(key, number);
        Ok(())
    }

    fn look(&self, layer: usize, name: &CStr) -> Result<FileStat, Errno> {
        fstatat(&self.from[layer], name, AtFlags::AT_SYMLINK_NOFOLLOW)
    }

    /// Makes a directory and goes into it, in those layers where it shows.
    fn descend(&mut self, name: &CStr, layers: &[usize]) -> Result<(), Errno> {
        let mut shown = Vec::new();
        let mut hides = false;
        for &layer in layers {
            if kind(&self.look(layer, name)?) != SFlag::S_IFDIR {
                hides = true;
                break;
            }
            self.from[layer] = directory(self.from[layer].as_fd(), name)?;
            shown.push(layer);
            if is_opaque(&self.from[layer])? {
                hides = true;
                break;
            }
        }
        mkdirat(&self.to, name, Mode::S_IRWXU)?;
        self.to = directory(self.to.as_fd(), name)?;
        if hides {
            let set = self.to.set_xattr(OPAQUE, IS_OPAQUE);
            set.map_err(|error| crate::sys::errno_of(&error))?;
        }
        self.enter(shown)
    }

    /// Gives the directory what it has of its own, and goes back to its parent.
    fn leave(&mut self) -> Result<(), Errno> {
        let Some(Level { layers, .. }) = self.path.pop() else {
            return Ok(());
        };
        let Some(above) = self.path.last() else {
            return Ok(());
        };
        if let Some(newest) = layers.first().map(|&(layer, _)| &self.from[layer]) {
            file::describe(newest, &self.to, &fstat(newest)?)?;
        }
        for (layer, _) in layers {
            let parent = directory(self.from[layer].as_fd(), c"..")?;
            if !above.layers.contains(&(layer, fstat(&parent)?.st_ino)) {
                // Somebody has moved it.
                return Err(Errno::ESTALE);
            }
            self.from[layer] = parent;
        }
        self.to = directory(self.to.as_fd(), c"..")?;
        Ok(())
    }
}

fn number_name(number: u64) -> Result<CString, Errno> {
    CString::new(number.to_string()).map_err(|_| Errno::EINVAL)
}
