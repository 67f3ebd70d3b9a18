//! Decides which of the host's files a VM may see.
//!
//! A file that others may not read is never shown, whatever user the server has: an ordinary user's VM has that user's
//! id, and could read the user's private files. The VM sees exactly what was checked: a small file is read once, and
//! the copy is shown.

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};

use super::large::is_large_and_open;
use super::listing::{self, directory_flags};
use super::packages::Packages;
use super::tree::{Copied, Node, ShownTree, Stamp, ancestors};
use super::users::{READ, SEARCH, Users, allows, kind};
use super::{links, names};
use crate::boot::own_paths::HOST_FILES;

/// A larger file is shown itself, but only if a list names it or, below `/opt`, a package owns it.
const COPIED: i64 = 1024 * 1024;

/// The maximum size of all copies together: half of what a control message carries.
const ALL_COPIED: usize = 8 * 1024 * 1024;

/// How many bytes below `/opt` are read to detect changes.
const ALL_COMPARED: usize = 64 * 1024 * 1024;

/// The maximum number of files and directories checked below each top.
const ENTRIES: usize = 200_000;

/// The maximum depth of directories.
const DEPTH: usize = 24;

/// How many entries are checked, and how many bytes copied, of directories that users other than root and the server's
/// can change: those users could put anything there.
const LOOSE_ENTRIES: usize = 4096;
const LOOSE_COPIED: usize = 1024 * 1024;

/// The maximum number of links that no package owns, and the maximum length of a link's target.
const LINKS: usize = 4096;
const TARGET: usize = 1024;

/// The tree of files that packages own or lists name.
pub fn look() -> ShownTree {
    let packages = Packages::read();
    let mut look = Look::new(&packages, names::listed().into_iter().collect());
    for top in HOST_FILES {
        look.top(top);
    }
    look.finish()
}

/// Adds a requested path below `/etc`, whatever its owner, to `tree`.
pub fn ask(tree: &mut ShownTree, path: &str) -> Result<(), nix::Error> {
    let packages = Packages::default();
    let mut look = Look::new(&packages, HashSet::from([PathBuf::from(path)]));
    look.tree = std::mem::take(tree);
    look.copied = look.tree.copied();
    let result = look.asked(path);
    *tree = look.finish();
    result
}

/// Properties of the path that leads to a directory.
#[derive(Clone, Copy)]
struct Way {
    /// Whether a list names it or a directory above it.
    listed: bool,
    /// Whether only root and the server's user can change the directories on the path.
    is_closed: bool,
}

impl Default for Way {
    fn default() -> Self {
        Self {
            listed: false,
            is_closed: true,
        }
    }
}

/// The result for a directory.
struct Found {
    /// Whether nothing below it has to be hidden.
    whole: bool,
    /// Whether anything below it is shown.
    shown: bool,
}

struct Look<'a> {
    packages: &'a Packages,
    users: Users,
    listed: HashSet<PathBuf>,
    /// Directories above listed paths.
    above_listed: HashSet<PathBuf>,
    tree: ShownTree,
    copied: usize,
    loose_copied: usize,
    loose_entries: usize,
    compared: usize,
    entries: usize,
    /// Links that no package owns, and their targets.
    links: Vec<(String, String)>,
}

impl<'a> Look<'a> {
    fn new(packages: &'a Packages, listed: HashSet<PathBuf>) -> Self {
        let above = listed
            .iter()
            .flat_map(|path| path.ancestors().skip(1))
            .map(Path::to_owned);
        Self {
            packages,
            users: Users::now(),
            above_listed: above.collect(),
            listed,
            tree: ShownTree::default(),
            copied: 0,
            loose_copied: 0,
            loose_entries: 0,
            compared: 0,
            entries: 0,
            links: Vec::new(),
        }
    }

    fn top(&mut self, top: &str) {
        self.entries = 0;
        let Ok(fd) = openat(AT_FDCWD, top, directory_flags(), Mode::empty()) else {
            return;
        };
        let Ok(found) = fstat(&fd) else { return };
        if allows(&found, READ | SEARCH) {
            let way = self.way(top, Way::default(), &found);
            self.directory(fd.as_fd(), top, way, 0);
        }
    }

    /// The properties of the path through the directory at `path`. Records the directory if others can change it.
    fn way(&mut self, path: &str, before: Way, found: &FileStat) -> Way {
        let is_closed = before.is_closed && self.users.is_closed(found);
        if !is_closed {
            self.tree.loose.insert(path.to_owned());
        }
        Way { is_closed, ..before }
    }

    /// Adds a requested path: a file, or a directory with everything in it that others may read.
    fn asked(&mut self, path: &str) -> Result<(), nix::Error> {
        let mut way = Way {
            listed: true,
            ..Way::default()
        };
        // Others must be able to search the directories above it too.
        for above in ancestors(path) {
            let found = nix::sys::stat::stat(above)?;
            if !allows(&found, SEARCH) {
                return Err(nix::Error::EACCES);
            }
            way.is_closed &= self.users.is_closed(&found);
        }
        if !way.is_closed {
            self.tree.loose.insert(path.to_owned());
        }
        let (parent, name) = path.rsplit_once('/').ok_or(nix::Error::EINVAL)?;
        // A link there could lead to a file that is never shown.
        let how = OpenHow::new()
            .flags(directory_flags())
            .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
        let parent_fd = openat2(AT_FDCWD, parent, how)?;
        let found = fstatat(&parent_fd, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        let needed = if kind(&found) == SFlag::S_IFDIR {
            READ | SEARCH
        } else {
            READ
        };
        if kind(&found) != SFlag::S_IFLNK && !allows(&found, needed) {
            return Err(nix::Error::EACCES);
        }
        self.tree.remove(path);
        let whole = self.entry(parent_fd.as_fd(), name, path, way, 0);
        if !whole.whole {
            for above in ancestors(path) {
                self.tree.whole.remove(above);
            }
        }
        Ok(())
    }

    fn directory(&mut self, fd: BorrowedFd<'_>, path: &str, way: Way, depth: usize) -> Found {
        let mut all = Found {
            whole: true,
            shown: false,
        };
        let Ok(names) = listing::names(fd.as_fd()) else {
            return Found {
                whole: false,
                shown: false,
            };
        };
        for name in names {
            self.entries += 1;
            self.loose_entries += usize::from(!way.is_closed);
            let is_within = self.entries < ENTRIES && self.loose_entries < LOOSE_ENTRIES && depth < DEPTH;
            let Some(name) = name.filter(|_| is_within) else {
                all.whole = false;
                continue;
            };
            let found = self.entry(fd.as_fd(), &name, &format!("{path}/{name}"), way, depth);
            all.whole &= found.whole;
            all.shown |= found.shown;
        }
        all
    }

    fn entry(&mut self, parent_fd: BorrowedFd<'_>, name: &str, path: &str, way: Way, depth: usize) -> Found {
        let none = Found {
            whole: false,
            shown: false,
        };
        let place = Path::new(path);
        let is_listed = way.listed || self.listed.contains(place);
        let way = Way {
            listed: is_listed,
            ..way
        };
        // Only /etc is searched for files that no package owns.
        let is_looked_at = is_listed
            || path.starts_with("/etc/")
            || self.above_listed.contains(place)
            || self.packages.owns(place);
        if !is_looked_at || names::is_denied(place) {
            return none;
        }
        let Ok(found) = fstatat(parent_fd, name, AtFlags::AT_SYMLINK_NOFOLLOW) else {
            return none;
        };
        let shown = match kind(&found) {
            SFlag::S_IFDIR if allows(&found, READ | SEARCH) => {
                return self.subdirectory(parent_fd, name, path, way, depth);
            }
            SFlag::S_IFREG if allows(&found, READ) => self.file(parent_fd, name, path, way),
            SFlag::S_IFLNK => {
                // A link can be read anywhere, and reading it does not follow it.
                return Found {
                    whole: true,
                    shown: self.link(parent_fd, name, path, is_listed),
                };
            }
            _ => false,
        };
        Found { whole: shown, shown }
    }

    fn subdirectory(
        &mut self,
        parent_fd: BorrowedFd<'_>,
        name: &str,
        path: &str,
        way: Way,
        depth: usize,
    ) -> Found {
        let none = Found {
            whole: false,
            shown: false,
        };
        let Ok(fd) = openat(
            parent_fd,
            name,
            directory_flags() | OFlag::O_NOFOLLOW,
            Mode::empty(),
        ) else {
            return none;
        };
        let Ok(found) = fstat(&fd) else { return none };
        if !allows(&found, READ | SEARCH) {
            return none;
        }
        let way = self.way(path, way, &found);
        let is_own = self.users.is_ours(&found);
        if way.listed && way.is_closed && !is_own && is_large_and_open(&fd, path, &self.users) {
            self.show(path, Node::Bind, None);
            return Found {
                whole: true,
                shown: true,
            };
        }
        let mut all = self.directory(fd.as_fd(), path, way, depth + 1);
        // Its owner can put anything there.
        all.whole &= !is_own;
        let is_closed = way.is_closed;
        if path.starts_with("/opt/") {
            if all.whole && all.shown && is_closed {
                self.tree.replace(path, Node::Bind);
            }
        } else if way.listed
            || all.shown
            || (path.starts_with("/etc/") && self.packages.owns(Path::new(path)))
        {
            self.show(path, Node::Directory, Some(&found));
            all.shown = true;
            if all.whole && is_closed {
                self.tree.whole.insert(path.to_owned());
            }
        }
        all.whole &= all.shown && is_closed;
        all
    }

    /// Returns whether the file is shown.
    fn file(&mut self, parent_fd: BorrowedFd<'_>, name: &str, path: &str, way: Way) -> bool {
        let Way { listed, is_closed } = way;
        let place = Path::new(path);
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let Ok(fd) = openat(parent_fd, name, flags, Mode::empty()) else {
            return false;
        };
        let Ok(found) = fstat(&fd) else { return false };
        if kind(&found) != SFlag::S_IFREG || !allows(&found, READ) {
            return false;
        }
        let is_program = path.starts_with("/opt/");
        if found.st_size > COPIED {
            let is_shown = is_closed
                && self.users.is_closed(&found)
                && (listed || (is_program && self.packages.owns(place)));
            if is_shown {
                self.show(path, Node::Bind, None);
            }
            return is_shown;
        }
        if !listed && !self.packages.owns(place) {
            return false;
        }
        let most = if is_program {
            ALL_COMPARED - self.compared
        } else if is_closed {
            ALL_COPIED.saturating_sub(self.copied)
        } else {
            LOOSE_COPIED.saturating_sub(self.loose_copied)
        };
        let Some(content) = listing::read(fd, found.st_size as usize).filter(|content| content.len() <= most)
        else {
            return false;
        };
        if !listed && !self.packages.brought(place, &content) {
            return false;
        }
        if is_program {
            self.compared += content.len();
            if !is_closed || !self.users.is_closed(&found) {
                return false;
            }
            self.show(path, Node::Bind, None);
        } else {
            self.copied += content.len();
            self.loose_copied += if is_closed { 0 } else { content.len() };
            let node = Node::File(Copied {
                content: Arc::from(content),
                is_executable: found.st_mode & 0o1 != 0,
                modified: (found.st_mtime, found.st_mtime_nsec),
            });
            self.show(path, node, Some(&found));
        }
        true
    }

    /// Returns whether the link is shown already.
    fn link(&mut self, parent_fd: BorrowedFd<'_>, name: &str, path: &str, listed: bool) -> bool {
        let target = readlinkat(parent_fd, name)
            .ok()
            .and_then(|target| target.into_string().ok());
        let Some(target) = target.filter(|target| target.len() <= TARGET) else {
            return false;
        };
        let is_shown = listed || self.packages.owns(Path::new(path));
        if is_shown {
            self.show(path, Node::Link(target), None);
        } else if self.links.len() < LINKS {
            self.links.push((path.to_owned(), target));
        }
        is_shown
    }

    fn show(&mut self, path: &str, node: Node, found: Option<&FileStat>) {
        if let Some(found) = found {
            self.tree.seen.push((path.to_owned(), Stamp::of(found)));
        }
        self.tree.nodes.insert(path.to_owned(), node);
    }

    /// The tree, with the links whose targets it shows.
    fn finish(mut self) -> ShownTree {
        links::show(&mut self.tree, self.links);
        self.tree
    }
}
