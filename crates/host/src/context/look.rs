//! What the kernel says of a context's shell.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::sys::stat::Mode;
use nix::unistd::{SysconfVar, sysconf};

/// The kernel functions in which a read of a Unix socket sleeps, of several versions of Linux.
const READS_OF_A_SOCKET: [&[u8]; 3] = [
    b"unix_stream_read_generic",
    b"unix_stream_data_wait",
    b"unix_stream_recvmsg",
];

/// Whether a shell waits for its next command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ShellWaiting {
    Yes,
    No,
    /// The kernel does not let this process look.
    Unknown,
}

/// What a shell has used so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Used {
    /// Processor time outside of the kernel, with that of children that it has waited for, µs.
    pub user_us: u64,
    /// The same in the kernel, µs.
    pub system_us: u64,
    /// What it holds now.
    pub rss_bytes: u64,
}

/// A process's directory in the VM's `/proc`. It stays that process's: nothing is in it any more once the process is gone.
#[derive(Debug)]
pub struct ShellLook {
    directory_fd: OwnedFd,
    // Open as long as the shell lives, because opening a file of `/proc` costs several times as much as reading it.
    stat: File,
    children: File,
    /// None where the kernel has no such file.
    wchan: Option<File>,
    /// Whether `wchan` has been of no use: the shell waited, and the kernel function was not known.
    wchan_is_useless: AtomicBool,
    /// What its standard input was before it had read a command; empty where the kernel does not say.
    socket: OnceLock<OsString>,
}

impl ShellLook {
    /// At the process `pid`.
    pub fn at(proc_fd: &OwnedFd, pid: u32) -> io::Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let directory_fd = openat(proc_fd, pid.to_string().as_str(), flags, Mode::empty())?;
        Ok(Self {
            stat: open(&directory_fd, "stat")?,
            children: open(&directory_fd, &format!("task/{pid}/children"))?,
            wchan: open(&directory_fd, "wchan").ok(),
            wchan_is_useless: AtomicBool::new(false),
            socket: OnceLock::new(),
            directory_fd,
        })
    }

    /// Remembers what the process has as its standard input, the socket. To be called when it has written its first report: only
    /// then it has surely executed its program, and before that the kernel does not let this process look.
    pub fn know_socket(&self) {
        self.socket
            .get_or_init(|| readlinkat(&self.directory_fd, "fd/0").unwrap_or_default());
    }

    /// Whether [`waits_now`](Self::waits_now) can say yes.
    pub fn may_see_now(&self) -> bool {
        self.wchan.is_some() && !self.wchan_is_useless.load(Ordering::Relaxed)
    }

    /// Whether the process waits in a read of the socket, as far as the kernel says without waiting for the process itself: it
    /// sleeps where a read of a Unix socket sleeps, and its standard input is the socket. While a command runs, it is not.
    pub fn waits_now(&self) -> bool {
        self.sleeps_in_read() && self.has_socket_as_input()
    }

    fn sleeps_in_read(&self) -> bool {
        let Some(wchan) = &self.wchan else { return false };
        let mut buffer = [0; 64];
        let length = wchan.read_at(&mut buffer, 0).unwrap_or(0);
        let function = &buffer[..length];
        READS_OF_A_SOCKET.iter().any(|name| function.starts_with(name))
    }

    fn has_socket_as_input(&self) -> bool {
        let link = readlinkat(&self.directory_fd, "fd/0").ok();
        link.is_some() && link.as_ref() == self.socket.get()
    }

    /// Whether the process waits in a read of the socket, or comes to that within `patience`; also where the kernel does not let
    /// this process look. Waits itself while the process executes another program.
    pub fn waits_within(&self, patience: Duration) -> bool {
        let begun = Instant::now();
        loop {
            let waiting = self.waits();
            if waiting != ShellWaiting::No {
                if waiting == ShellWaiting::Yes && !self.sleeps_in_read() {
                    self.wchan_is_useless.store(true, Ordering::Relaxed);
                }
                return true;
            }
            if begun.elapsed() >= patience {
                return false;
            }
            // The shell may wait for this thread's processor.
            std::thread::yield_now();
        }
    }

    /// Whether the process waits in a read of the socket.
    fn waits(&self) -> ShellWaiting {
        let mut buffer = [0; 256];
        let read = open(&self.directory_fd, "syscall").and_then(|file| file.read_at(&mut buffer, 0));
        let length = match read.map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)) {
            Ok(length) => length,
            Err(Errno::EPERM | Errno::EACCES | Errno::ENOENT | Errno::ENOSYS) => {
                return ShellWaiting::Unknown;
            }
            Err(_) => return ShellWaiting::No,
        };
        if self.socket.get().is_none_or(|socket| socket.is_empty()) {
            return ShellWaiting::Unknown;
        }
        if is_wait(&buffer[..length]) && self.has_socket_as_input() {
            ShellWaiting::Yes
        } else {
            ShellWaiting::No
        }
    }

    /// Whether it may have children.
    pub fn may_have_children(&self) -> bool {
        !matches!(self.children.read_at(&mut [0; 16], 0), Ok(0))
    }

    /// Its working directory; none if it was removed or cannot be named as text.
    pub fn working_directory(&self) -> Option<String> {
        let link = readlinkat(&self.directory_fd, "cwd").ok()?;
        if link.as_bytes().ends_with(b" (deleted)") {
            return None;
        }
        link.into_string().ok().filter(|path| path.starts_with('/'))
    }

    /// What it has used so far.
    pub fn used(&self) -> Used {
        let mut buffer = [0; 1024];
        let length = self.stat.read_at(&mut buffer, 0).unwrap_or(0);
        used(&buffer[..length]).unwrap_or_default()
    }
}

fn open(directory_fd: &OwnedFd, file: &str) -> io::Result<File> {
    let fd = openat(
        directory_fd,
        file,
        OFlag::O_RDONLY | OFlag::O_CLOEXEC,
        Mode::empty(),
    )?;
    Ok(fd.into())
}

/// Whether `/proc/<pid>/syscall` reports a read of descriptor 0, or of a wait before it.
fn is_wait(text: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(text) else {
        return false;
    };
    let mut words = text.split_ascii_whitespace();
    let Some(number) = words.next().and_then(|number| number.parse::<i64>().ok()) else {
        return false;
    };
    if number == libc::SYS_read {
        return words.next() == Some("0x0");
    }
    // fish asks before it reads.
    let waits = [libc::SYS_ppoll, libc::SYS_pselect6];
    #[cfg(target_arch = "x86_64")]
    let waits = [waits[0], waits[1], libc::SYS_poll, libc::SYS_select];
    waits.contains(&number)
}

/// Of `/proc/<pid>/stat`.
fn used(stat: &[u8]) -> Option<Used> {
    // The name is in parentheses and may contain anything, also parentheses.
    let end = stat.iter().rposition(|&byte| byte == b')')?;
    let rest = std::str::from_utf8(stat.get(end + 2..)?).ok()?;
    let field = |number: usize| rest.split_ascii_whitespace().nth(number - 3)?.parse::<u64>().ok();
    let ticks = system(SysconfVar::CLK_TCK);
    let us = |ticks_used: u64| ticks_used * 1_000_000 / ticks;
    Some(Used {
        user_us: us(field(14)? + field(16)?),
        system_us: us(field(15)? + field(17)?),
        rss_bytes: field(24)? * system(SysconfVar::PAGE_SIZE),
    })
}

/// A system variable, such as the number of bytes in a page.
fn system(variable: SysconfVar) -> u64 {
    let value = sysconf(variable).ok().flatten();
    value.and_then(|value| value.try_into().ok()).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_read_of_the_socket_counts() {
        let read = libc::SYS_read;
        assert!(is_wait(
            format!("{read} 0x0 0x7ffd 0x1 0x0 0x0 0x0 0x7ffd 0x7f").as_bytes()
        ));
        for text in [
            format!("{read} 0x3 0x7ffd"),
            "running\n".into(),
            "-1 0x0 0x0".into(),
            "61 0x0".into(),
        ] {
            assert!(!is_wait(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn the_time_of_children_counts() {
        let stat = b"7 (a) b) S 1 7 7 0 -1 4 0 0 0 0 10 20 30 40 20 0 1 0 100 4096 5 0";
        let used = used(stat).unwrap_or_default();
        let tick = 1_000_000 / system(SysconfVar::CLK_TCK);
        assert_eq!((used.user_us, used.system_us), (40 * tick, 60 * tick));
        assert_eq!(used.rss_bytes, 5 * system(SysconfVar::PAGE_SIZE));
    }
}
