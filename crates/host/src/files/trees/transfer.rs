//! The calls: which source goes to which target.

use std::os::fd::{AsFd, OwnedFd};

use nix::sys::stat::fstat;
use tokio::sync::{SemaphorePermit, mpsc};

use super::host::Host;
use super::inside::Inside;
use super::progress::{OnProgress, Progress};
use super::request::TransferRequest;
use super::sink::{Sink, Target};
use super::walk::{Event, Source, Walk};
use crate::abort::Abort;
use crate::error::Error;
use crate::totals::Totals;
use crate::vm::Vm;

/// How many steps the source is ahead of the target. Each may have a batch of open files.
const AHEAD: usize = 2;

impl Vm {
    /// Copies the content of a host directory into a directory of the VM.
    pub async fn upload_directory(
        &self,
        request: TransferRequest,
        on_progress: Option<OnProgress>,
        abort: &Abort,
    ) -> Result<Totals, Error> {
        let progress = Progress::new(self, request.limits, on_progress);
        let _place = self.transferring(abort).await?;
        let transfer = async {
            let (host, inside) = self.sides(&request)?;
            let from = host.top(false).await?;
            let to = inside.top(true).await?;
            let target = identity(&to)?;
            let walk = Walk::new(
                &host,
                from,
                request.host_path,
                request.exclude,
                target,
                progress.clone(),
            )
            .await?;
            copy(walk, Sink::new(&inside, to, request.path), &progress).await
        };
        aborting(transfer, &progress, abort).await
    }

    /// Copies the content of a directory of the VM into a host directory.
    pub async fn download_directory(
        &self,
        request: TransferRequest,
        on_progress: Option<OnProgress>,
        abort: &Abort,
    ) -> Result<Totals, Error> {
        let progress = Progress::new(self, request.limits, on_progress);
        let _place = self.transferring(abort).await?;
        let transfer = async {
            let (host, inside) = self.sides(&request)?;
            let from = inside.top(false).await?;
            let to = host.top(true).await?;
            let target = identity(&to)?;
            let walk = Walk::new(
                &inside,
                from,
                request.path,
                request.exclude,
                target,
                progress.clone(),
            )
            .await?;
            copy(walk, Sink::new(&host, to, request.host_path), &progress).await
        };
        aborting(transfer, &progress, abort).await
    }

    fn sides(&self, request: &TransferRequest) -> Result<(Host, Inside), Error> {
        let shared = self.shared();
        let threads = shared.bounds.guest_threads.clone();
        let host = Host::new(threads, shared.guest_id, &request.host_path)
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

/// Copies what a walk finds.
async fn copy(
    mut walk: Walk<'_, impl Source>,
    mut sink: Sink<'_, impl Target>,
    progress: &Progress,
) -> Result<(), Error> {
    let (sender, mut receiver) = mpsc::channel(AHEAD);
    let reading = async move {
        while let Some(event) = walk.next().await? {
            // The other side has failed, and tells why.
            if sender.send(event).await.is_err() {
                break;
            }
        }
        Ok(())
    };
    let writing = async move {
        while let Some(event) = receiver.recv().await {
            progress.check()?;
            if let Event::Entries(entries) = &event {
                progress.room_for(entries)?;
            }
            sink.take(event, progress).await?;
            progress.report();
        }
        sink.end().await
    };
    // Both to their end: neither may still be at work when the call settles.
    let (read, written) = tokio::join!(reading, writing);
    written.and(read)
}

/// Which directory it is.
fn identity(directory: &OwnedFd) -> Result<Option<(u64, u64)>, Error> {
    let found = fstat(directory.as_fd()).map_err(|errno| Error::system(&errno.into(), "fstat"))?;
    Ok(Some((found.st_dev, found.st_ino)))
}
