//! The watches of one VM, by their numbers.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::queue::{Queue, WatchEnd};
use super::watched::{WatchId, Watched};
use crate::error::Error;

/// The maximum number of watches of one VM.
pub const MAX_WATCHES: usize = 64;

/// What the calls have the task do. As many as there are watches.
pub enum Command {
    Start(WatchId, Box<Watched>),
    Stop(WatchId),
}

/// The watches of one VM.
#[derive(Default)]
pub struct Watches {
    content: Mutex<WatchesContent>,
    bytes: Arc<AtomicUsize>,
}

#[derive(Default)]
struct WatchesContent {
    last: WatchId,
    queues: HashMap<WatchId, Arc<Queue>>,
    /// To the task, while it runs.
    commands: Option<mpsc::UnboundedSender<Command>>,
    ended: bool,
}

impl Watches {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.content.lock().queues.is_empty()
    }

    /// Takes a place for a watch.
    pub(super) fn reserve(&self, path: &str) -> Result<(WatchId, Arc<Queue>), Error> {
        let mut content = self.content.lock();
        if content.ended {
            return Err(Error::Disposed);
        }
        if content.queues.len() >= MAX_WATCHES {
            return Err(Error::LimitExceeded(format!(
                "this VM has {MAX_WATCHES} watches, the most that a VM may have: end one"
            )));
        }
        content.last += 1;
        let queue = Arc::new(Queue::new(path, Arc::clone(&self.bytes)));
        let id = content.last;
        content.queues.insert(id, Arc::clone(&queue));
        Ok((id, queue))
    }

    /// Gives the place back.
    pub(super) fn end(&self, id: WatchId) {
        let mut content = self.content.lock();
        if let Some(queue) = content.queues.remove(&id) {
            queue.end(WatchEnd::Done, true);
        }
        if let Some(commands) = &content.commands {
            // A failed send means that the task has ended, and all watches with it.
            drop(commands.send(Command::Stop(id)));
        }
    }

    /// Ends all watches at the end of the VM.
    pub fn end_all(&self) {
        let mut content = self.content.lock();
        content.ended = true;
        content.commands = None;
        for queue in content.queues.values() {
            queue.end(WatchEnd::Failed(Error::Disposed), false);
        }
    }

    /// Ends all watches because the task cannot go on. Another watch starts another one.
    pub(super) fn fail_all(&self, error: &Error) {
        let mut content = self.content.lock();
        content.commands = None;
        for queue in content.queues.values() {
            queue.end(WatchEnd::Failed(error.clone()), false);
        }
    }

    /// Whether the task may end, because there is no watch any more. Another watch then starts another one.
    pub(super) fn leave(&self) -> bool {
        let mut content = self.content.lock();
        if content.queues.is_empty() {
            content.commands = None;
        }
        content.commands.is_none()
    }

    /// Sends a command to the task. If none runs, `begin` starts one.
    pub(super) fn send(
        &self,
        command: Command,
        begin: impl FnOnce(mpsc::UnboundedReceiver<Command>),
    ) -> Result<(), Error> {
        let mut content = self.content.lock();
        if content.ended {
            return Err(Error::Disposed);
        }
        let unsent = match &content.commands {
            Some(commands) => commands.send(command).err().map(|unsent| unsent.0),
            None => Some(command),
        };
        if let Some(command) = unsent {
            let (commands, received) = mpsc::unbounded_channel();
            // The task receives it.
            drop(commands.send(command));
            content.commands = Some(commands);
            begin(received);
        }
        Ok(())
    }

    /// The events of a watch.
    pub(super) fn queue(&self, id: WatchId) -> Option<Arc<Queue>> {
        self.content.lock().queues.get(&id).cloned()
    }
}
