//! Writes whole files.

use std::io::Write;
use std::os::fd::OwnedFd;

use agent_vm_protocol::message::{Change, Existing, OpenMode, WriteMode};

use super::change::time;
use super::{failed, writable};
use crate::error::Error;
use crate::vm::Vm;

/// The permissions of a new file, before the umask.
const NEW: u32 = 0o666;

/// A file to write.
#[derive(Debug)]
pub struct WriteRequest {
    /// Its path.
    pub path: String,
    /// Its whole content.
    pub content: Vec<u8>,
    /// The mode that it gets, whether it existed or not. By default a new file has 0644, and another one keeps its mode.
    pub mode: Option<u32>,
    /// The time of its last change, in milliseconds since the Unix epoch.
    pub mtime_ms: Option<f64>,
}

impl Vm {
    /// Writes a whole regular file, and creates missing parent directories.
    pub async fn write_file(&self, request: WriteRequest) -> Result<(), Error> {
        let WriteRequest {
            path,
            content,
            mode,
            mtime_ms,
        } = request;
        let opened = WriteMode {
            parents: true,
            create: Some(mode.unwrap_or(NEW)),
            existing: Existing::Empty,
            append: false,
        };
        let fd = self
            .open(None, path.clone().into(), OpenMode::Write(opened))
            .await?;
        let changes: Vec<_> = [
            mode.map(Change::Mode),
            mtime_ms.map(|modified| Change::Times {
                accessed: None,
                modified: Some(time(modified)),
            }),
        ]
        .into_iter()
        .flatten()
        .collect();
        let shared = fd.try_clone().map_err(|error| Error::system(&error, "dup"))?;
        let at = path.clone();
        self.blocking(move || write_all(fd, &at, &content)).await?;
        // After the content: a write removes set-id bits, and changes the time.
        for change in changes {
            let fd = shared.try_clone().map_err(|error| Error::system(&error, "dup"))?;
            self.change_opened(fd, &path, change).await?;
        }
        Ok(())
    }

    /// Appends to a regular file, which is created if it is missing.
    pub async fn append_file(&self, path: String, content: Vec<u8>, mode: Option<u32>) -> Result<(), Error> {
        let opened = WriteMode {
            parents: false,
            create: Some(mode.unwrap_or(NEW)),
            existing: Existing::Keep,
            append: true,
        };
        let fd = self
            .open(None, path.clone().into(), OpenMode::Write(opened))
            .await?;
        self.blocking(move || write_all(fd, &path, &content)).await
    }
}

fn write_all(fd: OwnedFd, path: &str, content: &[u8]) -> Result<(), Error> {
    let mut file = writable(fd, path, "write")?;
    file.write_all(content)
        .map_err(|error| failed(&error, "write", path))
}
