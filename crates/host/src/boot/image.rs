//! The init program in memory.
//!
//! It is executed from a sealed memory file: all VMs share its pages, nobody can change it, and replacing the file on disk
//! (an update under a running server) harms nothing.
//!
//! Init's children have init's memory until they execute a program, so to them `/proc/self/exe` is this file, and a guest's script
//! may name that as its interpreter. A file that a guest's program ran from would be that guest's to open, and to change the mode
//! of where the guest's user is the server's. So each file is executed once, by the zygote, and loses the right to be executed
//! as soon as it runs: the zygote only copies itself from then on.

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

/// The program's bytes, once for the whole server.
static PROGRAM: OnceLock<Vec<u8>> = OnceLock::new();

/// Executable by the server's user.
const EXECUTABLE: u32 = 0o555;

/// And by nobody any more.
const RETIRED: u32 = 0o444;

/// A memory file to be executed once.
#[derive(Debug)]
pub struct Image {
    file: File,
    path: PathBuf,
}

impl Image {
    /// Makes one of the program at `path`, which is read by the first call that succeeds.
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

    /// Takes away the right to execute it, for good where the kernel can hold that (Linux 6.3). To be called when it runs.
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

/// An executable memory file that nobody can write to.
fn sealed(program: &[u8]) -> io::Result<File> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let named = |flags| memfd_create(c"agent-vm-init", flags);
    // `vm.memfd_noexec` decides about a file that does not say whether it may be executed. Before Linux 6.3 none can say so.
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

/// Keeps the file from becoming executable again, and its seals as they are.
fn seal_mode(file: &File) -> io::Result<()> {
    let mode = SealFlag::from_bits_retain(libc::F_SEAL_EXEC);
    match fcntl(file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SEAL | mode)) {
        // Before Linux 6.3 there is no such seal. The server's user alone may change the mode, and no program has the file.
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
