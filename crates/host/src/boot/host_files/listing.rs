//! Reads directories and files of the host by descriptor.

use std::io::Read;
use std::os::fd::{BorrowedFd, OwnedFd};

use nix::dir::{Dir, Type};
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

/// The name of a directory entry, if it is UTF-8, and its type, if the file system reports it.
pub type NamedEntry = (Option<String>, Option<Type>);

/// The names in a directory, sorted; `None` for a name that is not UTF-8.
pub fn names(fd: BorrowedFd<'_>) -> Result<Vec<Option<String>>, nix::Error> {
    let mut names: Vec<_> = entries(fd)?.into_iter().map(|(name, _)| name).collect();
    names.sort();
    Ok(names)
}

/// The names and types in a directory, unsorted.
pub fn entries(fd: BorrowedFd<'_>) -> Result<Vec<NamedEntry>, nix::Error> {
    let mut directory = Dir::openat(fd, ".", directory_flags(), Mode::empty())?;
    let mut entries = Vec::new();
    for entry in directory.iter() {
        let entry = entry?;
        let name = entry.file_name().to_str().ok();
        if !matches!(name, Some("." | "..")) {
            entries.push((name.map(str::to_owned), entry.file_type()));
        }
    }
    Ok(entries)
}

/// The content of a file that had `size` bytes a moment ago; `None` if it has grown since.
pub fn read(fd: OwnedFd, size: usize) -> Option<Vec<u8>> {
    let mut content = vec![0; size + 1];
    let mut file = std::fs::File::from(fd);
    let mut length = 0;
    while length < content.len() {
        match file.read(&mut content[length..]).ok()? {
            0 => break,
            more => length += more,
        }
    }
    content.truncate(length);
    (length <= size).then_some(content)
}

/// The flags to open a directory for listing.
pub fn directory_flags() -> OFlag {
    OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC
}
