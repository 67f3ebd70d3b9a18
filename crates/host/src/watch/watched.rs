//! One watch: what it is about, its directories, and the paths that its events name.

use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use super::queue::{Queue, WatchEvent};
use super::tree::{Place, ROOT, Tree};
use crate::error::Error;

/// What a caller asks to watch.
#[derive(Debug, Clone)]
pub struct WatchFilesRequest {
    /// The file or directory.
    pub path: String,
    /// Whether everything below a directory is watched too.
    pub recursive: bool,
    /// Names that are left out, with everything below them.
    pub exclude: HashSet<String>,
}

/// What a watch is about, as far as opening needs it.
#[derive(Debug, Clone)]
pub struct Kind {
    pub is_directory: bool,
    pub recursive: bool,
    pub exclude: Arc<HashSet<String>>,
}

impl Kind {
    pub fn excludes(&self, name: &[u8]) -> bool {
        !self.exclude.is_empty() && self.exclude.contains(&*String::from_utf8_lossy(name))
    }
}

/// The number of a watch; no other one of its VM has it.
pub type WatchId = u64;

/// One watch.
pub struct Watched {
    pub queue: Arc<Queue>,
    /// The path that the caller gave, without trailing slashes; the paths of events begin with it.
    shown: String,
    /// The path without links, which all directories are opened by.
    pub real: Vec<u8>,
    pub kind: Kind,
    pub tree: Tree,
    /// The file, until it is watched.
    pub first_fd: Option<OwnedFd>,
    /// The device and inode of the file.
    pub identity: Option<(u64, u64)>,
    /// How many directories are still to be opened without that what is in them is reported.
    pub silent: usize,
    /// Since when the receiver does not know that events were lost.
    pub lost_since: Option<Instant>,
    /// Receives whether everything is watched.
    pub ready: Option<oneshot::Sender<Result<(), Error>>>,
}

impl Watched {
    pub fn new(
        request: WatchFilesRequest,
        real: Vec<u8>,
        first_fd: Option<OwnedFd>,
        is_directory: bool,
        queue: Arc<Queue>,
        ready: oneshot::Sender<Result<(), Error>>,
    ) -> Self {
        Self {
            queue,
            shown: request.path.trim_end_matches('/').to_owned(),
            real,
            kind: Kind {
                is_directory,
                recursive: request.recursive && is_directory,
                exclude: Arc::new(request.exclude),
            },
            tree: Tree::new(),
            first_fd,
            identity: None,
            silent: 0,
            lost_since: None,
            ready: Some(ready),
        }
    }

    /// The path of the watch itself.
    pub fn root(&self) -> Arc<str> {
        self.path(ROOT, b"")
    }

    /// The path of a name in a directory or, if it is empty, of the directory.
    pub fn path(&self, place: Place, name: &[u8]) -> Arc<str> {
        let way = self.tree.way(place);
        let mut path = self.shown.clone();
        for part in [way.as_slice(), name] {
            if !part.is_empty() {
                path.push('/');
                path.push_str(&String::from_utf8_lossy(part));
            }
        }
        if path.is_empty() { "/".into() } else { path.into() }
    }

    pub fn created(&self, place: Place, name: &[u8]) {
        self.queue.push(WatchEvent::Created(self.path(place, name)));
    }

    pub fn changed(&self, place: Place, name: &[u8]) {
        self.queue.push(WatchEvent::Changed(self.path(place, name)));
    }

    pub fn removed(&self, place: Place, name: &[u8]) {
        self.queue.push(WatchEvent::Removed(self.path(place, name)));
    }

    /// Reports that what is below a directory is not watched.
    pub fn unwatched(&self, place: Place, name: &[u8], code: String) {
        let path = self.path(place, name);
        self.queue.push(WatchEvent::Unwatched { path, code });
    }
}
