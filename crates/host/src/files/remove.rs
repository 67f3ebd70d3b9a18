//! Removes a tree in the VM by the algorithm of `agent-vm-remove-tree`; init carries out each step on a name, as the
//! VM's user.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use agent_vm_protocol::message::{FileStep, OpenMode, Reply};
use agent_vm_remove_tree::{Entries, Failed, Tree, entries, remove, remove_all};
use nix::errno::Errno;

use crate::error::Error;
use crate::vm::Vm;

struct Inside<'a> {
    vm: &'a Vm,
}

/// Removes a host directory and everything below it, with the server's rights. Blocks until done.
pub fn remove_tree(path: &str) -> Result<(), Error> {
    remove_all(Path::new(path)).map_err(|error| super::failed(&error, "rmdir", path))
}

impl Vm {
    /// Removes a name and, if it is a directory, everything below it.
    pub(super) async fn remove_tree(&self, path: String) -> Result<(), Error> {
        let name = CString::new(path.as_str()).map_err(|error| Error::InvalidArgument(error.to_string()))?;
        remove(&Inside { vm: self }, &name)
            .await
            .map_err(|failed| at(failed, &path))
    }
}

/// The error of a step, with as much of its path as is known.
fn at(failed: Failed<Error>, path: &str) -> Error {
    match failed.error {
        Error::System { errno, syscall, .. } => {
            let below = String::from_utf8_lossy(&failed.below);
            let slash = if below.is_empty() { "" } else { "/" };
            let path = if below.is_empty() {
                path
            } else {
                path.trim_end_matches('/')
            };
            Error::System {
                errno,
                syscall,
                path: Some(format!("{path}{slash}{below}")),
            }
        }
        other => other,
    }
}

impl Tree for Inside<'_> {
    type Error = Error;

    async fn open(&self, directory: Option<Arc<OwnedFd>>, name: &CStr) -> Result<OwnedFd, Error> {
        let mode = OpenMode::Directory { follow: false };
        self.vm
            .open(shared(directory)?, name.to_bytes().into(), mode)
            .await
    }

    async fn remove(
        &self,
        directory: Option<Arc<OwnedFd>>,
        name: &CStr,
        is_directory: bool,
    ) -> Result<(), Error> {
        let step = FileStep::Remove {
            directory: directory.as_ref().map(|_| 0),
            path: name.to_bytes().into(),
            is_directory,
        };
        let fds = shared(directory)?.into_iter().collect();
        self.vm.step(step, fds).await.map(drop)
    }

    async fn remove_files(&self, directory: &Arc<OwnedFd>, names: &[&CStr]) -> Result<usize, Error> {
        let step = FileStep::RemoveFiles {
            directory: 0,
            names: names.iter().map(|name| name.to_bytes().into()).collect(),
        };
        let fds = shared(Some(Arc::clone(directory)))?.into_iter().collect();
        match self.vm.step(step, fds).await? {
            (Reply::Removed { count, .. }, _) => Ok(count as usize),
            _ => Err(Error::Disposed),
        }
    }

    async fn list(&self, directory: Arc<OwnedFd>) -> Result<Entries, Error> {
        self.vm
            .blocking(move || {
                entries(directory.as_fd()).map_err(|errno| Error::system(&errno.into(), "getdents"))
            })
            .await
    }

    fn unlock(&self, _directory: &Arc<OwnedFd>, _name: Option<&CStr>) -> bool {
        // The VM's user denied access to it, and no call of ours overrides that.
        false
    }

    fn errno(error: &Error) -> Option<Errno> {
        match error {
            Error::System { errno, .. } => Some(Errno::from_raw(*errno)),
            _ => None,
        }
    }

    fn error(errno: Errno, call: &'static str) -> Error {
        Error::system(&errno.into(), call)
    }
}

/// A duplicate of a descriptor, to attach to the request for a step.
fn shared(directory: Option<Arc<OwnedFd>>) -> Result<Option<OwnedFd>, Error> {
    directory
        .map(|fd| fd.try_clone())
        .transpose()
        .map_err(|error: io::Error| Error::system(&error, "dup"))
}
