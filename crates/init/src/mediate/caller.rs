//! The program that made a call which the kernel asks about.

use std::ffi::CString;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

/// `PATH_MAX`, including the final zero byte.
const PATH_BOUND: usize = 4096;

/// The thread that made the call, as its directory in `/proc`.
pub struct Caller {
    fd: OwnedFd,
    memory: Option<File>,
}

impl Caller {
    /// From its directory in `/proc`, and its memory if that may be read.
    pub fn new(fd: OwnedFd, memory_fd: Option<OwnedFd>) -> Self {
        let memory = memory_fd.map(File::from);
        Self { fd, memory }
    }

    /// Its directory in `/proc`.
    pub fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// Reads `buffer.len()` bytes of its memory.
    pub fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), Errno> {
        self.memory()?
            .read_exact_at(buffer, address)
            .map_err(|_| Errno::EFAULT)
    }

    /// Reads the string at `address`.
    pub fn read_string(&self, address: u64) -> Result<CString, Errno> {
        const PAGE: usize = 4096;
        let memory = self.memory()?;
        let mut bytes = Vec::new();
        while bytes.len() < PATH_BOUND {
            // Reads up to the end of a page, because the next page may not exist.
            let from = address.wrapping_add(bytes.len() as u64);
            let mut page = vec![0; PAGE - from as usize % PAGE];
            let length = memory.read_at(&mut page, from).map_err(|_| Errno::EFAULT)?;
            if length == 0 {
                return Err(Errno::EFAULT);
            }
            bytes.extend_from_slice(&page[..length]);
            if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
                bytes.truncate(end);
                return CString::new(bytes).map_err(|_| Errno::EINVAL);
            }
        }
        Err(Errno::ENAMETOOLONG)
    }

    /// Its `status` in `/proc`.
    pub fn status(&self) -> Result<String, Errno> {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let fd = openat(&self.fd, "status", flags, Mode::empty()).map_err(|_| Errno::EPERM)?;
        let mut text = String::new();
        File::from(fd)
            .read_to_string(&mut text)
            .map_err(|_| Errno::EPERM)?;
        Ok(text)
    }

    fn memory(&self) -> Result<&File, Errno> {
        self.memory.as_ref().ok_or(Errno::EPERM)
    }

    /// Opens with `O_PATH` what its descriptor `number` refers to, or otherwise its working directory.
    pub fn open(&self, number: Option<i32>) -> Result<OwnedFd, Errno> {
        let link = number.map_or_else(|| "cwd".to_owned(), |number| format!("fd/{number}"));
        let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
        openat(&self.fd, link.as_str(), flags, Mode::empty()).map_err(|errno| match errno {
            Errno::ENOENT => Errno::EBADF,
            _ => Errno::EPERM,
        })
    }
}
