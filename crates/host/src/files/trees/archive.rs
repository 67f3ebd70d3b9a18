//! Archives as streams: JavaScript reads one in pieces, or sends it in pieces. A piece is made when it is asked for, or a few
//! before; what is sent waits until it is written. All work on archives is done on a thread that is not the I/O thread, because the
//! other side decides how much there is.

use tokio::sync::{mpsc, oneshot};

use super::bytes_in::BytesIn;
use super::exclude::Exclude;
use super::inside::Inside;
use super::progress::Progress;
use super::request::TransferLimits;
use super::sink::Sink;
use super::tar_in::Unpacking;
use super::tar_out;
use super::trail::Reach;
use super::walk::Walk;
use super::workers::Workers;
use crate::error::Error;
use crate::open_archives::{Archive, Pieces};
use crate::runtime;
use crate::totals::Totals;
use crate::vm::Vm;

/// How many pieces wait for the other side.
pub const AHEAD: usize = 2;

/// An archive of a directory of the VM.
#[derive(Debug, Clone)]
pub struct ArchiveRequest {
    /// The directory.
    pub path: String,
    /// Patterns of what is left out.
    pub exclude: Vec<String>,
    /// The most that is copied.
    pub limits: TransferLimits,
}

impl Vm {
    /// Begins to make an archive. Returns its number.
    pub async fn open_archive_to_read(&self, request: ArchiveRequest) -> Result<u64, Error> {
        self.shared().bounds.archives.check()?;
        let exclude = self.patterns(request.exclude).await?;
        let (sender, receiver) = mpsc::channel(AHEAD);
        let progress = Progress::new(self, request.limits, None);
        let (vm, counting) = (self.clone(), progress.clone());
        let result = self.archiving(progress.clone(), async move {
            let inside = Inside::new(vm.clone(), &request.path);
            let top = inside.top(false).await?;
            let walk = Walk::new(&inside, top, request.path, exclude, None, counting.clone()).await?;
            tar_out::write(&Workers::Guest(vm), walk, &sender, &counting).await
        })?;
        self.shared()
            .bounds
            .archives
            .add(Archive::new(Box::new(progress), Pieces::Read(receiver), result))
    }

    /// Begins to write what an archive contains. Returns its number.
    pub async fn open_archive_to_write(&self, request: ArchiveRequest) -> Result<u64, Error> {
        self.shared().bounds.archives.check()?;
        let exclude = self.patterns(request.exclude).await?;
        let (sender, receiver) = mpsc::channel(AHEAD);
        let progress = Progress::new(self, request.limits, None);
        let (vm, counting) = (self.clone(), progress.clone());
        let result = self.archiving(progress.clone(), async move {
            let inside = Inside::new(vm.clone(), &request.path);
            let top = inside.top(true).await?;
            let sink = Sink::new(&inside, top, request.path);
            let from = BytesIn::new(receiver);
            Unpacking::new(Workers::Guest(vm), from, sink, exclude, &counting)
                .run()
                .await
        })?;
        self.shared().bounds.archives.add(Archive::new(
            Box::new(progress),
            Pieces::Send(Some(sender)),
            result,
        ))
    }

    /// Compiles patterns, which may be those of a client, and take a while.
    async fn patterns(&self, patterns: Vec<String>) -> Result<Exclude, Error> {
        let threads = &self.shared().bounds.guest_threads;
        threads.run(move || Exclude::new(&patterns)).await
    }

    /// Runs work on an archive. Its result comes when the work is over.
    fn archiving(
        &self,
        progress: Progress,
        work: impl Future<Output = Result<(), Error>> + Send + 'static,
    ) -> Result<oneshot::Receiver<Result<(), Error>>, Error> {
        let runtime = runtime::guest().map_err(|error| Error::system(&error, "epoll_create"))?;
        let (sender, receiver) = oneshot::channel();
        let vm = self.clone();
        let workers = Workers::Guest(self.clone());
        drop(runtime.spawn(async move {
            let result = tokio::select! {
                result = workers.poll(work) => result,
                () = vm.ended() => Err(Error::Disposed),
                () = progress.stopped() => Err(Error::Aborted),
            };
            // The stream may be gone.
            drop(sender.send(result));
        }));
        Ok(receiver)
    }

    /// The next piece of an archive; empty at its end.
    pub async fn read_archive(&self, number: u64) -> Result<Vec<u8>, Error> {
        self.shared().bounds.archives.get(number)?.read().await
    }

    /// Sends the next piece of an archive. Returns when there is room for one more.
    pub async fn write_archive(&self, number: u64, piece: Vec<u8>) -> Result<(), Error> {
        self.shared().bounds.archives.get(number)?.write(piece).await
    }

    /// Ends an archive that is sent. Returns when everything is written.
    pub async fn end_archive(&self, number: u64) -> Result<(), Error> {
        self.shared().bounds.archives.get(number)?.end().await
    }

    /// How much of an archive is read or written.
    pub fn archive_totals(&self, number: u64) -> Result<Totals, Error> {
        Ok(self.shared().bounds.archives.get(number)?.work.totals())
    }

    /// Closes an archive.
    pub fn close_archive(&self, number: u64) {
        self.shared().bounds.archives.close(number);
    }
}
