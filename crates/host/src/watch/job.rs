//! What is opened or looked up next, and what was found there.

use std::os::fd::OwnedFd;
use std::time::Instant;

use super::raw::Position;
use super::tree::Place;
use super::watched::{Kind, WatchId};
use crate::error::Error;

/// Something to look at.
#[derive(Debug, Clone)]
pub enum Job {
    Scan(Scan),
    Look(Look),
}

impl Job {
    pub fn watch(&self) -> WatchId {
        match self {
            Self::Scan(scan) => scan.watch,
            Self::Look(look) => look.watch,
        }
    }
}

/// A directory that must be opened and listed.
#[derive(Debug, Clone, Copy)]
pub struct Scan {
    pub watch: WatchId,
    pub place: Place,
    /// Whether what is in it is reported as created.
    pub report: bool,
    /// Since when it could not be opened at the path that it has.
    pub since: Option<Instant>,
}

/// A name in a directory at which there may be something.
#[derive(Debug, Clone)]
pub struct Look {
    pub watch: WatchId,
    pub place: Place,
    pub name: Vec<u8>,
    /// Since when it could not be looked up.
    pub since: Option<Instant>,
}

/// Jobs of one watch that are done together.
pub struct Batch {
    pub watch: WatchId,
    pub kind: Kind,
    pub real: Vec<u8>,
    pub first_fd: Option<OwnedFd>,
    /// With their paths from the root of the watch.
    pub jobs: Vec<(Job, Vec<u8>)>,
    /// How many renames had been applied when the paths were made.
    pub renames: u64,
}

/// What a batch has found.
pub struct Found {
    pub watch: WatchId,
    /// The device and inode of the root.
    pub root: Result<(u64, u64), Error>,
    pub jobs: Vec<(Job, Outcome)>,
    /// The end of the events when all directories were watched, and nothing that had begun before that went on in them.
    pub from: Position,
    /// The end of the events when all was listed.
    pub until: Position,
    pub renames: u64,
}

/// What a job has found.
pub enum Outcome {
    /// A directory.
    Scanned {
        /// The kernel's number of the watch.
        number: i32,
        /// What it contains; `None` if it has not been listed yet.
        listing: Option<Result<Listing, Error>>,
    },
    /// What is at a name, if there is anything: whether it is a directory.
    Looked(Option<bool>),
    Failed(Error),
}

/// What a directory contains.
#[derive(Debug, Default)]
pub struct Listing {
    /// Names, and whether each is a directory.
    pub names: Vec<(Vec<u8>, bool)>,
    /// Whether names were left out.
    pub is_cut: bool,
}
