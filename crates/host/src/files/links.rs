//! Symbolic links, and paths without them.

use agent_vm_protocol::message::{FileStep, Reply};

use crate::error::Error;
use crate::vm::Vm;

impl Vm {
    /// Creates a symbolic link at `path` that contains `target`.
    pub async fn symlink(&self, target: String, path: String) -> Result<(), Error> {
        let step = FileStep::Symlink {
            directory: None,
            path: path.into(),
            target: target.into(),
        };
        self.step(step, Vec::new()).await.map(drop)
    }

    /// What a symbolic link contains.
    pub async fn readlink(&self, path: String) -> Result<Vec<u8>, Error> {
        self.path_by(FileStep::ReadLink {
            directory: None,
            path: path.into(),
        })
        .await
    }

    /// The absolute path of a file, without symbolic links, `.` and `..`.
    pub async fn realpath(&self, path: String) -> Result<Vec<u8>, Error> {
        self.path_by(FileStep::RealPath { path: path.into() }).await
    }

    async fn path_by(&self, step: FileStep) -> Result<Vec<u8>, Error> {
        match self.step(step, Vec::new()).await? {
            (Reply::Path { path, .. }, _) => Ok(path),
            _ => Err(Error::Disposed),
        }
    }
}
