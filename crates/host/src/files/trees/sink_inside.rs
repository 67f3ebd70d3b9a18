//! What an archive makes in a VM besides files and links.

use std::fs::File;
use std::sync::Arc;

use super::inside::Inside;
use super::named;
use super::sink::Sink;
use super::trail::Trail;
use crate::error::Error;

impl Sink<'_, Inside> {
    /// Makes one file in the current directory.
    pub async fn create(&mut self, name: &[u8]) -> Result<File, Error> {
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
