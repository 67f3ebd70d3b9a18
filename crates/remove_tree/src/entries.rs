//! Names in a directory.

use std::collections::VecDeque;
use std::ffi::CString;

/// A name in a directory.
#[derive(Debug)]
pub struct Entry {
    pub(crate) name: CString,
    pub(crate) is_directory: bool,
    /// How many times removing it was tried.
    pub(crate) tries: u32,
}

impl Entry {
    pub(crate) fn new(name: CString, is_directory: bool) -> Self {
        Self {
            name,
            is_directory,
            tries: 0,
        }
    }
}

/// Some names in a directory.
#[derive(Debug, Default)]
pub struct Entries {
    pub(crate) entries: VecDeque<Entry>,
    /// Whether these are the last names.
    pub(crate) are_last: bool,
}
