//! The operations on a tree that a walk needs.

use std::ffi::CStr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use nix::errno::Errno;

use crate::entries::Entries;

/// Opens and removes the names of a tree. A name without a directory is an absolute path.
pub trait Tree {
    /// The error of its calls.
    type Error;

    /// Opens a directory for listing: a name in `directory`, or `..`. A link is not followed.
    fn open(
        &self,
        directory: Option<Arc<OwnedFd>>,
        name: &CStr,
    ) -> impl Future<Output = Result<OwnedFd, Self::Error>> + Send;

    /// Removes a name: an empty directory, or anything else.
    fn remove(
        &self,
        directory: Option<Arc<OwnedFd>>,
        name: &CStr,
        is_directory: bool,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Removes names that are no directories, in their order, as far as that is possible at once. Returns how many do not
    /// exist any more; the others are removed one by one.
    fn remove_files(
        &self,
        _directory: &Arc<OwnedFd>,
        _names: &[&CStr],
    ) -> impl Future<Output = Result<usize, Self::Error>> + Send {
        async { Ok(0) }
    }

    /// Runs [`entries`](crate::entries()) on a thread that may block.
    fn list(&self, directory: Arc<OwnedFd>) -> impl Future<Output = Result<Entries, Self::Error>> + Send;

    /// Gives the owner every permission on the directory `name` in `directory`, or on `directory` itself. Returns
    /// whether another attempt may succeed.
    fn unlock(&self, directory: &Arc<OwnedFd>, name: Option<&CStr>) -> bool;

    /// The errno of an error, if it came from the kernel.
    fn errno(error: &Self::Error) -> Option<Errno>;

    /// The error of a call with that name.
    fn error(errno: Errno, call: &'static str) -> Self::Error;
}

/// A removal that was not completed. What was removed until then stays removed.
#[derive(Debug)]
pub struct Failed<E> {
    /// Why.
    pub error: E,
    /// What could not be removed, below the given path; empty for that path itself. In a deep path, `…` replaces the
    /// directories that are no longer known.
    pub below: Vec<u8>,
}
