//! The calls: which source goes to which target.

use std::os::fd::{AsFd, OwnedFd};

use nix::sys::stat::fstat;
use tokio::sync::{SemaphorePermit, mpsc};

use super::entry::{Content, Entry};
use super::exclude::Exclude;
use super::host::Host;
use super::inside::Inside;
use super::progress::{OnProgress, Progress};
use super::request::TransferRequest;
use super::sink::{Sink, Target};
use super::small::MOST_SMALL;
use super::walk::{Event, Source, Walk};
use crate::abort::Abort;
use crate::error::Error;
use crate::totals::Totals;
use crate::vm::Vm;

/// How many legs wait for the target.
const AHEAD: usize = 1;
/// How many steps, and how many entries, a leg has at least unless it is the last one.
const LEG: usize = 64;

impl Vm {
    /// Copies the content of a host directory into a directory of the VM.
    pub async fn upload_directory(
        &self,
        request: TransferRequest,
        on_progress: Option<OnProgress>,
        abort: &Abort,
    ) -> Result<Totals, Error> {
        let (host, inside) = self.sides(&request)?;
        self.transfer(host, inside, request, on_progress, abort).await
    }

    /// Copies the content of a directory of the VM into a host directory.
    pub async fn download_directory(
        &self,
        request: TransferRequest,
        on_progress: Option<OnProgress>,
        abort: &Abort,
    ) -> Result<Totals, Error> {
        let (host, inside) = self.sides(&request)?;
        self.transfer(inside, host, request, on_progress, abort).await
    }

    async fn transfer(
        &self,
        source: impl Source,
        target: impl Target,
        request: TransferRequest,
        on_progress: Option<OnProgress>,
        abort: &Abort,
    ) -> Result<Totals, Error> {
        let progress = Progress::new(self, request.limits, on_progress);
        let _place = self.transferring(abort).await?;
        let transfer = copy(source, target, request.exclude, progress.clone());
        aborting(transfer, &progress, abort).await
    }

    fn sides(&self, request: &TransferRequest) -> Result<(Host, Inside), Error> {
        let shared = self.shared();
        let threads = shared.bounds.guest_threads.clone();
        let host = Host::new(threads, shared.guest, &request.host_path)
            .map_err(|error| Error::system(&error, "open"))?;
        Ok((host, Inside::new(self.clone(), &request.path)))
    }

    /// Waits until this VM may make one more transfer.
    async fn transferring(&self, abort: &Abort) -> Result<SemaphorePermit<'_>, Error> {
        tokio::select! {
            // The semaphore is never closed.
            place = self.shared().bounds.transfers.acquire() => place.map_err(|_| Error::Disposed),
            () = self.ended() => Err(Error::Disposed),
            () = abort.aborted() => Err(Error::Aborted),
        }
    }
}

/// Runs a transfer until it is over, or has stopped after an abort.
async fn aborting(
    transfer: impl Future<Output = Result<(), Error>>,
    progress: &Progress,
    abort: &Abort,
) -> Result<Totals, Error> {
    let mut transfer = std::pin::pin!(transfer);
    let result = tokio::select! {
        result = &mut transfer => result,
        () = abort.aborted() => {
            progress.stop();
            transfer.await
        }
    };
    progress.report_end();
    result.map(|()| progress.totals())
}

/// Both sides work at the same time, each on threads of its own.
async fn copy(
    source: impl Source,
    target: impl Target,
    exclude: Exclude,
    progress: Progress,
) -> Result<(), Error> {
    let (source_workers, target_workers) = (source.workers().clone(), target.workers().clone());
    let from = source.top(false).await?;
    let to = target.top(true).await?;
    let not_through = identity(&to)?;
    let (sender, receiver) = mpsc::channel(AHEAD);
    let counting = progress.clone();
    let reading = async move {
        let path = source.path().to_owned();
        let walk = Walk::new(&source, from, path, exclude, not_through, counting).await?;
        read(walk, sender).await
    };
    let writing = async move {
        let path = target.path().to_owned();
        write(Sink::new(&target, to, path), receiver, &progress).await
    };
    // Both to their end: neither may still be at work when the call settles.
    let (read, written) = tokio::join!(source_workers.poll(reading), target_workers.poll(writing),);
    written.and(read)
}

/// Steps that the target takes without a pause. Between two legs each side may have to wait for the other one.
#[derive(Default)]
struct Leg {
    steps: Vec<Event>,
    entries: usize,
    bytes: usize,
}

impl Leg {
    fn push(&mut self, step: Event) {
        if let Event::Entries(entries) = &step {
            self.entries += entries.len();
            let bytes = |entry: &Entry| match &entry.content {
                Content::Bytes { bytes, .. } => bytes.len(),
                _ => 0,
            };
            self.bytes += entries.iter().map(bytes).sum::<usize>();
        }
        self.steps.push(step);
    }

    fn is_full(&self) -> bool {
        self.steps.len() >= LEG || self.entries >= LEG || self.bytes >= MOST_SMALL
    }
}

/// Sends what a walk finds.
async fn read(mut walk: Walk<'_, impl Source>, to: mpsc::Sender<Leg>) -> Result<(), Error> {
    let mut leg = Leg::default();
    while let Some(step) = walk.next().await? {
        leg.push(step);
        // If the other side has failed, its error tells why.
        if leg.is_full() && to.send(std::mem::take(&mut leg)).await.is_err() {
            return Ok(());
        }
    }
    drop(to.send(leg).await);
    Ok(())
}

/// Copies what a walk has found.
async fn write(
    mut sink: Sink<'_, impl Target>,
    mut from: mpsc::Receiver<Leg>,
    progress: &Progress,
) -> Result<(), Error> {
    while let Some(leg) = from.recv().await {
        for step in leg.steps {
            progress.check()?;
            if let Event::Entries(entries) = &step {
                progress.room_for(entries)?;
            }
            sink.take(step, progress).await?;
            progress.report();
        }
    }
    sink.end().await
}

/// Which directory it is.
fn identity(directory: &OwnedFd) -> Result<Option<(u64, u64)>, Error> {
    let found = fstat(directory.as_fd()).map_err(|errno| Error::system(&errno.into(), "fstat"))?;
    Ok(Some((found.st_dev, found.st_ino)))
}
