//! Files whose content differs from the host's: a program that opens one of these paths to read it gets a descriptor of
//! another file. Other calls do not show these files.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use agent_vm_protocol::message::ReplacedFile;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, FcntlArg, OFlag, SealFlag, fcntl, openat};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::{FileStat, Mode, fchmod, fstat};
use nix::unistd::write;

/// The files, and how the filter recognizes calls that may open them.
#[derive(Debug, Default)]
pub struct Replaced {
    files: Vec<(Vec<u8>, OwnedFd)>,
    /// The positions within a page of memory at which the C library has the paths.
    pub path_offsets: Vec<u16>,
}

impl Replaced {
    /// Puts the contents into memory files to which nobody can write.
    pub fn make(files: &[ReplacedFile], path_offsets: &[u16]) -> Result<Self, Errno> {
        let files = files
            .iter()
            .map(|file| Ok((file.path.clone().into_bytes(), sealed(file.content.as_bytes())?)))
            .collect::<Result<_, Errno>>()?;
        Ok(Self {
            files,
            path_offsets: path_offsets.to_vec(),
        })
    }

    /// Opens the file that replaces `path`, with a new file position.
    pub fn open(&self, path: &[u8]) -> Option<Result<OwnedFd, Errno>> {
        let (_, fd) = self.files.iter().find(|(known, _)| known == path)?;
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let name = format!("/proc/self/fd/{}", fd.as_raw_fd());
        Some(openat(AT_FDCWD, name.as_str(), flags, Mode::empty()))
    }

    /// The memory files.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.files.iter().map(|(_, fd)| fd.as_fd())
    }

    /// Whether `found` is one of the memory files.
    pub fn includes(&self, found: &FileStat) -> Result<bool, Errno> {
        for (_, fd) in &self.files {
            let own = fstat(fd)?;
            if (own.st_dev, own.st_ino) == (found.st_dev, found.st_ino) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn sealed(content: &[u8]) -> Result<OwnedFd, Errno> {
    let fd = memfd_create(c"agent-vm", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
    let mut rest = content;
    while !rest.is_empty() {
        rest = &rest[write(&fd, rest)?..];
    }
    // The VM's user opens it, which may differ from init's current user.
    fchmod(&fd, Mode::from_bits_truncate(0o444))?;
    let seals =
        SealFlag::F_SEAL_SEAL | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE;
    fcntl(&fd, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(fd)
}
