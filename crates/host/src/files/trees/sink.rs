//! Where a transfer goes to.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::entry::{Entry, Kept};
use super::progress::Progress;
use super::trail::{Reach, Trail};
use super::walk::Event;
use crate::error::Error;

/// The attributes of a directory that an archive does not describe.
const UNDESCRIBED: Kept = Kept {
    mode: 0o755,
    modified: None,
};

/// How many directories wait for their attributes.
const FINISHED: usize = 16;

/// Where a transfer goes to.
pub trait Target: Reach {
    /// Opens a directory, which is made if it is missing. Also returns whether it was. ENOTDIR if something else is there.
    fn make_directory(
        &self,
        directory: Arc<OwnedFd>,
        name: Vec<u8>,
    ) -> impl Future<Output = Result<(OwnedFd, bool), Error>> + Send;

    /// Gives directories their attributes.
    fn finish(
        &self,
        directories: Vec<(Arc<OwnedFd>, Kept)>,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Makes files and links, in the place of what is there and is no directory.
    fn make(
        &self,
        directory: Arc<OwnedFd>,
        entries: Vec<Entry>,
        progress: &Progress,
    ) -> impl Future<Output = Result<(), Error>> + Send;
}

/// Follows the steps of a walk in another tree.
pub struct Sink<'a, T> {
    pub(super) target: &'a T,
    pub(super) trail: Trail,
    /// The attributes of each directory on the way, if it is new.
    made: Vec<Option<Kept>>,
    finished: Vec<(Arc<OwnedFd>, Kept)>,
    /// The path of the top, for errors.
    path: String,
}

impl<'a, T: Target> Sink<'a, T> {
    pub fn new(target: &'a T, top: OwnedFd, path: String) -> Self {
        Self {
            target,
            trail: Trail::new(top),
            made: Vec::new(),
            finished: Vec::new(),
            path,
        }
    }

    /// Carries out one step.
    pub async fn take(&mut self, event: Event, progress: &Progress) -> Result<(), Error> {
        match event {
            Event::Enter { name, kept } => {
                progress.directory()?;
                self.enter(name, Some(kept)).await.map(drop)
            }
            Event::Leave => self.leave().await,
            Event::Skipped(count) => {
                progress.skip(count);
                Ok(())
            }
            Event::Entries(entries) => self.make(entries, progress).await,
        }
    }

    /// Goes into a directory. If it is new, it gets the attributes when it is left. Returns whether it is new.
    pub async fn enter(&mut self, name: Vec<u8>, kept: Option<Kept>) -> Result<bool, Error> {
        let made = match self.trail.current(self.target).await {
            Ok(directory) => self.target.make_directory(directory, name.clone()).await,
            Err(error) => Err(error),
        };
        let (fd, is_new) = made.map_err(|error| self.trail.at(error, &self.path))?;
        self.trail.push(name, Arc::new(fd));
        self.made.push(kept.filter(|_| is_new));
        Ok(is_new)
    }

    /// Goes back to the directory above.
    pub async fn leave(&mut self) -> Result<(), Error> {
        if let Some(Some(kept)) = self.made.pop() {
            let fd = self.trail.current(self.target).await;
            let fd = fd.map_err(|error| self.trail.at(error, &self.path))?;
            self.finished.push((fd, kept));
        }
        self.trail.pop();
        if self.finished.len() >= FINISHED {
            self.flush().await?;
        }
        Ok(())
    }

    /// Makes files and links of the current directory.
    pub async fn make(&mut self, entries: Vec<Entry>, progress: &Progress) -> Result<(), Error> {
        let made = match self.trail.current(self.target).await {
            Ok(directory) => self.target.make(directory, entries, progress).await,
            Err(error) => Err(error),
        };
        made.map_err(|error| self.trail.at(error, &self.path))
    }

    /// How many names at the beginning of a path are those of the current directory and of the ones above it.
    pub fn common(&self, path: &[Vec<u8>]) -> usize {
        let names = self.trail.names().zip(path);
        names.take_while(|(one, other)| one == other).count()
    }

    /// Whether the current directory has that path.
    pub fn is_at(&self, path: &[Vec<u8>]) -> bool {
        self.trail.depth() == path.len() && self.common(path) == path.len()
    }

    /// Goes to the directory with that path. Directories that are missing are made, as directories without a description; those
    /// among the first `counted` names are counted.
    pub async fn go_to(
        &mut self,
        path: &[Vec<u8>],
        counted: usize,
        progress: &Progress,
    ) -> Result<(), Error> {
        let common = self.common(path);
        while self.trail.depth() > common {
            self.leave().await?;
        }
        for (at, name) in path.iter().enumerate().skip(common) {
            let is_new = self.enter(name.clone(), Some(UNDESCRIBED)).await?;
            if is_new && at < counted {
                progress.directory()?;
            }
        }
        Ok(())
    }

    /// Describes the current directory. It gets these attributes if it is new.
    pub fn describe(&mut self, kept: Kept) {
        if let Some(Some(made)) = self.made.last_mut() {
            *made = kept;
        }
    }

    /// An error about something in the current directory, with its whole path.
    pub fn at(&self, error: Error) -> Error {
        self.trail.at(error, &self.path)
    }

    /// Ends the transfer, in whichever directory it is.
    pub async fn end(mut self) -> Result<(), Error> {
        while self.trail.depth() > 0 {
            self.leave().await?;
        }
        self.flush().await
    }

    async fn flush(&mut self) -> Result<(), Error> {
        let finished = std::mem::take(&mut self.finished);
        if finished.is_empty() {
            return Ok(());
        }
        let done = self.target.finish(finished).await;
        done.map_err(|error| self.trail.at(error, &self.path))
    }
}
