//! The events of one watch that its receiver has not taken yet.

use std::collections::{HashSet, VecDeque};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::error::Error;

/// The most bytes of events that one watch keeps until they are taken. What comes then is reported as an overflow.
pub const MAX_BYTES: usize = 8 * 1024 * 1024;

/// The same for all watches of one VM.
pub const MAX_BYTES_OF_VM: usize = 32 * 1024 * 1024;

/// What an event counts in addition to its paths.
const OVERHEAD: usize = 128;

/// The most events that are taken at once, and their bytes: JavaScript parses them within a millisecond.
const PIECE: (usize, usize) = (512, 128 * 1024);

/// What has happened to a file. Bytes of its path that are not UTF-8 are replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchEvent {
    /// It is new at this path.
    Created(Arc<str>),
    /// Its content or attributes may have changed.
    Changed(Arc<str>),
    /// It is no longer at this path.
    Removed(Arc<str>),
    /// It has another path.
    Renamed {
        /// The path before.
        from: Arc<str>,
        /// The path now.
        to: Arc<str>,
    },
    /// Events about what is at or below this path were lost. What happens after this event was taken is reported.
    Overflow(Arc<str>),
    /// Not all of what happens below this path is reported from now on.
    Unwatched {
        /// The path of the directory.
        path: Arc<str>,
        /// The code of the error that is the reason.
        code: String,
    },
}

impl WatchEvent {
    fn bytes(&self) -> usize {
        OVERHEAD
            + match self {
                Self::Created(path)
                | Self::Changed(path)
                | Self::Removed(path)
                | Self::Overflow(path)
                | Self::Unwatched { path, .. } => path.len(),
                Self::Renamed { from, to } => from.len() + to.len(),
            }
    }
}

/// How a watch has ended.
#[derive(Debug)]
pub enum WatchEnd {
    /// The watched file is gone, or the receiver has ended the watch.
    Done,
    /// Something has failed.
    Failed(Error),
}

/// The events of one watch.
pub struct Queue {
    /// The path of the watch, which an overflow is about.
    root: Arc<str>,
    /// The bytes of all queues of the VM.
    bytes_of_vm: Arc<AtomicUsize>,
    content: Mutex<QueueContent>,
    arrived: Notify,
}

#[derive(Default)]
struct QueueContent {
    events: VecDeque<WatchEvent>,
    bytes: usize,
    /// The paths of which a change is among the events, which is about every change up to when it is taken.
    changes: HashSet<Arc<str>>,
    /// Whether events are being lost.
    lost: bool,
    /// Whether an overflow is among the events: it is about all that happens up to when it is taken.
    covered: bool,
    /// Why a directory is not watched, if the event about that was lost.
    unwatched: Option<String>,
    end: Option<WatchEnd>,
}

impl Queue {
    /// That of a new watch.
    pub fn new(root: &str, bytes_of_vm: Arc<AtomicUsize>) -> Self {
        Self {
            root: root.into(),
            bytes_of_vm,
            content: Mutex::default(),
            arrived: Notify::new(),
        }
    }

    /// Adds an event, unless it says nothing new or is lost.
    pub fn push(&self, event: WatchEvent) {
        let mut content = self.content.lock();
        let content = &mut *content;
        if content.end.is_some() {
            return;
        }
        let bytes = event.bytes();
        let is_full = content.bytes + bytes > MAX_BYTES
            || self.bytes_of_vm.load(Ordering::Relaxed) + bytes > MAX_BYTES_OF_VM;
        if let WatchEvent::Unwatched { code, .. } = &event {
            if is_full || content.lost {
                content.unwatched.get_or_insert_with(|| code.clone());
                return;
            }
        } else if content.lost || content.covered {
            return;
        }
        match &event {
            WatchEvent::Changed(path) if content.changes.contains(path) => return,
            _ if is_full => {
                content.lost = true;
                return;
            }
            WatchEvent::Changed(path) => {
                content.changes.insert(Arc::clone(path));
            }
            WatchEvent::Created(path) | WatchEvent::Removed(path) => {
                content.changes.remove(path);
            }
            WatchEvent::Renamed { from, to } => {
                content.changes.remove(from);
                content.changes.remove(to);
            }
            WatchEvent::Overflow(_) | WatchEvent::Unwatched { .. } => {}
        }
        self.add(content, event);
        self.arrived.notify_waiters();
    }

    /// Records that events were lost. [`settle`](Self::settle) reports it.
    pub fn lose(&self) {
        self.content.lock().lost = true;
    }

    /// Reports what was lost. Called when from now on everything is watched again.
    pub fn settle(&self) {
        let mut content = self.content.lock();
        if content.end.is_some() || !content.lost {
            return;
        }
        content.lost = false;
        if content.unwatched.is_none() && matches!(content.events.back(), Some(WatchEvent::Overflow(_))) {
            return;
        }
        content.covered = true;
        // Beyond the bound: nothing else follows before it is taken.
        self.add(&mut content, WatchEvent::Overflow(Arc::clone(&self.root)));
        if let Some(code) = content.unwatched.take() {
            let path = Arc::clone(&self.root);
            self.add(&mut content, WatchEvent::Unwatched { path, code });
        }
        self.arrived.notify_waiters();
    }

    /// Ends the watch. What is among the events is still taken, unless `forget`.
    pub fn end(&self, end: WatchEnd, forget: bool) {
        let mut content = self.content.lock();
        if forget {
            self.count_taken(content.bytes);
            *content = QueueContent::default();
        }
        content.end.get_or_insert(end);
        self.arrived.notify_waiters();
    }

    /// The error that has ended it.
    pub fn failure(&self) -> Option<Error> {
        match &self.content.lock().end {
            Some(WatchEnd::Failed(error)) => Some(error.clone()),
            _ => None,
        }
    }

    /// The next events, once there are some; `None` at the end.
    pub async fn take(&self) -> Result<Option<Vec<WatchEvent>>, Error> {
        loop {
            let mut arrived = pin!(self.arrived.notified());
            arrived.as_mut().enable();
            let taken = self.take_now();
            match taken {
                Some(taken) => return taken,
                None => arrived.await,
            }
        }
    }

    pub(super) fn take_now(&self) -> Option<Result<Option<Vec<WatchEvent>>, Error>> {
        let mut content = self.content.lock();
        let content = &mut *content;
        if content.events.is_empty() {
            return content.end.as_ref().map(|end| match end {
                WatchEnd::Done => Ok(None),
                WatchEnd::Failed(error) => Err(error.clone()),
            });
        }
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while taken.len() < PIECE.0
            && bytes < PIECE.1
            && let Some(event) = content.events.pop_front()
        {
            bytes += event.bytes();
            match &event {
                WatchEvent::Changed(path) => {
                    content.changes.remove(path);
                }
                WatchEvent::Overflow(_) => {
                    content.covered = content
                        .events
                        .iter()
                        .any(|event| matches!(event, WatchEvent::Overflow(_)));
                }
                _ => {}
            }
            taken.push(event);
        }
        content.bytes -= bytes;
        self.count_taken(bytes);
        if content.events.is_empty()
            && let Some(code) = content.unwatched.take()
        {
            let path = Arc::clone(&self.root);
            self.add(content, WatchEvent::Unwatched { path, code });
        }
        Some(Ok(Some(taken)))
    }

    fn add(&self, content: &mut QueueContent, event: WatchEvent) {
        let bytes = event.bytes();
        content.bytes += bytes;
        self.bytes_of_vm.fetch_add(bytes, Ordering::Relaxed);
        content.events.push_back(event);
    }

    fn count_taken(&self, bytes: usize) {
        self.bytes_of_vm.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        let bytes = self.content.get_mut().bytes;
        self.count_taken(bytes);
    }
}
