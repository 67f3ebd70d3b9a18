//! A process's directory in `/proc`.

use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};

use agent_vm_proc_stat::{STAT_BYTES, numbers};
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::sys::stat::Mode;

use crate::sys;

/// The directory of a process, or of one of its threads. It stays with that process: once the process is reaped, its
/// files cannot be opened any more, whatever process has its pid by then.
#[derive(Debug)]
pub struct ProcDirectory {
    fd: OwnedFd,
}

impl ProcDirectory {
    /// Opens the directory of a process in the `/proc` that `proc_fd` refers to.
    pub fn open(proc_fd: impl AsFd, pid: i32) -> io::Result<Self> {
        Self::at(proc_fd, &pid.to_string())
    }

    /// Opens the directory of a thread other than the first; it contains the same files as that of a process.
    pub fn other_thread(&self, pid: i32) -> Option<Self> {
        let other = numbers(&self.fd, "task")
            .ok()?
            .into_iter()
            .find(|tid| *tid != pid)?;
        Self::at(&self.fd, &format!("task/{other}")).ok()
    }

    /// The numbers of the descriptors that the process has open, unsorted.
    pub fn descriptors(&self) -> io::Result<Vec<i32>> {
        Ok(numbers(&self.fd, "fd")?)
    }

    /// The numbers of the process's threads, unsorted.
    pub fn threads(&self) -> io::Result<Vec<i32>> {
        Ok(numbers(&self.fd, "task")?)
    }

    /// The major and the minor number of the device that a link in it leads to; zeros if it leads to something else. Does not
    /// ask the file system for it: a program may be what answers for that.
    pub fn device(&self, name: &str) -> Option<(u32, u32)> {
        sys::cached_device(self.fd.as_fd(), &CString::new(name).ok()?).ok()
    }

    /// Opens a file in it.
    pub fn file(&self, name: &str) -> io::Result<File> {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        Ok(File::from(openat(&self.fd, name, flags, Mode::empty())?))
    }

    /// Reads the file `stat` in a single read: the kernel produces all of it at once (`seq_file`), and a second read for
    /// its end would cost as much.
    pub fn stat<'a>(&self, buffer: &'a mut [u8; STAT_BYTES]) -> io::Result<&'a [u8]> {
        let length = self.file("stat")?.read(buffer)?;
        Ok(&buffer[..length])
    }

    /// Reads a link in it.
    pub fn link(&self, name: &str) -> Option<OsString> {
        readlinkat(&self.fd, name).ok()
    }

    fn at(directory_fd: impl AsFd, path: &str) -> io::Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let fd = openat(directory_fd, path, flags, Mode::empty())?;
        Ok(Self { fd })
    }
}
