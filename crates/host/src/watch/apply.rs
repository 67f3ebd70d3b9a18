//! What each event from the kernel changes and reports.

use std::time::Instant;

use super::raw::{Position, RawEvent, parse};
use super::state::State;
use super::tree::{Place, ROOT};
use super::watched::WatchId;
use crate::error::Error;

/// What may have changed a file.
const CHANGE: u32 = libc::IN_MODIFY | libc::IN_ATTRIB | libc::IN_CLOSE_WRITE;

/// What changes the names in a directory. The kernel reports these while it holds the directory's lock, so they are in order, and
/// nothing comes between the two halves of a rename in either directory.
const NAMES: u32 = libc::IN_CREATE | libc::IN_DELETE | libc::IN_MOVED_FROM | libc::IN_MOVED_TO;

/// What ends the watch of a file.
const GONE: u32 = libc::IN_DELETE_SELF | libc::IN_MOVE_SELF | libc::IN_IGNORED;

/// What is watched of a directory. Files that were removed and are still written to are left out.
pub const OF_DIRECTORY: u32 =
    CHANGE | NAMES | libc::IN_DELETE_SELF | libc::IN_MOVE_SELF | libc::IN_EXCL_UNLINK;

/// What is watched of any other file.
pub const OF_FILE: u32 = CHANGE | libc::IN_DELETE_SELF | libc::IN_MOVE_SELF;

impl State {
    /// Takes events that were read at a place in the queue.
    pub fn take(&mut self, bytes: &[u8], mut at: Position, now: Instant) {
        self.later_since = None;
        for event in parse(bytes) {
            self.reach(at, now);
            self.apply(event, at, now);
            at += event.size as Position;
        }
        self.reach(at, now);
    }

    fn apply(&mut self, event: RawEvent<'_>, at: Position, now: Instant) {
        if event.is(libc::IN_Q_OVERFLOW) {
            return self.overflow(now);
        }
        let followers = self.followers(event.number);
        if event.is(NAMES) {
            let continues = event.is(libc::IN_MOVED_TO);
            self.release_moves(None, |held| !(continues && held.cookie == event.cookie));
        }
        if event.is(libc::IN_IGNORED) {
            self.ignored(event.number);
        }
        for (id, place) in followers {
            if event.name.is_empty() {
                self.apply_to_itself(id, place, event);
            } else {
                self.apply_to_name(id, place, event, at, now);
            }
        }
    }

    /// An event about the watched file itself. The parent of a directory reports more, unless it is the root.
    fn apply_to_itself(&mut self, id: WatchId, place: Place, event: RawEvent<'_>) {
        if place == ROOT {
            if event.is(libc::IN_UNMOUNT) {
                // Nothing is unmounted while a VM lives.
                self.fail(id, Error::Disposed);
            } else if event.is(GONE) {
                self.gone(id);
            } else if event.is(CHANGE)
                && let Some(watched) = self.watches.get(&id)
            {
                watched.changed(ROOT, b"");
            }
        } else if event.is(libc::IN_IGNORED) {
            self.vanished(id, place);
        }
    }

    /// The directory that was found at a place does not exist any more.
    fn vanished(&mut self, id: WatchId, place: Place) {
        let Some(watched) = self.watches.get_mut(&id) else {
            return;
        };
        let Some(directory) = watched.tree.get_mut(place) else {
            return;
        };
        directory.number = None;
        if directory.is_known() {
            let (parent, name) = watched.tree.named(place);
            self.forget(id, place);
            // The event of the parent has still to be read. Should there be none, it is not known what is there.
            if self.is_known(id, parent) {
                self.look(id, parent, name);
            }
        }
    }

    /// An event about a name in a watched directory.
    fn apply_to_name(&mut self, id: WatchId, place: Place, event: RawEvent<'_>, at: Position, now: Instant) {
        let Some(watched) = self.watches.get_mut(&id) else {
            return;
        };
        if watched.kind.excludes(event.name) {
            return;
        }
        let Some(directory) = watched.tree.get_mut(place) else {
            return;
        };
        if directory.is_known() {
            if !self.is_too_far(id, place) {
                self.apply_to_known(id, place, event, now);
            }
            return;
        }
        if event.is(NAMES) {
            let is_before = self.looking.as_ref().is_some_and(|looking| at < looking.from);
            directory.remember(event, is_before);
            // What moves there is no longer where it was reported.
            self.release_moves(None, |held| held.watch == id && held.cookie == event.cookie);
        }
    }

    fn apply_to_known(&mut self, id: WatchId, place: Place, event: RawEvent<'_>, now: Instant) {
        let Some(watched) = self.watches.get_mut(&id) else {
            return;
        };
        let Some(directory) = watched.tree.get_mut(place) else {
            return;
        };
        let is_directory = event.is(libc::IN_ISDIR);
        let mut arrived = None;
        if event.is(NAMES) {
            arrived = directory.arrived.take();
            directory.unsure.remove(event.name);
        }
        if event.is(libc::IN_CREATE) {
            self.appeared(id, place, event.name, is_directory);
        } else if event.is(libc::IN_DELETE) {
            self.removed(id, place, event.name);
        } else if event.is(libc::IN_MOVED_FROM) {
            self.hold_move(id, place, event, arrived, now);
        } else if event.is(libc::IN_MOVED_TO) {
            self.moved(id, place, event);
        } else if event.is(CHANGE) {
            watched.changed(place, event.name);
            // Its mode may allow to open it now.
            if is_directory
                && event.is(libc::IN_ATTRIB)
                && let Some(child) = watched.tree.child(place, event.name)
            {
                self.scan(id, child, true);
            }
        }
    }

    /// Nothing is at a name any more.
    pub(super) fn removed(&mut self, id: WatchId, place: Place, name: &[u8]) {
        let Some(watched) = self.watches.get(&id) else {
            return;
        };
        watched.removed(place, name);
        if let Some(child) = watched.tree.child(place, name) {
            self.forget(id, child);
        }
    }

    /// Something is new at a name. What is in it is reported as created once it is watched.
    pub(super) fn appeared(&mut self, id: WatchId, place: Place, name: &[u8], is_directory: bool) {
        let Some(watched) = self.watches.get(&id) else {
            return;
        };
        if watched.tree.child(place, name).is_some() {
            // An empty directory was replaced, or something was exchanged for one.
            self.removed(id, place, name);
        }
        if let Some(watched) = self.watches.get(&id) {
            watched.created(place, name);
        }
        if is_directory {
            self.found(id, place, name);
        }
    }

    /// A directory is at a name at which none was known.
    pub(super) fn found(&mut self, id: WatchId, place: Place, name: &[u8]) {
        if self
            .watches
            .get(&id)
            .is_none_or(|watched| !watched.kind.recursive)
        {
            return;
        }
        if let Some(child) = self.add_place(id, place, name) {
            self.scan(id, child, true);
        } else if let Some(watched) = self.watches.get(&id) {
            watched.unwatched(place, name, self.too_many().code());
        }
    }
}
