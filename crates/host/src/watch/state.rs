//! What the watches of one VM have in common: one inotify instance, and the directories that are still to be opened.

use std::collections::{HashMap, HashSet, VecDeque};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::held_move::HeldMove;
use super::queue::{WatchEnd, WatchEvent};
use super::raw::parse;
use super::sys;
use super::tree::{Place, ROOT};
use super::watched::{WatchId, Watched};
use crate::error::Error;

/// The bytes of one read, and how many reads there are before other work has its turn.
const READ_BYTES: usize = 16 * 1024;
const READS: usize = 16;

/// After how much time other work has its turn, too.
const TURN: Duration = Duration::from_millis(10);

/// How long a receiver waits at most to learn that events were lost, while all directories are opened again.
const UNTOLD: Duration = Duration::from_secs(1);

/// When a directory that is missing although no event says why is opened again.
const AGAIN: Duration = Duration::from_millis(10);

/// The longest path below the file that is watched, in bytes, that the kernel opens.
const LONGEST_WAY: usize = 4095;

/// A directory that must be opened.
#[derive(Debug, Clone, Copy)]
pub struct Scan {
    pub watch: WatchId,
    pub place: Place,
    /// Whether what is in it is reported as created.
    pub report: bool,
    /// Whether directories in it that are watched already are opened as well.
    pub deep: bool,
    /// Since when there was no such directory.
    pub missing: Option<Instant>,
    /// Whether it is not known if there is anything. If so, that is reported, too.
    pub doubtful: bool,
}

impl Scan {
    /// Of a place of which it is not known whether there is anything.
    pub(super) fn of_doubtful(watch: WatchId, place: Place) -> Self {
        Self {
            watch,
            place,
            report: true,
            deep: false,
            missing: None,
            doubtful: true,
        }
    }
}

/// The watches of one VM. One task has it, and does one thing after the other.
pub struct State {
    pub(super) watches: HashMap<WatchId, Watched>,
    /// Whom the events of each of the kernel's watches are about.
    pub(super) followers: HashMap<i32, Vec<(WatchId, Place)>>,
    pub(super) pending: VecDeque<Scan>,
    /// Opened again when more events have been read, or a moment later.
    pub(super) later: Vec<Scan>,
    /// When the last of these was added, unless an event has been read since then.
    pub(super) later_since: Option<Instant>,
    /// First halves of renames.
    pub(super) held: Vec<HeldMove>,
    /// The directories with names that a listing has reported, since all events had been read.
    pub(super) listed: Vec<(WatchId, Place)>,
    /// How many those names are.
    pub(super) reported: usize,
    /// The directories that were opened since then: an event about their path may still have to be read.
    pub(super) recent: HashSet<(WatchId, Place)>,
    /// The directories that were renamed in this turn.
    pub(super) moved: HashSet<(WatchId, Place)>,
    /// How many directories and files are watched.
    pub(super) places: usize,
    /// The most that may be.
    pub(super) most: usize,
    pub(super) inotify_fd: Arc<OwnedFd>,
}

impl State {
    pub fn new(inotify_fd: Arc<OwnedFd>, most: usize) -> Self {
        Self {
            watches: HashMap::new(),
            followers: HashMap::new(),
            pending: VecDeque::new(),
            later: Vec::new(),
            later_since: None,
            held: Vec::new(),
            listed: Vec::new(),
            reported: 0,
            recent: HashSet::new(),
            moved: HashSet::new(),
            places: 0,
            most,
            inotify_fd,
        }
    }

    /// Begins a watch.
    pub fn start(&mut self, id: WatchId, watched: Watched) {
        self.places += 1;
        self.watches.insert(id, watched);
        self.scan(id, ROOT, false, false);
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
        self.pending.retain(|scan| scan.watch != id);
        self.later.retain(|scan| scan.watch != id);
        self.held.retain(|held| held.watch != id);
    }

    /// Whether a directory must be opened.
    pub fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// When there is something to do even if nothing happens.
    pub fn deadline(&self) -> Option<Instant> {
        let again = (!self.later.is_empty())
            .then(|| self.later_since.map_or_else(Instant::now, |since| since + AGAIN));
        self.held.iter().map(HeldMove::deadline).chain(again).min()
    }

    /// Has a directory opened, unless it will be opened anyway.
    pub(super) fn scan(&mut self, watch: WatchId, place: Place, report: bool, deep: bool) {
        self.queue(Scan {
            watch,
            place,
            report,
            deep,
            missing: None,
            doubtful: false,
        });
    }

    pub(super) fn queue(&mut self, scan: Scan) {
        let Some(watched) = self.watches.get_mut(&scan.watch) else {
            return;
        };
        let Some(directory) = watched.tree.get_mut(scan.place) else {
            return;
        };
        if directory.queued.is_some_and(|deep| deep || !scan.deep) {
            return;
        }
        directory.queued = Some(scan.deep);
        watched.silent += usize::from(!scan.report);
        self.pending.push_back(scan);
    }

    /// Reads events until there are none, or other work must have its turn. Returns whether there are none.
    pub fn read(&mut self) -> Result<bool, Errno> {
        let is_drained = self.read_for_a_turn()?;
        self.open_dubious();
        if is_drained {
            self.all_read();
        }
        Ok(is_drained)
    }

    fn read_for_a_turn(&mut self) -> Result<bool, Errno> {
        let mut bytes = [0; READ_BYTES];
        let (mut reads, began) = (0, Instant::now());
        while reads < READS && began.elapsed() < TURN {
            match nix::unistd::read(&*self.inotify_fd, &mut bytes) {
                Ok(0) | Err(Errno::EAGAIN) => return Ok(true),
                Ok(length) => {
                    self.later_since = None;
                    for event in parse(&bytes[..length]) {
                        self.apply(event);
                    }
                }
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
            reads += 1;
        }
        Ok(false)
    }

    /// Opens again, of the directories that were renamed in this turn and what is below them, those that were opened while events
    /// about their path had still to be read: each may be another directory. Once for a turn: a program can rename a directory with
    /// all others in it thousands of times meanwhile.
    fn open_dubious(&mut self) {
        let mut seen = HashSet::new();
        for (watch, top) in std::mem::take(&mut self.moved) {
            let Some(watched) = self.watches.get(&watch) else {
                continue;
            };
            let below = watched.tree.with_below(top, |place| seen.insert((watch, place)));
            let (far, near) = watched.tree.apart(below, LONGEST_WAY);
            for place in far {
                self.leave_out(watch, place);
            }
            for place in near {
                if self.recent.contains(&(watch, place)) {
                    self.scan(watch, place, true, false);
                }
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

    fn all_read(&mut self) {
        self.recent.clear();
        self.reported = 0;
        let is_time = self.later_since.is_none_or(|since| since.elapsed() >= AGAIN);
        let again = if is_time {
            std::mem::take(&mut self.later)
        } else {
            Vec::new()
        };
        for scan in again {
            if let Some(watched) = self.watches.get_mut(&scan.watch) {
                watched.silent -= usize::from(!scan.report);
            }
            self.queue(scan);
        }
        for (watch, place) in self.listed.drain(..) {
            if let Some(watched) = self.watches.get_mut(&watch)
                && let Some(directory) = watched.tree.get_mut(place)
            {
                directory.reported = None;
            }
        }
        self.release_moves(Some(Instant::now()), |_| true);
    }

    /// Tells receivers what is so now: that everything is watched, and what was lost before.
    pub fn settle(&mut self) {
        for watched in self.watches.values_mut() {
            if watched.silent > 0 {
                if watched.lost_since.is_some_and(|since| since.elapsed() >= UNTOLD) {
                    watched.queue.settle();
                    // What comes before all is watched again is covered by another one.
                    watched.queue.lose();
                    watched.lost_since = Some(Instant::now());
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

    /// The kernel has lost events: which, nobody knows. All directories are opened again, and then the receivers get an overflow.
    pub(super) fn overflow(&mut self) {
        self.held.clear();
        let watches: Vec<_> = self.watches.keys().copied().collect();
        for id in watches {
            if let Some(watched) = self.watches.get_mut(&id) {
                watched.queue.lose();
                watched.lost_since.get_or_insert_with(Instant::now);
            }
            self.scan(id, ROOT, false, true);
        }
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
                sys::remove(self.inotify_fd.as_fd(), number);
            }
        }
    }

    /// Adds a directory to a tree, if the bound allows.
    pub(super) fn add_place(&mut self, id: WatchId, parent: Place, name: &[u8]) -> Option<Place> {
        let watched = self.watches.get_mut(&id)?;
        if self.places >= self.most {
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
