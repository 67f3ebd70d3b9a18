//! Reads a terminal's master, where each read returns a line or at most 4 KiB.
//!
//! A kernel thread (`flush_to_ldisc`) works between the program and the reader. A fast writer wakes that thread with
//! every line if it sleeps, and the thread wakes the reader; on a virtual machine, waking an idle processor costs more
//! than processing the line. So while much data arrives, the reader does not sleep: it reads again after a pause in
//! which its processor stays busy, and both find more data at a time.
//!
//! A program that writes large blocks to a terminal in raw mode is faster than that thread. It fills the terminal and
//! waits for the reader, often for the reader's processor. So after a read of all that the kernel had room for there is
//! no pause: the reader reads again, which waits for that thread, and sleeps if there is nothing.

use std::hint;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use super::load;
use super::piece::Piece;
use crate::sys;

/// The maximum number of bytes gathered: about as many as the kernel buffers for one terminal.
pub const LARGEST_READ: usize = 64 * 1024;

/// The maximum that a terminal can still hold after its last writer has gone: 4 KiB in the line discipline and 64 KiB
/// in the buffer below it, generously rounded up (`tty_buffer.c`).
pub const BACKLOG: usize = 256 * 1024;

/// Less than this is delivered at once, since a user may be waiting for the echo of a key.
const MUCH: usize = 1024;

/// A read of at least this many bytes has emptied a full buffer: that of the line discipline, less the byte that it
/// keeps free (`N_TTY_BUF_SIZE` in `n_tty.c`). The program may be waiting for room, and a pause would keep it waiting.
const FULL: usize = 4096 - 1;

/// The pause between two reads. With half of it the writer spends its time on waking others; with twice of it the
/// writer waits for room.
const PAUSE: Duration = Duration::from_micros(20);

/// How many reads may find nothing before the gathered data is delivered.
const LOOKS: usize = 2;

/// How long gathering may keep the I/O thread from other work.
const HOLD: Duration = Duration::from_micros(200);

/// Appends up to `room` bytes from a master to `data`. If EIO, which is a terminal's end, comes after some data, the
/// next call meets it again and then returns no bytes.
pub fn gather(fd: BorrowedFd<'_>, data: &mut Vec<u8>, room: usize) -> io::Result<Piece> {
    let before = data.len();
    let began = Instant::now();
    let mut in_vain = 0;
    let mut was_full = false;
    let drained = loop {
        let length = data.len() - before;
        match sys::read(fd, data, room - length) {
            Ok(0) => break true,
            Ok(read) => {
                in_vain = 0;
                was_full = read >= FULL;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if error.raw_os_error() == Some(libc::EIO) => break false,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && length > 0 => {
                if was_full || in_vain == LOOKS {
                    break true;
                }
                in_vain += 1;
            }
            Err(error) => return Err(error),
        }
        let length = data.len() - before;
        if length == room {
            break false;
        }
        if length < MUCH {
            break true;
        }
        if began.elapsed() >= HOLD {
            break false;
        }
        if !load::mark_busy(fd.as_raw_fd()) {
            in_vain = LOOKS;
        } else if !was_full {
            pause();
        }
    };
    Ok(Piece {
        length: data.len() - before,
        drained,
    })
}

/// Waits without giving up the processor, if the writer has another one.
fn pause() {
    static HAS_SEVERAL: LazyLock<bool> =
        LazyLock::new(|| thread::available_parallelism().is_ok_and(|count| count.get() > 1));
    let began = Instant::now();
    while *HAS_SEVERAL && began.elapsed() < PAUSE {
        hint::spin_loop();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may end with a panic")]
mod tests {
    use std::fs::File;
    use std::io::Write;
    use std::os::fd::{AsFd, OwnedFd};

    use nix::pty::openpty;
    use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};

    use super::*;

    /// A terminal in raw mode with a non-blocking master.
    fn raw() -> (OwnedFd, File) {
        let pty = openpty(None, None).unwrap();
        let mut modes = tcgetattr(&pty.slave).unwrap();
        cfmakeraw(&mut modes);
        tcsetattr(&pty.slave, SetArg::TCSANOW, &modes).unwrap();
        sys::set_nonblocking(pty.master.as_fd()).unwrap();
        (pty.master, pty.slave.into())
    }

    fn pieces(master: &OwnedFd) -> impl Iterator<Item = (Vec<u8>, bool)> {
        std::iter::from_fn(|| {
            let mut data = Vec::with_capacity(LARGEST_READ);
            let piece = gather(master.as_fd(), &mut data, LARGEST_READ).ok()?;
            assert_eq!(piece.length, data.len());
            (!data.is_empty()).then_some((data, piece.drained))
        })
    }

    #[test]
    fn an_echo_is_handed_on_before_anything_else_is_looked_for() {
        let (master, mut program) = raw();
        program.write_all(b"x").unwrap();
        // A kernel thread brings the data to the master, which may take as long as that thread waits for a processor.
        let pieces = loop {
            let found: Vec<_> = pieces(&master).collect();
            if !found.is_empty() {
                break found;
            }
            std::thread::yield_now();
        };
        assert_eq!(pieces, [(b"x".to_vec(), true)]);
    }

    #[test]
    fn much_comes_whole_and_in_order() {
        let written: Vec<u8> = (0..1_000_000_u32).map(|at| (at / 7) as u8).collect();
        let (master, mut program) = raw();
        let mut got = Vec::new();
        thread::scope(|scope| {
            scope.spawn(|| program.write_all(&written).unwrap());
            while got.len() < written.len() {
                got.extend(pieces(&master).flat_map(|(data, _)| data));
            }
        });
        assert!(got == written);
    }

    #[test]
    fn a_terminal_whose_program_has_gone_gives_what_is_left_and_then_nothing() {
        let (master, mut program) = raw();
        program.write_all(&[b'x'; 3000]).unwrap();
        drop(program);
        let mut left = pieces(&master);
        assert_eq!(left.next().unwrap().0, [b'x'; 3000]);
        let mut data = Vec::with_capacity(1);
        let end = gather(master.as_fd(), &mut data, 1).unwrap();
        assert_eq!((end.length, end.drained), (0, false));
    }
}
