//! Renames, which the kernel reports in two halves.

use std::time::Instant;

use super::held_move::HeldMove;
use super::queue::WatchEvent;
use super::raw::RawEvent;
use super::state::State;
use super::tree::Place;
use super::watched::WatchId;

impl State {
    /// Waits for the second half.
    pub(super) fn hold_move(
        &mut self,
        watch: WatchId,
        place: Place,
        event: RawEvent<'_>,
        may_be_exchanged: bool,
    ) {
        self.held.push(HeldMove {
            watch,
            place,
            name: event.name.to_vec(),
            cookie: event.cookie,
            may_be_exchanged,
            since: Instant::now(),
        });
    }

    /// Reports first halves as removals, so that events stay in their order: their second half is not watched, or another change
    /// came between the two, and then it is reported as something new. With `now`, only those whose time is over.
    pub(super) fn release_moves(&mut self, now: Option<Instant>, is_meant: impl Fn(&HeldMove) -> bool) {
        if self.held.is_empty() {
            return;
        }
        let is_over = |held: &HeldMove| is_meant(held) && now.is_none_or(|now| held.deadline() <= now);
        let (over, held) = std::mem::take(&mut self.held).into_iter().partition(is_over);
        self.held = held;
        let over: Vec<HeldMove> = over;
        for held in over {
            let Some(watched) = self.watches.get(&held.watch) else {
                continue;
            };
            if watched.tree.get(held.place).is_none() {
                continue;
            }
            watched.removed(held.place, &held.name);
            if let Some(child) = watched.tree.child(held.place, &held.name) {
                self.forget(held.watch, child);
            }
            if held.may_be_exchanged {
                self.found_again(held.watch, held.place, &held.name);
            }
        }
    }

    /// Something has got a name by a rename.
    pub(super) fn moved(&mut self, id: WatchId, to: Place, event: RawEvent<'_>, is_known: bool) {
        let first = self
            .held
            .iter()
            .position(|held| held.watch == id && held.cookie == event.cookie)
            .map(|at| self.held.swap_remove(at));
        let Some(watched) = self.watches.get_mut(&id) else {
            return;
        };
        let is_directory = event.is(libc::IN_ISDIR) && watched.recursive;
        if let Some(first) = &first
            && is_known
        {
            // A listing has reported it, and all that is in it.
            if let Some(directory) = watched.tree.get_mut(to) {
                directory.arrived = Some(event.name.to_vec());
            }
            let (place, name) = (first.place, first.name.clone());
            watched.removed(place, &name);
            if let Some(child) = watched.tree.child(place, &name) {
                self.forget(id, child);
            }
            if first.may_be_exchanged {
                self.found_again(id, place, &name);
            }
            return;
        }
        let Some(first) = first.filter(|first| watched.tree.get(first.place).is_some()) else {
            // It comes from where nothing is watched.
            if let Some(directory) = watched.tree.get_mut(to) {
                directory.arrived = Some(event.name.to_vec());
            }
            // A listing may have reported it.
            if !is_known {
                watched.created(to, event.name);
                if is_directory {
                    self.found(id, to, event.name);
                }
            }
            return;
        };
        if let Some(newer) = watched.tree.child(first.place, &first.name)
            && !event.is(libc::IN_ISDIR)
        {
            // Not what was renamed, but a directory that was found at the name since then. The events about it are still to be read.
            watched.removed(first.place, &first.name);
            watched.created(to, event.name);
            self.forget(id, newer);
            return self.found_again(id, first.place, &first.name);
        }
        let may_be_exchanged = first.may_be_exchanged;
        let places = [(first.place, first.name), (to, event.name.to_vec())];
        if watched
            .last_rename
            .take()
            .is_some_and(|[from, to]| [to, from] == places)
        {
            return self.moved_back(id, places, is_directory);
        }
        watched.queue.push(WatchEvent::Renamed {
            from: watched.path(places[0].0, &places[0].1),
            to: watched.path(to, event.name),
        });
        watched.last_rename = Some(places.clone());
        if is_directory {
            self.move_directory(id, &places);
        }
        if may_be_exchanged {
            let [(place, name), _] = &places;
            self.found_again(id, *place, name);
        }
    }

    /// The opposite of the last rename. Either the file was renamed back, or the two were exchanged, which the kernel reports in
    /// the same way: what is at either path now is looked up.
    fn moved_back(&mut self, id: WatchId, places: [(Place, Vec<u8>); 2], is_directory: bool) {
        let [(from, old), (to, new)] = places;
        for (place, name) in [(from, &old), (to, &new)] {
            let Some(watched) = self.watches.get(&id) else {
                return;
            };
            let child = watched.tree.child(place, name);
            if let Some(child) = child {
                self.forget(id, child);
            }
        }
        if let Some(watched) = self.watches.get(&id) {
            watched.removed(from, &old);
            watched.created(to, &new);
        }
        if is_directory {
            self.found(id, to, &new);
        }
        self.found_again(id, from, &old);
    }

    /// Follows a directory to its new path.
    fn move_directory(&mut self, id: WatchId, places: &[(Place, Vec<u8>); 2]) {
        let Some(watched) = self.watches.get_mut(&id) else {
            return;
        };
        let [(from, old), (to, new)] = places;
        // The kernel has removed an empty directory that was there.
        if let Some(replaced) = watched.tree.child(*to, new) {
            self.forget(id, replaced);
        }
        let Some(watched) = self.watches.get_mut(&id) else {
            return;
        };
        let tree = &mut watched.tree;
        let Some(child) = tree.child(*from, old).filter(|child| !tree.is_below(*to, *child)) else {
            return self.found(id, *to, new);
        };
        tree.detach(child);
        tree.attach(child, *to, new);
        self.moved.insert((id, child));
    }
}
