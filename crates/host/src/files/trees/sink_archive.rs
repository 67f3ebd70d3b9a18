//! What an archive makes in a tree besides directories, small files and links.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::named;
use super::sink::{Sink, Target};
use super::temporary::Temporary;
use super::trail::{Trail, failed};
use crate::error::Error;

/// Where an archive goes to.
pub trait ArchiveTarget: Target {
    /// Makes one file, in the place of what is there and is no directory.
    async fn create(&self, directory: &Arc<OwnedFd>, name: &[u8]) -> Result<NewFile, Error>;

    /// Makes another name of a file.
    async fn hard_link(
        &self,
        directory: &OwnedFd,
        name: &[u8],
        target_directory: &OwnedFd,
        target: &[u8],
    ) -> Result<(), Error>;
}

/// A file that an archive fills.
pub struct NewFile {
    /// Opened to write.
    pub file: Arc<File>,
    /// Its name until it is complete, if that is another one.
    pub temporary: Option<Temporary>,
}

impl NewFile {
    /// Gives it its own name.
    pub fn complete(self, name: &[u8]) -> Result<(), Error> {
        match self.temporary {
            Some(temporary) => temporary
                .rename(name)
                .map_err(|errno| failed(errno, "rename", name)),
            None => Ok(()),
        }
    }
}

impl<T: ArchiveTarget> Sink<'_, T> {
    /// Makes one file in the current directory.
    pub async fn create(&mut self, name: &[u8]) -> Result<NewFile, Error> {
        let made = match self.trail.current(self.target).await {
            Ok(directory) => self.target.create(&directory, name).await,
            Err(error) => Err(error),
        };
        made.map_err(|error| self.at(error))
    }

    /// Makes another name of a file that has a path from the top.
    pub async fn hard_link(&mut self, name: &[u8], parents: &[Vec<u8>], target: &[u8]) -> Result<(), Error> {
        let mut to_target = Trail::to(Arc::clone(self.trail.top()), parents);
        let target_directory = to_target.current(self.target).await;
        let target_directory = target_directory.map_err(|error| self.at(named(error, name)))?;
        let made = match self.trail.current(self.target).await {
            Ok(directory) => {
                self.target
                    .hard_link(&directory, name, &target_directory, target)
                    .await
            }
            Err(error) => Err(error),
        };
        made.map_err(|error| self.at(error))
    }
}
