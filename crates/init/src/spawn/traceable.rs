//! Whether a process that takes other ids stays hidden from tracing, as the host decides.

use std::os::fd::{BorrowedFd, OwnedFd};

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::sys::uio::pread;

/// The host's `fs.suid_dumpable` (`proc_sys_fs(5)`). Its files show the value at the time of each read.
#[derive(Debug)]
pub struct SuidDumpable(OwnedFd);

impl SuidDumpable {
    /// The setting in that `/proc`; `None` if it cannot be read.
    pub fn open(proc_fd: BorrowedFd<'_>) -> Option<Self> {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let fd = openat(proc_fd, "sys/fs/suid_dumpable", flags, Mode::empty()).ok()?;
        Some(Self(fd))
    }

    /// Whether it is 0 now: then a change of ids leaves memory neither traceable nor dumpable.
    pub fn is_off(&self) -> bool {
        let mut text = [0; 4];
        matches!(pread(&self.0, &mut text, 0), Ok(length) if text.get(..length) == Some(b"0\n"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may end with a panic")]
mod tests {
    use std::fs::{self, File};
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn the_setting_is_the_one_of_the_moment() {
        let directory = std::env::temp_dir().join(format!("agent-vm-dumpable-{}", std::process::id()));
        fs::create_dir_all(directory.join("sys/fs")).unwrap();
        let proc = File::open(&directory).unwrap();
        assert!(SuidDumpable::open(proc.as_fd()).is_none());
        let path = directory.join("sys/fs/suid_dumpable");
        fs::write(&path, "0\n").unwrap();
        let setting = SuidDumpable::open(proc.as_fd()).unwrap();
        assert!(setting.is_off());
        for text in ["1\n", "2\n", "", "00\n", "0"] {
            fs::write(&path, text).unwrap();
            assert!(!setting.is_off(), "{text:?}");
        }
        fs::remove_dir_all(directory).unwrap();
    }
}
