//! The host's end of a context's socket: commands out, reports in.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::environment::Environment;
use super::sys::{receive_named, send};
use crate::sys;

/// The most bytes that are kept of a report: with the usual limit on a stack, a program gets at most 2 MiB of arguments and
/// environment, and a VM may have many contexts.
const MOST_BYTES: usize = 1024 * 1024;

/// The most bytes of the end of a report, behind the NUL that begins it.
const END_BYTES: usize = 16;

/// What is read at a time.
const READ_BYTES: usize = 16 * 1024;

/// What a shell reports when it has run a command.
#[derive(Debug)]
pub struct Report {
    /// The status of the command.
    pub status: i32,
    /// Its exported variables, as shell text; none if they were too many bytes.
    pub environment: Option<Environment>,
}

/// The host's end.
#[derive(Debug)]
pub struct ControlSocket {
    fd: AsyncFd<OwnedFd>,
    /// The shell, as this process sees it: who wrote first, before it had read any command.
    writer: Option<libc::pid_t>,
    received: ReceivedReport,
}

impl ControlSocket {
    /// Takes over the socket. Must be called within the runtime.
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            // Without writability: the shell would wake this process with each read.
            fd: sys::watch(fd, Interest::READABLE)?,
            writer: None,
            received: ReceivedReport::default(),
        })
    }

    /// Sends as many bytes as the socket takes now.
    pub fn send_now(&self, bytes: &[u8]) -> io::Result<usize> {
        send(self.fd.get_ref().as_fd(), bytes)
    }

    /// Sends all of `bytes`.
    pub async fn send(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match send(self.fd.get_ref().as_fd(), bytes) {
                Ok(sent) => bytes = &bytes[sent..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let fd = self.fd.get_ref().try_clone()?;
                    let writable = sys::watch(fd, Interest::WRITABLE)?;
                    drop(writable.writable().await?);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The shell's next report. Fails once nobody holds the other end. Can be cancelled without loss.
    pub async fn report(&mut self) -> io::Result<Report> {
        loop {
            // Of several only the last counts: the shell has gone on since the others.
            if let Some(report) = std::iter::from_fn(|| self.received.take()).last() {
                return Ok(report);
            }
            // A process that writes all the time must not have the I/O thread to itself.
            tokio::task::yield_now().await;
            let mut ready = self.fd.readable().await?;
            let mut buffer = [0; READ_BYTES];
            match receive_named(self.fd.get_ref().as_fd(), &mut buffer) {
                Ok((0, _)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok((length, writer)) => {
                    if *self.writer.get_or_insert(writer) == writer {
                        self.received.add(&buffer[..length]);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                Err(error) => return Err(error),
            }
        }
    }
}

/// What the shell wrote and what is no whole report yet.
#[derive(Debug, Default)]
struct ReceivedReport {
    bytes: Vec<u8>,
    /// How many of them have no end of a report in them.
    searched: usize,
    /// Whether bytes were dropped.
    overflowed: bool,
}

impl ReceivedReport {
    fn add(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        if self.bytes.len() > MOST_BYTES {
            // The end of the report is still to be found, and is short.
            self.bytes.drain(..self.bytes.len() - 64);
            self.searched = 0;
            self.overflowed = true;
        }
    }

    /// The first whole report: text, and behind it a NUL, `S`, the status, and a NUL.
    fn take(&mut self) -> Option<Report> {
        loop {
            let at = self.searched + memchr::memchr(0, &self.bytes[self.searched..])?;
            let rest = &self.bytes[at + 1..];
            let rest = &rest[..rest.len().min(END_BYTES)];
            let Some(end) = memchr::memchr(0, rest) else {
                if rest.len() == END_BYTES {
                    // No status is that long, and what was searched is not searched again.
                    self.searched = at + 1;
                    continue;
                }
                self.searched = at;
                return None;
            };
            let status = rest[..end]
                .strip_prefix(b"S")
                .and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
            let Some(status) = status else {
                self.searched = at + 1;
                continue;
            };
            let whole = !std::mem::take(&mut self.overflowed);
            let environment = whole.then(|| Environment::new(&self.bytes[..at]));
            self.bytes.drain(..=at + 1 + end);
            self.bytes.shrink_to(READ_BYTES);
            self.searched = 0;
            return Some(Report { status, environment });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reports(pieces: &[&[u8]]) -> Vec<(i32, Option<Vec<u8>>)> {
        let mut received = ReceivedReport::default();
        let mut found = Vec::new();
        for piece in pieces {
            received.add(piece);
            while let Some(report) = received.take() {
                found.push((
                    report.status,
                    report.environment.map(|text| text.bytes().to_vec()),
                ));
            }
        }
        found
    }

    #[test]
    fn a_report_that_comes_in_pieces_is_one() {
        let pieces: [&[u8]; 6] = [b"declare ", b"-x A=\"1\"\n", b"\0", b"S1", b"27", b"\0"];
        assert_eq!(reports(&pieces), [(127, Some(b"declare -x A=\"1\"\n".to_vec()))]);
    }

    #[test]
    fn two_reports_at_once_are_two() {
        assert_eq!(
            reports(&[b"a\0S0\0b\0S1\0c"]),
            [(0, Some(b"a".to_vec())), (1, Some(b"b".to_vec()))]
        );
    }

    #[test]
    fn what_is_no_report_ends_none() {
        assert_eq!(reports(&[b"\0\0S\0Sx\0S-\0 S0\0"]), []);
    }

    #[test]
    fn a_flood_behind_the_end_of_a_text_is_searched_once() {
        let mut received = ReceivedReport::default();
        received.add(b"\0");
        received.add(&[b'x'; READ_BYTES]);
        assert!(received.take().is_none());
        assert_eq!(received.searched, 1);
        received.add(b"\0S5\0");
        assert_eq!(received.take().map(|report| report.status), Some(5));
        assert!(received.bytes.capacity() <= 2 * READ_BYTES);
    }

    #[test]
    fn a_report_that_is_too_large_has_a_status_alone() {
        let large = vec![b'x'; MOST_BYTES + 1];
        assert_eq!(
            reports(&[&large, b"\0S3\0y\0S4\0"]),
            [(3, None), (4, Some(b"y".to_vec()))]
        );
    }
}
