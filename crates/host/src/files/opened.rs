//! Files that stay open between calls, for streams. A stream that nobody reads costs its descriptor alone: each read and
//! each write is a call of its own.

use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use agent_vm_protocol::message::{Existing, OpenMode, WriteMode};

use super::read::Content;
use super::share::Share;
use super::{failed, regular, writable};
use crate::error::Error;
use crate::open_files::{OpenFiles, OpenedFile};
use crate::sys;
use crate::vm::Vm;

/// The most bytes that one read of a stream returns.
pub const MAX_READ: u32 = 1024 * 1024;

/// How a file is opened for a stream.
#[derive(Debug, Clone, Copy)]
pub enum OpenRequest {
    /// To read.
    Read,
    /// To write.
    Write {
        /// The permissions of a new file; without them the file must exist.
        create: Option<u32>,
        /// Whether an existing file is emptied.
        empty: bool,
        /// Whether an existing file is an error.
        exclusive: bool,
        /// Whether each write goes to the end of the file.
        append: bool,
    },
}

/// A place that is given back unless the file was opened.
struct Reserved<'a> {
    files: &'a OpenFiles,
    number: Option<u64>,
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.files.close(number);
        }
    }
}

impl Vm {
    /// Opens a regular file for a stream. Returns its number.
    pub async fn open_file(&self, path: String, request: OpenRequest) -> Result<u64, Error> {
        let files = &self.shared().bounds.open_files;
        let number = files.reserve()?;
        let mut reserved = Reserved {
            files,
            number: Some(number),
        };
        let mode = match request {
            OpenRequest::Read => OpenMode::Read { follow: true },
            OpenRequest::Write {
                create,
                empty,
                exclusive,
                append,
            } => OpenMode::Write(WriteMode {
                parents: false,
                create,
                existing: if exclusive {
                    Existing::Refuse
                } else if empty {
                    Existing::Empty
                } else {
                    Existing::Keep
                },
                append,
            }),
        };
        let writes = matches!(request, OpenRequest::Write { .. });
        let fd = self.open(None, path.clone().into(), mode).await?;
        let opened = self
            .blocking(move || {
                let file = if writes {
                    writable(fd, &path, "write")?
                } else {
                    regular(fd, &path, "read")?.0
                };
                Ok(OpenedFile { file, path })
            })
            .await?;
        // A VM that has ended meanwhile has closed its files, and takes no more.
        if files.fill(number, Arc::new(opened)) {
            reserved.number = None;
        }
        Ok(number)
    }

    /// Reads up to `length` bytes of an open file, at most [`MAX_READ`]. Fewer only at the end of the file.
    pub async fn read_opened(&self, number: u64, position: u64, length: u32) -> Result<Content, Error> {
        let opened = self.shared().bounds.open_files.get(number)?;
        let length = length.min(MAX_READ);
        // A read that waits for a thread of this VM has a share: only a few may have one.
        let _place = self
            .shared()
            .bounds
            .reads
            .acquire()
            .await
            .map_err(|_| Error::Disposed)?;
        let share = match Share::try_take(u64::from(length)) {
            Some(share) => share,
            None => Share::take(self, u64::from(length)).await?,
        };
        self.blocking(move || {
            let mut bytes = sys::with_room(length as usize);
            let from = super::read::At {
                file: &opened.file,
                at: position,
            };
            from.take(u64::from(length))
                .read_to_end(&mut bytes)
                .map_err(|error| failed(&error, "read", &opened.path))?;
            Ok(Content { bytes, share })
        })
        .await
    }

    /// Writes all bytes to an open file, at a position or at the end of what was written before.
    pub async fn write_opened(
        &self,
        number: u64,
        content: Vec<u8>,
        position: Option<u64>,
    ) -> Result<(), Error> {
        let opened = self.shared().bounds.open_files.get(number)?;
        self.blocking(move || {
            let written = match position {
                Some(position) => opened.file.write_all_at(&content, position),
                None => (&opened.file).write_all(&content),
            };
            written.map_err(|error| failed(&error, "write", &opened.path))
        })
        .await
    }

    /// Closes an open file. A number that is not known is no error.
    pub fn close_opened(&self, number: u64) {
        self.shared().bounds.open_files.close(number);
    }
}
