//! The VM's own terminals, for shells.

use std::os::fd::{AsFd, OwnedFd};

use agent_vm_protocol::message::Failure;
use nix::errno::Errno;
use nix::sys::termios::{InputFlags, SetArg, tcgetattr, tcsetattr};
use portable_pty::{NativePtySystem, PtySize, PtySystem};

use super::sys;

/// A terminal: the host's side and the program's side.
#[derive(Debug)]
pub struct Terminal {
    /// The host's side.
    pub master_fd: OwnedFd,
    /// The program's side.
    pub slave_fd: OwnedFd,
}

/// Opens a terminal of this size in the VM's `/dev/pts`.
pub fn open(cols: u16, rows: u16) -> Result<Terminal, Failure> {
    let failed = |errno: Errno| failure(errno, "openpty");
    let size = PtySize {
        rows,
        cols,
        pixel_width: 0,
        pixel_height: 0,
    };
    // The crate returns a text; the error number is still in the C library's errno.
    let pair = NativePtySystem::default()
        .openpty(size)
        .map_err(|_| failed(Errno::last()))?;
    let master = pair.master.as_raw_fd().ok_or_else(|| failed(Errno::EBADF))?;
    let master_fd = sys::duplicate(master).map_err(failed)?;
    // Opened before the pair is dropped: a terminal whose last other side is closed counts as hung up.
    let slave_fd = sys::terminal_slave(master_fd.as_fd()).map_err(failed)?;
    // So that erasing removes a whole character, even one of several bytes.
    let unset = |errno: Errno| failure(errno, "tcsetattr");
    let mut settings = tcgetattr(&slave_fd).map_err(unset)?;
    settings.input_flags |= InputFlags::IUTF8;
    tcsetattr(&slave_fd, SetArg::TCSANOW, &settings).map_err(unset)?;
    Ok(Terminal { master_fd, slave_fd })
}

fn failure(errno: Errno, syscall: &str) -> Failure {
    Failure {
        errno: errno as i32,
        syscall: syscall.into(),
        path: Some("/dev/ptmx".into()),
    }
}
