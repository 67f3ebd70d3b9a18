//! The files that the streams of one VM have open.

use std::collections::HashMap;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::error::Error;

/// The maximum number of files that the streams of one VM have open.
pub const MAX_OPEN: usize = 256;

/// An open file, and the path that errors name.
#[derive(Debug)]
pub struct OpenedFile {
    pub file: File,
    pub path: String,
}

/// The files that the streams of one VM have open, by their numbers.
#[derive(Default)]
pub struct OpenFiles {
    /// The last number that was given. The first is 1.
    last: AtomicU64,
    /// `None` for a file that is being opened.
    files: Mutex<HashMap<u64, Option<Arc<OpenedFile>>>>,
}

impl OpenFiles {
    /// Takes a place for a file that will be opened.
    pub fn reserve(&self) -> Result<u64, Error> {
        let mut files = self.files.lock();
        if files.len() >= MAX_OPEN {
            return Err(Error::LimitExceeded(format!(
                "the streams of this VM have {MAX_OPEN} files open, the most that a VM may have: end or destroy one"
            )));
        }
        let number = 1 + self.last.fetch_add(1, Ordering::Relaxed);
        files.insert(number, None);
        Ok(number)
    }

    /// Puts a file into its place; false if the place was given back meanwhile.
    pub fn fill(&self, number: u64, file: Arc<OpenedFile>) -> bool {
        match self.files.lock().get_mut(&number) {
            Some(place) => {
                *place = Some(file);
                true
            }
            None => false,
        }
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.files.lock().is_empty()
    }

    /// An open file.
    pub fn get(&self, number: u64) -> Result<Arc<OpenedFile>, Error> {
        let files = self.files.lock();
        let found = files.get(&number).cloned().flatten();
        found.ok_or_else(|| Error::InvalidArgument("the file of this stream is closed".to_owned()))
    }

    /// Closes a file, or gives its place back.
    pub fn close(&self, number: u64) {
        let closed = self.files.lock().remove(&number);
        drop(closed);
    }

    /// Closes all files at the end of the VM. A call that is under way keeps its own until it is over.
    pub fn close_all(&self) {
        let closed = std::mem::take(&mut *self.files.lock());
        drop(closed);
    }
}
