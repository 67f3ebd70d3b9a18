//! The archives that JavaScript reads or sends.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use crate::error::Error;
use crate::totals::Totals;

/// The most archives of one VM that are open.
const MOST_OPEN: usize = 8;

/// The work on an archive.
pub trait ArchiveWork: Send + Sync {
    /// Makes it end.
    fn stop(&self);

    /// How much is done.
    fn totals(&self) -> Totals;
}

/// The archives of one VM that are open, by their numbers.
#[derive(Default)]
pub struct OpenArchives {
    last: AtomicU64,
    open: Mutex<HashMap<u64, Arc<Archive>>>,
}

/// An archive that is read or sent.
pub struct Archive {
    /// The work on it.
    pub work: Box<dyn ArchiveWork>,
    /// Pieces to read, or to send.
    pieces: tokio::sync::Mutex<Pieces>,
    outcome: tokio::sync::Mutex<Outcome>,
}

/// How the work on an archive has ended.
enum Outcome {
    Pending(oneshot::Receiver<Result<(), Error>>),
    Known(Result<(), Error>),
}

/// Where the pieces go.
pub enum Pieces {
    Read(mpsc::Receiver<Vec<u8>>),
    Send(Option<mpsc::Sender<Vec<u8>>>),
}

impl OpenArchives {
    /// An open archive.
    pub fn get(&self, number: u64) -> Result<Arc<Archive>, Error> {
        let found = self.open.lock().get(&number).cloned();
        found.ok_or_else(|| Error::InvalidArgument("the archive of this stream is closed".to_owned()))
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.open.lock().is_empty()
    }

    /// Refuses one more if there are too many.
    pub fn check(&self) -> Result<(), Error> {
        room_for_one(self.open.lock().len())
    }

    /// Adds one. Returns its number.
    pub fn add(&self, archive: Archive) -> Result<u64, Error> {
        let mut open = self.open.lock();
        room_for_one(open.len())?;
        let number = 1 + self.last.fetch_add(1, Ordering::Relaxed);
        open.insert(number, Arc::new(archive));
        Ok(number)
    }

    /// Closes an archive, which ends what is not done of it. A number that is not known is no error.
    pub fn close(&self, number: u64) {
        let closed = self.open.lock().remove(&number);
        if let Some(archive) = closed {
            archive.work.stop();
        }
    }

    /// Closes an archive when its work is over.
    pub async fn stop(&self, number: u64) {
        let closed = self.open.lock().remove(&number);
        if let Some(archive) = closed {
            archive.stop().await;
        }
    }

    /// Closes all archives at the end of the VM.
    pub fn close_all(&self) {
        let closed = std::mem::take(&mut *self.open.lock());
        for archive in closed.into_values() {
            archive.work.stop();
        }
    }
}

fn room_for_one(open: usize) -> Result<(), Error> {
    if open < MOST_OPEN {
        return Ok(());
    }
    Err(Error::LimitExceeded(format!(
        "{MOST_OPEN} archives of this VM are open, the most that a VM may have: end or destroy one"
    )))
}

impl Archive {
    /// An archive whose work will send its result.
    pub fn new(
        work: Box<dyn ArchiveWork>,
        pieces: Pieces,
        result: oneshot::Receiver<Result<(), Error>>,
    ) -> Self {
        Self {
            work,
            pieces: tokio::sync::Mutex::new(pieces),
            outcome: tokio::sync::Mutex::new(Outcome::Pending(result)),
        }
    }

    /// The next piece of an archive; empty at its end.
    pub async fn read(&self) -> Result<Vec<u8>, Error> {
        let mut pieces = self.pieces.lock().await;
        let Pieces::Read(receiver) = &mut *pieces else {
            return Err(Error::InvalidArgument(
                "the archive is not open to read".to_owned(),
            ));
        };
        match receiver.recv().await {
            Some(piece) => Ok(piece),
            None => self.result().await.map(|()| Vec::new()),
        }
    }

    /// Sends the next piece of an archive. Returns when there is room for one more.
    pub async fn write(&self, piece: Vec<u8>) -> Result<(), Error> {
        if piece.is_empty() {
            return Ok(());
        }
        let pieces = self.pieces.lock().await;
        let Pieces::Send(Some(sender)) = &*pieces else {
            return Err(Error::InvalidArgument(
                "the archive is not open to write".to_owned(),
            ));
        };
        match sender.send(piece).await {
            Ok(()) => Ok(()),
            // It has failed.
            Err(_) => self.result().await,
        }
    }

    /// Ends an archive that is sent. Returns when everything is written.
    pub async fn end(&self) -> Result<(), Error> {
        if let Pieces::Send(sender) = &mut *self.pieces.lock().await {
            drop(sender.take());
        }
        self.result().await
    }

    /// Ends the work wherever it is. Returns when nothing is done any more.
    pub async fn stop(&self) {
        self.work.stop();
        // Work that waits for a piece, or for room for one, goes on and notices.
        *self.pieces.lock().await = Pieces::Send(None);
        // The call that reads or sends gets the failure.
        let _stopped = self.result().await;
    }

    /// How the work has ended.
    async fn result(&self) -> Result<(), Error> {
        let mut outcome = self.outcome.lock().await;
        let result = match &mut *outcome {
            Outcome::Pending(result) => result.await.unwrap_or(Err(Error::Disposed)),
            Outcome::Known(result) => result.clone(),
        };
        *outcome = Outcome::Known(result.clone());
        result
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may end with a panic")]
mod tests {
    use super::*;

    struct NoWork;

    impl ArchiveWork for NoWork {
        fn stop(&self) {}

        fn totals(&self) -> Totals {
            Totals::default()
        }
    }

    #[test]
    fn a_failure_is_told_to_everyone_who_asks() {
        let (sender, receiver) = oneshot::channel();
        let archive = Archive::new(Box::new(NoWork), Pieces::Send(None), receiver);
        sender.send(Err(Error::Aborted)).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for _ in 0..2 {
            assert!(matches!(runtime.block_on(archive.result()), Err(Error::Aborted)));
        }
    }
}
