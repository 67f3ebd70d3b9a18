//! What each event from the kernel changes and reports.

use super::raw::RawEvent;
use super::state::{Scan, State};
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
    /// Applies an event from the kernel.
    pub(super) fn apply(&mut self, event: RawEvent<'_>) {
        if event.is(libc::IN_Q_OVERFLOW) {
            return self.overflow();
        }
        let Some(followers) = self.followers.get(&event.number).cloned() else {
            return;
        };
        if event.is(NAMES) {
            let continues = event.is(libc::IN_MOVED_TO);
            self.release_moves(None, |held| !(continues && held.cookie == event.cookie));
        }
        if event.is(libc::IN_IGNORED) {
            self.followers.remove(&event.number);
        }
        for (id, place) in followers {
            if self.is_too_far(id, place) {
                continue;
            }
            if event.name.is_empty() {
                self.apply_to_itself(id, place, event);
            } else if self
                .watches
                .get(&id)
                .is_some_and(|watched| !watched.excludes(event.name))
            {
                self.apply_to_name(id, place, event);
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
            // The directory does not exist any more. What has its path now is reported by the parent.
            self.forget(id, place);
        }
    }

    fn apply_to_name(&mut self, id: WatchId, place: Place, event: RawEvent<'_>) {
        let Some(watched) = self.watches.get_mut(&id) else {
            return;
        };
        let follows = event.is(libc::IN_ISDIR) && watched.recursive;
        let mut is_known = false;
        let mut has_just_arrived = false;
        if event.is(NAMES)
            && let Some(directory) = watched.tree.get_mut(place)
        {
            has_just_arrived = directory.arrived.take().is_some_and(|name| name == event.name);
            if let Some(reported) = &mut directory.reported {
                is_known = reported.remove(event.name);
            }
        }
        if event.is(NAMES & !(libc::IN_MOVED_FROM | libc::IN_MOVED_TO)) {
            watched.last_rename = None;
        }
        if event.is(libc::IN_CREATE) {
            // A listing has reported it, and all that is in it.
            if !is_known {
                watched.created(place, event.name);
                if follows {
                    self.found(id, place, event.name);
                }
            }
        } else if event.is(libc::IN_DELETE) {
            watched.removed(place, event.name);
            if let Some(child) = watched.tree.child(place, event.name) {
                self.forget(id, child);
            }
        } else if event.is(libc::IN_MOVED_FROM) {
            self.hold_move(id, place, event, has_just_arrived || is_known);
        } else if event.is(libc::IN_MOVED_TO) {
            self.moved(id, place, event, is_known);
        } else if event.is(CHANGE) {
            watched.changed(place, event.name);
            // Its mode may allow to open it now.
            if follows
                && event.is(libc::IN_ATTRIB)
                && let Some(child) = watched.tree.child(place, event.name)
                && watched
                    .tree
                    .get(child)
                    .is_some_and(|directory| directory.number.is_none())
            {
                self.scan(id, child, true, false);
            }
        }
    }

    /// Something may be at a name: it is looked up.
    pub(super) fn found_again(&mut self, id: WatchId, place: Place, name: &[u8]) {
        if let Some(child) = self.add_place(id, place, name) {
            self.queue(Scan::of_doubtful(id, child));
        } else if let Some(watched) = self.watches.get(&id) {
            watched.queue.lose();
        }
    }

    /// A directory is new at a name. What is in it is reported as created.
    pub(super) fn found(&mut self, id: WatchId, place: Place, name: &[u8]) {
        let before = self
            .watches
            .get(&id)
            .and_then(|watched| watched.tree.child(place, name));
        if let Some(before) = before {
            self.forget(id, before);
        }
        if let Some(child) = self.add_place(id, place, name) {
            self.scan(id, child, true, false);
        } else if let Some(watched) = self.watches.get(&id) {
            watched.unwatched(place, name, self.too_many().code());
        }
    }
}
