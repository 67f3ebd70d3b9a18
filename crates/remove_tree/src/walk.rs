//! The walk: down to the deepest names and up again, remembering a bounded part of its path.

use std::collections::VecDeque;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use nix::errno::Errno;

use crate::entries::Entry;
use crate::named::Named;
use crate::sys::{self, Identity};
use crate::tree::{Failed, Tree};

/// The maximum number of open directories; deeper trees are walked by `..`.
pub const MOST_OPEN: usize = 16;

/// How many directories above the open ones are remembered by their identities, 24 bytes each. In a deeper tree, the
/// walk begins at the top again after it has removed that many of the lowest levels.
const MOST_REMEMBERED: usize = 1024 * 1024;

/// The maximum number of names that are removed at once.
const MOST_AT_ONCE: usize = 100;

/// How often one name is tried, and how often the walk begins again because a directory was moved. More than a few
/// attempts are necessary only if a process changes the tree meanwhile.
const MOST_TRIES: u32 = 1000;

/// Removes `path` with everything below it. It is no error if the path does not exist.
///
/// # Errors
/// Before anything is removed: EINVAL if the last name of `path` is `.` or `..`, and ENOTDIR if slashes follow a name
/// that is not a directory. A link is not followed, with or without slashes after it.
///
/// The errors of `tree`: EBUSY if something is mounted, or if directories are moved faster than they are removed.
pub async fn remove<T: Tree>(tree: &T, path: &CStr) -> Result<(), Failed<T::Error>> {
    let failed = |errno| Failed {
        error: T::error(errno, "rmdir"),
        below: Vec::new(),
    };
    let named = Named::of(path.to_bytes()).map_err(failed)?;
    let path = CString::new(named.path).map_err(|_| failed(Errno::EINVAL))?;
    let mut walk = Walk::new(tree, &path, named.needs_directory);
    match walk.run().await {
        Ok(()) => Ok(()),
        Err(error) => Err(Failed {
            error,
            below: walk.below(),
        }),
    }
}

/// A directory that is being emptied. Its first entry is the one that is being removed.
struct Level {
    /// `None` for the level above the removed path, which is the only entry there.
    directory: Option<Arc<OwnedFd>>,
    identity: Option<Identity>,
    entries: VecDeque<Entry>,
    /// Whether there are no entries after `entries`.
    is_listed: bool,
    is_unlocked: bool,
}

impl Level {
    fn above(path: &CStr) -> Self {
        Self {
            directory: None,
            identity: None,
            entries: VecDeque::from([Entry::new(path.to_owned(), true)]),
            is_listed: true,
            is_unlocked: true,
        }
    }

    fn of(directory: OwnedFd, identity: Identity) -> Self {
        Self {
            directory: Some(Arc::new(directory)),
            identity: Some(identity),
            entries: VecDeque::new(),
            is_listed: false,
            is_unlocked: false,
        }
    }
}

struct Walk<'a, T> {
    tree: &'a T,
    path: &'a CStr,
    /// The level above the path, then the deepest levels.
    levels: VecDeque<Level>,
    /// The levels between these, from the top.
    closed: VecDeque<Identity>,
    /// Whether levels between the first one and `closed` were forgotten.
    forgot: bool,
    /// Whether the path itself must be a directory.
    needs_directory: bool,
    restarts: u32,
}

impl<'a, T: Tree> Walk<'a, T> {
    fn new(tree: &'a T, path: &'a CStr, needs_directory: bool) -> Self {
        Self {
            tree,
            path,
            levels: VecDeque::from([Level::above(path)]),
            closed: VecDeque::new(),
            forgot: false,
            needs_directory,
            restarts: 0,
        }
    }

    async fn run(&mut self) -> Result<(), T::Error> {
        while let Some(level) = self.levels.back_mut() {
            if !level.entries.is_empty() {
                self.remove_files().await?;
                self.remove_next().await?;
                continue;
            }
            let Some(directory) = &level.directory else { break };
            if level.is_listed {
                self.leave().await?;
                continue;
            }
            let found = self.tree.list(Arc::clone(directory)).await?;
            level.entries = found.entries;
            level.is_listed = found.are_last;
        }
        Ok(())
    }

    /// Removes the next names that are no directories, if there are several, as far as the tree can at once.
    async fn remove_files(&mut self) -> Result<(), T::Error> {
        let Some(level) = self.levels.back_mut() else {
            return Ok(());
        };
        let Some(directory) = &level.directory else {
            return Ok(());
        };
        let untried = level
            .entries
            .iter()
            .take_while(|entry| !entry.is_directory && entry.tries == 0);
        let names: Vec<&CStr> = untried
            .take(MOST_AT_ONCE)
            .map(|entry| entry.name.as_c_str())
            .collect();
        if names.len() > 1 {
            let count = self.tree.remove_files(directory, &names).await?;
            level.entries.drain(..count.min(names.len()));
        }
        Ok(())
    }

    /// Tries the next name: the name is then removed, or entered, or will be tried in another way.
    async fn remove_next(&mut self) -> Result<(), T::Error> {
        let Some(level) = self.levels.back_mut() else {
            return Ok(());
        };
        let Some(entry) = level.entries.front_mut() else {
            return Ok(());
        };
        entry.tries += 1;
        let removed = self
            .tree
            .remove(level.directory.clone(), &entry.name, entry.is_directory)
            .await;
        let Err(error) = removed else {
            level.entries.pop_front();
            return Ok(());
        };
        let is_last_try = entry.tries >= MOST_TRIES;
        match T::errno(&error) {
            // Another process was faster.
            Some(Errno::ENOENT) => {
                level.entries.pop_front();
                Ok(())
            }
            _ if is_last_try => Err(error),
            Some(Errno::ENOTDIR) if self.needs_directory && level.directory.is_none() => Err(error),
            Some(Errno::ENOTDIR) if entry.is_directory => {
                entry.is_directory = false;
                Ok(())
            }
            Some(Errno::EISDIR) if !entry.is_directory => {
                entry.is_directory = true;
                Ok(())
            }
            Some(Errno::ENOTEMPTY | Errno::EEXIST) if entry.is_directory => self.enter().await,
            Some(Errno::EACCES | Errno::EPERM) if !level.is_unlocked => {
                level.is_unlocked = true;
                let unlocked = level
                    .directory
                    .as_ref()
                    .is_some_and(|directory| self.tree.unlock(directory, None));
                if unlocked { Ok(()) } else { Err(error) }
            }
            _ => Err(error),
        }
    }

    /// Opens the directory with the next name.
    async fn enter(&mut self) -> Result<(), T::Error> {
        let Some(level) = self.levels.back_mut() else {
            return Ok(());
        };
        let Some(entry) = level.entries.front_mut() else {
            return Ok(());
        };
        let opened = match self.tree.open(level.directory.clone(), &entry.name).await {
            // The caller opens the path itself, which has no directory here.
            Err(error) if T::errno(&error) == Some(Errno::EACCES) => {
                let unlocked = match &level.directory {
                    Some(directory) => self.tree.unlock(directory, Some(&entry.name)),
                    None => false,
                };
                if !unlocked {
                    return Err(error);
                }
                self.tree.open(level.directory.clone(), &entry.name).await
            }
            other => other,
        };
        let directory = match opened {
            Ok(directory) => directory,
            Err(error) => {
                return match T::errno(&error) {
                    // The next attempt finds out which.
                    Some(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => Ok(()),
                    _ => Err(error),
                };
            }
        };
        let identity = identity::<T>(&directory)?;
        if level.identity.is_some_and(|above| above.mount != identity.mount) {
            return Err(T::error(Errno::EBUSY, "rmdir"));
        }
        self.levels.push_back(Level::of(directory, identity));
        if self.levels.len() > MOST_OPEN
            && let Some(closed) = self.levels.remove(1).and_then(|level| level.identity)
        {
            self.closed.push_back(closed);
            if self.closed.len() > MOST_REMEMBERED {
                self.closed.pop_front();
                self.forgot = true;
            }
        }
        Ok(())
    }

    /// Leaves the deepest directory, which is empty; the next attempt with its name in the directory above removes it.
    async fn leave(&mut self) -> Result<(), T::Error> {
        let Some(left) = self.levels.pop_back() else {
            return Ok(());
        };
        if self.levels.len() > 1 {
            return Ok(());
        }
        let Some(above) = self.closed.pop_back() else {
            if self.forgot {
                self.restart();
            }
            return Ok(());
        };
        if let Ok(directory) = self.tree.open(left.directory, c"..").await
            && identity::<T>(&directory)? == above
        {
            // Its names are listed again, including the name of the directory that was left.
            self.levels.push_back(Level::of(directory, above));
            return Ok(());
        }
        // It was moved, or locked.
        self.restarts += 1;
        if self.restarts >= MOST_TRIES {
            return Err(T::error(Errno::EBUSY, "rmdir"));
        }
        self.restart();
        Ok(())
    }

    fn restart(&mut self) {
        self.levels.truncate(1);
        self.closed.clear();
        self.forgot = false;
        if let Some(level) = self.levels.front_mut()
            && level.entries.is_empty()
        {
            *level = Level::above(self.path);
        }
    }

    /// The path of the name that is being removed, below the given path.
    fn below(&self) -> Vec<u8> {
        let mut below = Vec::new();
        if !self.closed.is_empty() || self.forgot {
            below.extend("…".as_bytes());
        }
        for entry in self
            .levels
            .iter()
            .skip(1)
            .filter_map(|level| level.entries.front())
        {
            if !below.is_empty() {
                below.push(b'/');
            }
            below.extend(entry.name.to_bytes());
        }
        below
    }
}

fn identity<T: Tree>(directory: &OwnedFd) -> Result<Identity, T::Error> {
    sys::identity(directory.as_fd()).map_err(|errno| T::error(errno, "statx"))
}
