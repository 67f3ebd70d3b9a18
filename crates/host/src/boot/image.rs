//! The init program in memory.
//!
//! It is executed from a sealed memory file: all VMs share its pages, nobody can change it, and the file on disk can be
//! replaced (by an update under a running server).
//!
//! Init's children have init's memory until they execute a program. Until then `/proc/self/exe` is this file for them,
//! and a guest's script can name it as its interpreter. If a guest could execute the file, the guest could also open it
//! and, if the guest's user is the server's, change its mode. So each file is executed only once, by the zygote, and
//! loses its execute permission as soon as it runs: from then on the zygote only copies itself.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::error::BootError;

/// The program's bytes, shared by the whole server.
static PROGRAM: OnceLock<Vec<u8>> = OnceLock::new();

/// The mode in which the server's user may execute it.
const EXECUTABLE: u32 = 0o555;

/// The mode in which nobody may execute it.
const RETIRED: u32 = 0o444;

/// A memory file that is executed once.
#[derive(Debug)]
pub struct Image {
    file: File,
    path: PathBuf,
}

impl Image {
    /// An image of the program at `path`. The first successful call reads the program.
    pub fn of(path: &Path) -> Result<Self, BootError> {
        let program = if let Some(program) = PROGRAM.get() {
            program
        } else {
            let read = fs::read(path).map_err(|source| failed(path, source))?;
            PROGRAM.get_or_init(|| read)
        };
        let file = sealed(program).map_err(|source| failed(path, source))?;
        Ok(Self {
            file,
            path: path.to_owned(),
        })
    }

    /// Removes the execute permission, permanently if the kernel supports that (Linux 6.3). Called when the program
    /// runs.
    pub fn retire(self) -> Result<(), BootError> {
        self.file
            .set_permissions(Permissions::from_mode(RETIRED))
            .and_then(|()| seal_mode(&self.file))
            .map_err(|source| failed(&self.path, source))
    }
}

impl AsFd for Image {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn failed(path: &Path, source: io::Error) -> BootError {
    BootError::Image {
        path: path.to_owned(),
        source,
    }
}

/// An executable memory file to which nobody can write.
fn sealed(program: &[u8]) -> io::Result<File> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let named = |flags| memfd_create(c"agent-vm-init", flags);
    // `vm.memfd_noexec` applies to files for which it is not specified whether they may be executed. Before Linux 6.3
    // it cannot be specified.
    let fd = match named(flags | MFdFlags::from_bits_retain(libc::MFD_EXEC)) {
        Err(Errno::EINVAL) => named(flags)?,
        other => other?,
    };
    let mut file = File::from(fd);
    file.write_all(program)?;
    file.set_permissions(Permissions::from_mode(EXECUTABLE))?;
    let seals = SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(file)
}

/// Seals the file so that it cannot become executable again, and so that its seals cannot change.
fn seal_mode(file: &File) -> io::Result<()> {
    let mode = SealFlag::from_bits_retain(libc::F_SEAL_EXEC);
    match fcntl(file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SEAL | mode)) {
        // Before Linux 6.3 there is no such seal. Only the server's user may change the mode, and no program has the
        // file.
        Err(Errno::EINVAL) => fcntl(file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SEAL)).map(drop)?,
        other => other.map(drop)?,
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may end with a panic")]
mod tests {
    use super::*;

    fn mode(image: &Image) -> u32 {
        image.file.metadata().unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn an_image_is_executable_until_it_runs_and_never_writable() {
        let path = std::env::current_exe().unwrap();
        let image = Image::of(&path).unwrap();
        assert_eq!(mode(&image), EXECUTABLE);
        assert!((&image.file).write(b"x").is_err());
        assert!(image.file.set_len(0).is_err());
        let file = image.file.try_clone().unwrap();
        image.retire().unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o7777, RETIRED);
        let again = file.set_permissions(Permissions::from_mode(0o755));
        let has_seal = fcntl(&file, FcntlArg::F_GET_SEALS).unwrap() & libc::F_SEAL_EXEC == libc::F_SEAL_EXEC;
        assert_eq!(again.is_err(), has_seal);
        assert!((&file).write(b"x").is_err());
    }
}
