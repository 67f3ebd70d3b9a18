//! What the watches of one VM have in common. Nothing here calls the kernel: events and what was found come in, and what must be
//! opened goes out.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::held_move::HeldMove;
use super::job::{Found, Job, Scan};
use super::queue::{WatchEnd, WatchEvent};
use super::tree::{Contents, Directory, Place, ROOT};
use super::watched::{WatchId, Watched};
use crate::error::Error;

/// How long a receiver waits at most to learn that events were lost, while all directories are opened again.
const UNTOLD: Duration = Duration::from_secs(1);

/// When what could not be opened is opened again, if there is no event.
const AGAIN: Duration = Duration::from_millis(10);

/// The longest path below the file that is watched, in bytes, that the kernel opens.
const LONGEST_WAY: usize = 4095;

/// How many names may wait to be looked up. With more, their directories are listed.
const MOST_LOOKS: usize = 16_384;

/// The watches of one VM. One task has it, and does one thing after the other.
pub struct State {
    pub(super) watches: HashMap<WatchId, Watched>,
    /// Whom the events of each of the kernel's watches are about.
    followers: HashMap<i32, Vec<(WatchId, Place)>>,
    /// The kernel's watches that nobody followed any more.
    dropped: Vec<i32>,
    pub(super) pending: VecDeque<Job>,
    /// How many names must be looked up, by these and by those below.
    pub(super) looks: usize,
    /// The most that may be.
    pub(super) most_looks: usize,
    /// Done again when more events have been read, or a moment later.
    pub(super) later: Vec<Job>,
    /// When the last of these was added, unless an event has been read since then.
    pub(super) later_since: Option<Instant>,
    /// What was found, until the events up to then are applied.
    pub(super) looking: Option<Found>,
    /// First halves of renames.
    pub(super) held: Vec<HeldMove>,
    /// How many halves of renames were applied.
    pub(super) renames: u64,
    /// The directories that were renamed in this turn.
    pub(super) moved: HashSet<(WatchId, Place)>,
    /// How many directories and files are watched.
    places: usize,
    /// The most that may be.
    most: usize,
}

impl State {
    pub fn new(most: usize) -> Self {
        Self {
            watches: HashMap::new(),
            followers: HashMap::new(),
            dropped: Vec::new(),
            pending: VecDeque::new(),
            looks: 0,
            most_looks: MOST_LOOKS,
            later: Vec::new(),
            later_since: None,
            looking: None,
            held: Vec::new(),
            renames: 0,
            moved: HashSet::new(),
            places: 0,
            most,
        }
    }

    /// Begins a watch.
    pub fn start(&mut self, id: WatchId, watched: Watched) {
        self.places += 1;
        self.watches.insert(id, watched);
        self.scan(id, ROOT, false);
    }

    /// Ends a watch. Its receiver gets no more events.
    pub fn stop(&mut self, id: WatchId) {
        self.end(id, WatchEnd::Done, true);
    }

    /// Ends a watch whose file is gone.
    pub(super) fn gone(&mut self, id: WatchId) {
        if let Some(watched) = self.watches.get_mut(&id) {
            watched.queue.push(WatchEvent::Removed(watched.root()));
            if let Some(ready) = watched.ready.take() {
                // A failed send means that the caller no longer waits.
                drop(ready.send(Err(Error::System {
                    errno: libc::ENOENT,
                    syscall: "watch".into(),
                    path: Some(watched.root().to_string()),
                })));
            }
        }
        self.end(id, WatchEnd::Done, false);
    }

    /// Ends a watch that cannot go on.
    pub(super) fn fail(&mut self, id: WatchId, error: Error) {
        if let Some(watched) = self.watches.get_mut(&id)
            && let Some(ready) = watched.ready.take()
        {
            // As above.
            drop(ready.send(Err(error.clone())));
        }
        self.end(id, WatchEnd::Failed(error), false);
    }

    fn end(&mut self, id: WatchId, end: WatchEnd, forget: bool) {
        self.forget(id, ROOT);
        if let Some(watched) = self.watches.remove(&id) {
            watched.queue.end(end, forget);
        }
        self.pending.retain(|job| job.watch() != id);
        self.later.retain(|job| job.watch() != id);
        let waiting = self.pending.iter().chain(&self.later);
        self.looks = waiting.filter(|job| matches!(job, Job::Look(_))).count();
        self.held.retain(|held| held.watch != id);
    }

    /// Whether something must be opened or looked up now.
    pub fn has_pending(&self) -> bool {
        !self.pending.is_empty() && self.looking.is_none()
    }

    /// When there is something to do even if nothing happens.
    pub fn deadline(&self) -> Option<Instant> {
        let again = (!self.later.is_empty())
            .then(|| self.later_since.map_or_else(Instant::now, |since| since + AGAIN));
        self.held.iter().map(HeldMove::deadline).chain(again).min()
    }

    /// Has a directory opened, unless it will be opened anyway or its events say all.
    pub(super) fn scan(&mut self, watch: WatchId, place: Place, report: bool) {
        self.queue(Job::Scan(Scan {
            watch,
            place,
            report,
            since: None,
        }));
    }

    pub(super) fn queue(&mut self, job: Job) {
        if let Job::Scan(scan) = &job {
            let Some(watched) = self.watches.get_mut(&scan.watch) else {
                return;
            };
            let Some(directory) = watched.tree.get_mut(scan.place) else {
                return;
            };
            if directory.is_queued || directory.is_known() {
                return;
            }
            directory.is_queued = true;
            watched.silent += usize::from(!scan.report);
        }
        self.pending.push_back(job);
    }

    /// Whether events say all about the names in a directory.
    pub(super) fn is_known(&self, id: WatchId, place: Place) -> bool {
        self.watches
            .get(&id)
            .and_then(|watched| watched.tree.get(place))
            .is_some_and(Directory::is_known)
    }

    pub(super) fn followers(&self, number: i32) -> Vec<(WatchId, Place)> {
        self.followers.get(&number).cloned().unwrap_or_default()
    }

    /// The kernel has ended one of its watches.
    pub(super) fn ignored(&mut self, number: i32) {
        self.followers.remove(&number);
    }

    /// After events were read.
    pub fn end_turn(&mut self, is_drained: bool, now: Instant) {
        self.leave_out_far();
        if is_drained {
            self.release_moves(Some(now), |_| true);
        }
        if self.later_since.is_none_or(|since| now - since >= AGAIN) {
            self.pending.extend(self.later.drain(..));
        }
    }

    /// Of the directories that were renamed in this turn, with what is below them, those that are too far down are not watched any
    /// more. Once for a turn: a program can rename a directory with all others in it thousands of times meanwhile.
    fn leave_out_far(&mut self) {
        let mut seen = HashSet::new();
        for (watch, top) in std::mem::take(&mut self.moved) {
            let Some(watched) = self.watches.get(&watch) else {
                continue;
            };
            let below = watched.tree.with_below(top, |place| seen.insert((watch, place)));
            for place in watched.tree.first_too_far(below, LONGEST_WAY) {
                self.leave_out(watch, place);
            }
        }
    }

    /// Whether a directory is so far down, after renames, that its path cannot be opened any more. It, and what is below the first
    /// such directory on the way to it, is not watched from then on: every event would make a path of that length.
    pub(super) fn is_too_far(&mut self, id: WatchId, place: Place) -> bool {
        let Some(watched) = self.watches.get(&id) else {
            return false;
        };
        if watched.tree.way_length(place, LONGEST_WAY) <= LONGEST_WAY {
            return false;
        }
        if let Some(first) = watched.tree.first_far(place, LONGEST_WAY) {
            self.leave_out(id, first);
        }
        true
    }

    fn leave_out(&mut self, id: WatchId, place: Place) {
        if let Some(watched) = self.watches.get(&id)
            && watched.tree.get(place).is_some()
        {
            let error = Error::system(&Errno::ENAMETOOLONG.into(), "watch");
            watched.unwatched(place, b"", error.code());
            self.forget(id, place);
        }
    }

    /// Tells receivers what is so now: that everything is watched, and what was lost before.
    pub fn settle(&mut self, now: Instant) {
        for watched in self.watches.values_mut() {
            if watched.silent > 0 {
                if watched.lost_since.is_some_and(|since| now - since >= UNTOLD) {
                    watched.queue.settle();
                    // What comes before all is watched again is covered by another one.
                    watched.queue.lose();
                    watched.lost_since = Some(now);
                }
                continue;
            }
            if let Some(ready) = watched.ready.take() {
                // A failed send means that the caller no longer waits.
                drop(ready.send(Ok(())));
            }
            watched.lost_since = None;
            watched.queue.settle();
        }
    }

    /// The kernel has lost events: which, nobody knows.
    pub(super) fn overflow(&mut self, now: Instant) {
        self.held.clear();
        let watches: Vec<_> = self.watches.keys().copied().collect();
        for id in watches {
            self.lose(id, ROOT, now);
        }
    }

    /// Opens a directory, and all below it, again. Then the receiver gets an overflow.
    pub(super) fn lose(&mut self, id: WatchId, top: Place, now: Instant) {
        let Some(watched) = self.watches.get_mut(&id) else {
            return;
        };
        watched.queue.lose();
        watched.lost_since.get_or_insert(now);
        for place in watched.tree.with_below(top, |_| true) {
            if let Some(directory) = watched.tree.get_mut(place) {
                directory.contents = Contents::Unknown;
                directory.is_held = false;
                directory.arrived = None;
                directory.unsure.clear();
            }
        }
        self.scan(id, top, false);
    }

    /// Ceases to watch a directory and all below it.
    pub(super) fn forget(&mut self, id: WatchId, place: Place) {
        let Some(watched) = self.watches.get_mut(&id) else {
            return;
        };
        let removed = watched.tree.remove(place);
        self.places -= removed.len();
        for (place, directory) in removed {
            if let Some(number) = directory.number {
                self.unfollow(number, id, place);
            }
        }
    }

    /// Makes the events of one of the kernel's watches those of a place.
    pub(super) fn follow(&mut self, number: i32, id: WatchId, place: Place) {
        let followers = self.followers.entry(number).or_default();
        if !followers.contains(&(id, place)) {
            followers.push((id, place));
        }
    }

    /// The opposite. What nobody follows any more the kernel ceases to watch.
    pub(super) fn unfollow(&mut self, number: i32, id: WatchId, place: Place) {
        if let Some(followers) = self.followers.get_mut(&number) {
            followers.retain(|follower| *follower != (id, place));
            if followers.is_empty() {
                self.followers.remove(&number);
                self.dropped.push(number);
            }
        }
    }

    /// The kernel watches something that nobody may follow.
    pub(super) fn drop_unfollowed(&mut self, number: i32) {
        if !self.followers.contains_key(&number) {
            self.dropped.push(number);
        }
    }

    /// The kernel's watches that nobody follows any more.
    pub fn take_dropped(&mut self) -> Vec<i32> {
        let mut dropped = std::mem::take(&mut self.dropped);
        dropped.retain(|number| !self.followers.contains_key(number));
        dropped
    }

    /// Adds a directory to a tree, if the bound allows.
    pub(super) fn add_place(&mut self, id: WatchId, parent: Place, name: &[u8]) -> Option<Place> {
        let watched = self.watches.get_mut(&id)?;
        if self.places >= self.most || watched.tree.get(parent).is_none() {
            return None;
        }
        self.places += 1;
        Some(watched.tree.add(parent, name))
    }

    /// Why a directory could not be added.
    pub(super) fn too_many(&self) -> Error {
        Error::LimitExceeded(format!(
            "the watches of this VM have {} directories, the most that a VM may watch: exclude names, or watch less",
            self.most
        ))
    }
}
