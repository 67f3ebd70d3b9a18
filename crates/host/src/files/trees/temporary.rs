//! Files of the host that have a temporary name until they are complete.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat2, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, symlinkat, unlinkat};

use super::in_directory::how;

/// Names that only one transfer uses.
pub struct TemporaryNames {
    random: u64,
    last: AtomicU64,
}

impl TemporaryNames {
    pub fn new() -> io::Result<Self> {
        use std::io::Read;
        let mut bytes = [0; 8];
        File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        Ok(Self {
            random: u64::from_ne_bytes(bytes),
            last: AtomicU64::new(0),
        })
    }

    fn next(&self) -> String {
        let number = self.last.fetch_add(1, Ordering::Relaxed);
        format!(".agent-vm-{:016x}-{number}.tmp", self.random)
    }
}

/// A file under a temporary name, which is removed unless it gets its own.
pub struct Temporary {
    directory: Arc<OwnedFd>,
    name: String,
    is_renamed: bool,
}

impl Temporary {
    pub fn file(directory: &Arc<OwnedFd>, names: &TemporaryNames) -> Result<(Self, File), Errno> {
        let name = names.next();
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL;
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        let fd = openat2(directory, name.as_str(), how(flags, mode))?;
        Ok((Self::new(directory, name), File::from(fd)))
    }

    pub fn link(directory: &Arc<OwnedFd>, names: &TemporaryNames, target: &[u8]) -> Result<Self, Errno> {
        let name = names.next();
        symlinkat(OsStr::from_bytes(target), directory, name.as_str())?;
        Ok(Self::new(directory, name))
    }

    fn new(directory: &Arc<OwnedFd>, name: String) -> Self {
        Self {
            directory: Arc::clone(directory),
            name,
            is_renamed: false,
        }
    }

    /// Its temporary name.
    pub fn name(&self) -> &[u8] {
        self.name.as_bytes()
    }

    /// Gives it its own name, in the place of what is there and is no directory.
    pub fn rename(mut self, name: &[u8]) -> Result<(), Errno> {
        renameat(&self.directory, self.name.as_str(), &self.directory, name)?;
        self.is_renamed = true;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.is_renamed {
            // If it cannot be removed, its name shows what it is.
            let _left = unlinkat(&self.directory, self.name.as_str(), UnlinkatFlags::NoRemoveDir);
        }
    }
}
