//! Archives of directories of the host, without a VM. A client of an actor, on its own machine, reads one and sends it, or writes
//! one that comes; the actor makes or writes the archive at the other end. What comes is as hostile as what a program in a VM makes.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::archive::{AHEAD, ArchiveRequest};
use super::bytes_in::BytesIn;
use super::exclude::Exclude;
use super::host::Host;
use super::progress::Progress;
use super::sink::Sink;
use super::tar_in::Unpacking;
use super::tar_out;
use super::trail::Reach;
use super::walk::Walk;
use super::workers::Workers;
use crate::error::Error;
use crate::guest_threads::GuestThreads;
use crate::open_archives::{Archive, OpenArchives, Pieces};
use crate::runtime;
use crate::totals::Totals;

/// The archives of one user of this package, with threads of their own. Cheap to clone; the last one that is dropped ends their
/// work.
#[derive(Clone)]
pub struct LocalArchives {
    threads: GuestThreads,
    archives: Arc<Owned>,
}

struct Owned(OpenArchives);

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.close_all();
    }
}

impl Default for LocalArchives {
    fn default() -> Self {
        Self {
            threads: GuestThreads::new(),
            archives: Arc::new(Owned(OpenArchives::default())),
        }
    }
}

impl LocalArchives {
    /// Begins to make an archive of a directory of the host. Returns its number.
    pub async fn open_to_read(&self, request: ArchiveRequest) -> Result<u64, Error> {
        let (exclude, host) = self.prepare(&request).await?;
        let (sender, receiver) = mpsc::channel(AHEAD);
        let progress = Progress::without_vm(request.limits);
        let (counting, workers) = (progress.clone(), Workers::Own(self.threads.clone()));
        let result = working(&self.threads, async move {
            let top = host.top(false).await?;
            let walk = Walk::new(&host, top, request.path, exclude, None, counting.clone()).await?;
            tar_out::write(&workers, walk, &sender, &counting).await
        })?;
        let archive = Archive::new(Box::new(progress), Pieces::Read(receiver), result);
        self.archives.0.add(archive)
    }

    /// Begins to write what an archive contains into a directory of the host. Returns its number.
    pub async fn open_to_write(&self, request: ArchiveRequest) -> Result<u64, Error> {
        let (exclude, host) = self.prepare(&request).await?;
        let (sender, receiver) = mpsc::channel(AHEAD);
        let progress = Progress::without_vm(request.limits);
        let (counting, workers) = (progress.clone(), Workers::Own(self.threads.clone()));
        let result = working(&self.threads, async move {
            let top = host.top(true).await?;
            let sink = Sink::new(&host, top, request.path);
            let from = BytesIn::new(receiver);
            Unpacking::new(workers, from, sink, exclude, &counting)
                .run()
                .await
        })?;
        let archive = Archive::new(Box::new(progress), Pieces::Send(Some(sender)), result);
        self.archives.0.add(archive)
    }

    async fn prepare(&self, request: &ArchiveRequest) -> Result<(Exclude, Host), Error> {
        self.archives.0.check()?;
        let patterns = request.exclude.clone();
        let exclude = self.threads.run(move || Exclude::new(&patterns)).await?;
        let host = Host::new(self.threads.clone(), None, &request.path)
            .map_err(|error| Error::system(&error, "open"))?;
        Ok((exclude, host))
    }

    /// The next piece of an archive; empty at its end.
    pub async fn read(&self, number: u64) -> Result<Vec<u8>, Error> {
        self.archives.0.get(number)?.read().await
    }

    /// Sends the next piece of an archive. Returns when there is room for one more.
    pub async fn write(&self, number: u64, piece: Vec<u8>) -> Result<(), Error> {
        self.archives.0.get(number)?.write(piece).await
    }

    /// Ends an archive that is sent. Returns when everything is written.
    pub async fn end(&self, number: u64) -> Result<(), Error> {
        self.archives.0.get(number)?.end().await
    }

    /// How much of an archive is read or written.
    pub fn totals(&self, number: u64) -> Result<Totals, Error> {
        Ok(self.archives.0.get(number)?.work.totals())
    }

    /// Closes an archive. Returns when nothing is read or written any more.
    pub async fn stop(&self, number: u64) {
        self.archives.0.stop(number).await;
    }
}

/// Runs work on an archive. It ends by itself after a [`stop`](Progress::stop), so that nothing is under way when its result comes.
fn working(
    threads: &GuestThreads,
    work: impl Future<Output = Result<(), Error>> + Send + 'static,
) -> Result<oneshot::Receiver<Result<(), Error>>, Error> {
    let runtime = runtime::guest().map_err(|error| Error::system(&error, "epoll_create"))?;
    let (sender, receiver) = oneshot::channel();
    let workers = Workers::Own(threads.clone());
    drop(runtime.spawn(async move {
        // The stream may be gone.
        drop(sender.send(workers.poll(work).await));
    }));
    Ok(receiver)
}
