//! System calls of the boot that nix lacks.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use agent_vm_vfork::sys::{ChildOptions, copy};
use libc::{c_char, c_int, c_ulong, pid_t};
use nix::errno::Errno;

/// Sets the flags that govern capabilities (`SECBIT_*`).
pub fn set_securebits(bits: c_int) -> Result<(), Errno> {
    // SAFETY: takes integers only.
    Errno::result(unsafe { libc::prctl(libc::PR_SET_SECUREBITS, bits as c_ulong, 0, 0, 0) })?;
    Ok(())
}

/// Empties the ambient capability set.
pub fn clear_ambient() -> Result<(), Errno> {
    // SAFETY: takes integers only.
    Errno::result(unsafe {
        libc::prctl(
            libc::PR_CAP_AMBIENT,
            libc::PR_CAP_AMBIENT_CLEAR_ALL as c_ulong,
            0,
            0,
            0,
        )
    })?;
    Ok(())
}

/// Empties the bounding set, including capabilities that only newer kernels have.
pub fn clear_bounding() -> Result<(), Errno> {
    for capability in 0..64 as c_ulong {
        // SAFETY: takes integers only.
        match Errno::result(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) }) {
            Ok(_) => {}
            // The first number after the last capability.
            Err(Errno::EINVAL) if capability > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Gives up the effective, permitted and inheritable capabilities.
pub fn clear_capabilities() -> Result<(), Errno> {
    /// `_LINUX_CAPABILITY_VERSION_3`.
    const VERSION_3: u32 = 0x2008_0522;
    let header: [u32; 2] = [VERSION_3, 0];
    let data = [0_u32; 6];
    // SAFETY: version 3 reads a header of two and data of six 32-bit words.
    Errno::result(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()) })?;
    Ok(())
}

/// Brings the loopback interface up, if it is down.
pub fn loopback_up(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: all-zero is a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as c_char;
    request.ifr_name[1] = b'o' as c_char;
    // SAFETY: `request` is a complete structure that the call reads and writes.
    Errno::result(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS as _, &raw mut request) })?;
    // SAFETY: the call has just written the flags.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    if flags & libc::IFF_UP as i16 != 0 {
        return Ok(());
    }
    request.ifr_ifru.ifru_flags = flags | libc::IFF_UP as i16;
    // SAFETY: as above.
    Errno::result(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) })?;
    Ok(())
}

/// A copy of this process that does nothing. Dropping it kills it.
pub struct Sleeper(pid_t);

impl Sleeper {
    /// Starts one in new namespaces.
    pub fn start(namespaces: c_int) -> io::Result<Self> {
        let options = ChildOptions {
            namespaces,
            exit_signal: libc::SIGCHLD,
            ..ChildOptions::default()
        };
        // SAFETY: init has one thread.
        match unsafe { copy(&options) }? {
            Some(child) => Ok(Self(child.pid)),
            None => loop {
                // SAFETY: takes nothing.
                unsafe { libc::pause() };
            },
        }
    }

    /// Its pid.
    pub fn pid(&self) -> pid_t {
        self.0
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        // SAFETY: takes integers, and a null pointer where the status would go. The pid stays its own until this reaps it.
        unsafe {
            libc::kill(self.0, libc::SIGKILL);
            while libc::waitpid(self.0, std::ptr::null_mut(), 0) < 0 && Errno::last() == Errno::EINTR {}
        }
    }
}
