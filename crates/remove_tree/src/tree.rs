//! What a walk needs of the tree that it removes.

use std::ffi::CStr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use nix::errno::Errno;

use crate::entries::Entries;

/// How the names of a tree are opened and removed. A name without a directory is an absolute path.
pub trait Tree {
    /// What its calls fail with.
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

    /// Runs [`entries`](crate::entries) where it may take its time.
    fn list(&self, directory: Arc<OwnedFd>) -> impl Future<Output = Result<Entries, Self::Error>> + Send;

    /// Gives the owner every permission on the directory `name` in `directory`, or on `directory` itself. Returns whether
    /// another try may succeed.
    fn unlock(&self, directory: &Arc<OwnedFd>, name: Option<&CStr>) -> bool;

    /// The errno of an error, if it came from the kernel.
    fn errno(error: &Self::Error) -> Option<Errno>;

    /// The error of a call of that name.
    fn error(errno: Errno, call: &'static str) -> Self::Error;
}

/// A removal that was not finished. What was removed by then stays removed.
#[derive(Debug)]
pub struct Failed<E> {
    /// Why.
    pub error: E,
    /// What could not be removed, below the path that was given: empty for that path itself. Of a name deep down, `…` stands for the
    /// directories that are no longer known.
    pub below: Vec<u8>,
}
