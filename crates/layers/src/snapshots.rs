//! The snapshots of a server.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;

use crate::layer::Layers;

/// The maximum number of snapshots that a server keeps.
pub const MOST_SNAPSHOTS: usize = 10_000;

/// Why a snapshot was not kept.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// There are as many as there may be.
    #[error("a server keeps at most {MOST_SNAPSHOTS} snapshots; remove some")]
    TooMany,
    /// The kernel gave it no id.
    #[error("the kernel gives no id")]
    Id(#[source] io::Error),
}

/// What a VM had written at some time, and what else the server knew of it.
#[derive(Debug)]
pub struct Snapshot<T = ()> {
    /// Its id, which no other snapshot has or had.
    pub id: String,
    /// The snapshot that its VM descended from, if any.
    pub parent: Option<String>,
    /// What its maker calls it.
    pub name: Option<String>,
    /// Whether it is no snapshot for callers, but between a VM and its forks.
    pub hidden: bool,
    /// When it was made.
    pub created_at: SystemTime,
    /// What a VM that begins with it has below it.
    pub layers: Layers,
    /// The bytes of memory for what was written since its parent.
    pub bytes: u64,
    /// What else a VM that begins with it gets.
    pub state: T,
}

/// A snapshot to be made.
#[derive(Debug, Default)]
pub struct NewSnapshot<T = ()> {
    /// The snapshot that its VM descended from, if any.
    pub parent: Option<String>,
    /// What its maker calls it.
    pub name: Option<String>,
    /// Whether it is no snapshot for callers.
    pub hidden: bool,
    /// What a VM that begins with it has below it.
    pub layers: Layers,
    /// The bytes of memory for what was written since its parent.
    pub bytes: u64,
    /// What else such a VM gets.
    pub state: T,
}

impl<T> Snapshot<T> {
    /// What a VM that begins with it descends from, for callers.
    #[must_use]
    pub fn as_parent(&self) -> Option<&str> {
        if self.hidden {
            self.parent.as_deref()
        } else {
            Some(&self.id)
        }
    }
}

/// The snapshots of a server, in the order in which they were made.
#[derive(Debug)]
pub struct Snapshots<T = ()>(Mutex<Kept<T>>);

#[derive(Debug)]
struct Kept<T> {
    /// By the number of each.
    all: BTreeMap<u64, Arc<Snapshot<T>>>,
    next: u64,
}

impl<T> Default for Snapshots<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Snapshots<T> {
    /// None.
    #[must_use]
    pub const fn new() -> Self {
        Self(Mutex::new(Kept {
            all: BTreeMap::new(),
            next: 0,
        }))
    }

    /// Makes one that nobody can find before it is [kept](Self::keep).
    ///
    /// # Errors
    /// [`SnapshotError`] if there are too many.
    pub fn make(&self, new: NewSnapshot<T>) -> Result<Snapshot<T>, SnapshotError> {
        if self.0.lock().all.len() >= MOST_SNAPSHOTS {
            return Err(SnapshotError::TooMany);
        }
        let id = fs::read_to_string("/proc/sys/kernel/random/uuid").map_err(SnapshotError::Id)?;
        Ok(Snapshot {
            id: id.trim_end().to_owned(),
            parent: new.parent,
            name: new.name,
            hidden: new.hidden,
            created_at: SystemTime::now(),
            layers: new.layers,
            bytes: new.bytes,
            state: new.state,
        })
    }

    /// Keeps one. Those that are made at the same time may be more than the most by their number.
    pub fn keep(&self, snapshot: Snapshot<T>) -> Arc<Snapshot<T>> {
        let snapshot = Arc::new(snapshot);
        let mut kept = self.0.lock();
        let number = kept.next;
        kept.next += 1;
        kept.all.insert(number, Arc::clone(&snapshot));
        snapshot
    }

    /// That with this id.
    pub fn get(&self, id: &str) -> Option<Arc<Snapshot<T>>> {
        self.0
            .lock()
            .all
            .values()
            .find(|snapshot| snapshot.id == id)
            .cloned()
    }

    /// All that are not hidden, the oldest first.
    pub fn list(&self) -> Vec<Arc<Snapshot<T>>> {
        let kept = self.0.lock();
        kept.all
            .values()
            .filter(|snapshot| !snapshot.hidden)
            .cloned()
            .collect()
    }

    /// Forgets that with this id. Its layers exist as long as a VM or another snapshot needs them. Returns whether there was
    /// one.
    pub fn remove(&self, id: &str) -> bool {
        let removed = {
            let mut kept = self.0.lock();
            let number = kept
                .all
                .iter()
                .find(|(_, snapshot)| snapshot.id == id)
                .map(|(&number, _)| number);
            number.and_then(|number| kept.all.remove(&number))
        };
        // Dropped without the lock: to free the memory of its files may take a while.
        removed.is_some()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may end with a panic")]
mod tests {
    use super::*;

    #[test]
    fn snapshots_are_kept_in_order_until_they_are_removed() {
        let snapshots = Snapshots::<()>::new();
        let add = |parent: Option<&Snapshot>, hidden| {
            let parent = parent.map(|parent| parent.id.clone());
            let new = NewSnapshot {
                parent,
                hidden,
                ..NewSnapshot::default()
            };
            let made = snapshots.make(new).unwrap();
            assert!(snapshots.get(&made.id).is_none());
            snapshots.keep(made)
        };
        let one = add(None, false);
        let two = add(Some(&one), false);
        let hidden = add(Some(&two), true);
        assert_ne!(one.id, two.id);
        assert_eq!(hidden.as_parent(), Some(&*two.id));
        assert_eq!(two.as_parent(), Some(&*two.id));
        let ids = || {
            let all = snapshots.list();
            all.iter().map(|one| one.id.clone()).collect::<Vec<_>>()
        };
        assert_eq!(ids(), [one.id.clone(), two.id.clone()]);
        assert_eq!(
            snapshots.get(&hidden.id).unwrap().parent.as_deref(),
            Some(&*two.id)
        );
        assert!(snapshots.remove(&one.id));
        assert!(!snapshots.remove(&one.id));
        assert!(snapshots.get(&one.id).is_none());
        assert_eq!(ids(), std::slice::from_ref(&two.id));
    }
}
