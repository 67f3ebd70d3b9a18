//! Renames, which the kernel reports in two halves.

use std::time::Instant;

use super::held_move::HeldMove;
use super::queue::WatchEvent;
use super::raw::RawEvent;
use super::state::State;
use super::tree::{Arrived, Place};
use super::watched::WatchId;

impl State {
    /// Waits for the second half.
    pub(super) fn hold_move(
        &mut self,
        watch: WatchId,
        place: Place,
        event: RawEvent<'_>,
        arrived: Option<Arrived>,
        now: Instant,
    ) {
        self.renames += 1;
        if let Some(watched) = self.watches.get_mut(&watch)
            && let Some(child) = watched.tree.child(place, event.name)
            && let Some(directory) = watched.tree.get_mut(child)
        {
            directory.is_held = true;
            directory.renamed = self.renames;
        }
        self.held.push(HeldMove {
            watch,
            place,
            name: event.name.to_vec(),
            cookie: event.cookie,
            arrived: arrived.filter(|arrived| arrived.name == event.name),
            since: now,
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
            if !self.is_known(held.watch, held.place) {
                continue;
            }
            self.removed(held.watch, held.place, &held.name);
            if held.arrived.is_some() {
                self.look(held.watch, held.place, held.name);
            }
        }
    }

    /// Something has got a name by a rename.
    pub(super) fn moved(&mut self, id: WatchId, to: Place, event: RawEvent<'_>) {
        let first = self
            .held
            .iter()
            .position(|held| held.watch == id && held.cookie == event.cookie)
            .map(|at| self.held.swap_remove(at))
            .filter(|first| self.is_known(id, first.place));
        let is_directory = event.is(libc::IN_ISDIR);
        let name = event.name.to_vec();
        match first {
            // It comes from where nothing is watched.
            None => self.appeared(id, to, &name, is_directory),
            Some(HeldMove {
                place,
                name: old,
                arrived,
                ..
            }) => {
                let (from, to) = ((place, old), (to, name.clone()));
                let is_exchange = arrived.is_some_and(|arrived| arrived.from.is_none_or(|from| from == to));
                if is_exchange {
                    self.moved_back(id, from.clone(), &to, is_directory);
                } else {
                    self.moved_on(id, &from, &to, is_directory);
                }
                return self.set_arrived(id, to.0, name, Some(from));
            }
        }
        self.set_arrived(id, to, name, None);
    }

    fn set_arrived(&mut self, id: WatchId, place: Place, name: Vec<u8>, from: Option<(Place, Vec<u8>)>) {
        if let Some(watched) = self.watches.get_mut(&id)
            && let Some(directory) = watched.tree.get_mut(place)
        {
            directory.arrived = Some(Arrived { name, from });
        }
    }

    /// What had got its name by a rename was renamed in turn, to where it came from as far as is known. Either it is back, or the
    /// two were exchanged: what is at either path now is looked up.
    fn moved_back(&mut self, id: WatchId, from: (Place, Vec<u8>), to: &(Place, Vec<u8>), is_directory: bool) {
        self.removed(id, from.0, &from.1);
        self.appeared(id, to.0, &to.1, is_directory);
        self.look(id, from.0, from.1);
    }

    fn moved_on(&mut self, id: WatchId, from: &(Place, Vec<u8>), to: &(Place, Vec<u8>), is_directory: bool) {
        let Some(watched) = self.watches.get_mut(&id) else {
            return;
        };
        watched.queue.push(WatchEvent::Renamed {
            from: watched.path(from.0, &from.1),
            to: watched.path(to.0, &to.1),
        });
        let tree = &watched.tree;
        // What was there is gone.
        let replaced = tree.child(to.0, &to.1);
        let child = tree
            .child(from.0, &from.1)
            .filter(|child| !tree.is_below(to.0, *child));
        if let Some(replaced) = replaced {
            self.forget(id, replaced);
        }
        self.renames += 1;
        let Some(watched) = self.watches.get_mut(&id) else {
            return;
        };
        let Some(child) = child.filter(|child| watched.tree.get(*child).is_some()) else {
            if is_directory {
                self.found(id, to.0, &to.1);
            }
            return;
        };
        watched.tree.detach(child);
        watched.tree.attach(child, to.0, &to.1);
        if let Some(directory) = watched.tree.get_mut(child) {
            directory.is_held = false;
            directory.renamed = self.renames;
        }
        self.moved.insert((id, child));
        // It may have been given up at its path before.
        self.scan(id, child, true);
    }
}
