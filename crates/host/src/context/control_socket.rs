//! The host's end of a context's socket: commands out, reports in.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::environment::Environment;
use super::exports::{ExportsKnown, answer};
use super::look::ShellLook;
use super::shell_kind::ShellKind;
use super::sys::{receive_named, send};
use crate::sys;

/// The most bytes that are kept of a report: with the usual limit on a stack, a program gets at most 2 MiB of arguments and
/// environment, and a VM may have many contexts.
const MOST_BYTES: usize = 1024 * 1024;

/// The most bytes of the end of a report, behind the NUL that begins it.
const END_BYTES: usize = 16;

/// What is read at a time.
const READ_BYTES: usize = 16 * 1024;

/// The most bytes that are read of a shell at once, without a wait in between. What a shell wrote before it waited fits, because the
/// socket has no more room.
const MOST_AT_ONCE: usize = 256 * 1024;

/// What a shell writes.
#[derive(Debug)]
enum Report {
    /// It has run a command: the status, and the text before that.
    Status(i32, Option<Environment>),
    /// It was asked for its exported variables: shell text, or none if they were too many bytes or it could not print them.
    Exports(Option<Environment>),
}

/// The host's end.
#[derive(Debug)]
pub struct ControlSocket {
    fd: Arc<OwnedFd>,
    /// While this process waits for a report. Otherwise what the shell writes wakes nobody.
    watched: Option<AsyncFd<Arc<OwnedFd>>>,
    /// The shell, as this process sees it: who wrote first, before it had read any command.
    writer: Option<libc::pid_t>,
    received: ReceivedReport,
    /// The question for the exported variables; none if each status comes with them.
    question: Option<&'static [u8]>,
    exports: Arc<ExportsKnown>,
}

impl ControlSocket {
    /// Takes over the socket.
    pub fn new(fd: OwnedFd, kind: ShellKind, exports: Arc<ExportsKnown>) -> Self {
        Self {
            fd: Arc::new(fd),
            watched: None,
            writer: None,
            received: ReceivedReport::default(),
            question: kind.question(),
            exports,
        }
    }

    /// Sends as many bytes as the socket takes now.
    pub fn send_now(&self, bytes: &[u8]) -> io::Result<usize> {
        send(self.fd.as_fd(), bytes)
    }

    /// Sends all of `bytes`.
    pub async fn send(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match send(self.fd.as_fd(), bytes) {
                Ok(sent) => bytes = &bytes[sent..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let fd = self.fd.try_clone()?;
                    let writable = sys::watch(fd, Interest::WRITABLE)?;
                    drop(writable.writable().await?);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Asks for the exported variables, if there is a question.
    pub fn ask(&self) {
        let Some(question) = self.question else { return };
        // Without an answer, what was known stays.
        if self.send_now(question).is_ok_and(|sent| sent == question.len()) {
            self.exports.send_modify(|exports| exports.asked = true);
        }
    }

    /// The status that the shell reports next, and whether the shell was seen to wait then. Fails once nobody holds the other end. Can
    /// be cancelled without loss.
    ///
    /// The look comes before the bytes are received: that makes room in the socket, for which the kernel wakes a shell that waits.
    pub async fn report(&mut self, look: &ShellLook) -> io::Result<(i32, bool)> {
        let mut waits = false;
        loop {
            if let Some(status) = self.take() {
                return Ok((status, waits));
            }
            waits = self.receive(|| look.waits_now()).await?;
        }
    }

    /// Waits until the shell has answered what it was asked. Can be cancelled without loss.
    pub async fn answered(&mut self) -> io::Result<()> {
        loop {
            self.take();
            if !self.exports.borrow().asked {
                return Ok(());
            }
            self.receive(|| ()).await?;
        }
    }

    /// Reads what has arrived; returns the last status in it.
    pub fn drain(&mut self) -> Option<i32> {
        let (mut status, mut length) = (self.take(), 0);
        while length < MOST_AT_ONCE
            && let Ok(received @ 1..) = self.receive_now()
        {
            length += received;
            status = self.take().or(status);
        }
        status
    }

    /// Stops waiting for what the shell writes.
    pub fn rest(&mut self) {
        self.watched = None;
    }

    /// Takes what was received; returns the last status in it: the shell has gone on since the others.
    fn take(&mut self) -> Option<i32> {
        let mut last = None;
        while let Some(report) = self.received.take() {
            match report {
                Report::Status(status, text) => {
                    last = Some(status);
                    if self.question.is_none() {
                        answer(&self.exports, text);
                    }
                }
                Report::Exports(text) => answer(&self.exports, text),
            }
        }
        last
    }

    /// Receives what has arrived, and returns what `first` does just before that.
    async fn receive<T>(&mut self, first: impl FnOnce() -> T) -> io::Result<T> {
        // A process that writes all the time must not have the I/O thread to itself.
        tokio::task::yield_now().await;
        let watched = match self.watched.take() {
            Some(watched) => watched,
            None => sys::watch(Arc::clone(&self.fd), Interest::READABLE)?,
        };
        let watched = self.watched.insert(watched);
        let mut ready = watched.readable().await?;
        let first = first();
        let received = receive_into(&self.fd, &mut self.writer, &mut self.received);
        match received {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => Ok(first),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                ready.clear_ready();
                Ok(first)
            }
            Err(error) => Err(error),
        }
    }

    fn receive_now(&mut self) -> io::Result<usize> {
        receive_into(&self.fd, &mut self.writer, &mut self.received)
    }
}

/// Receives bytes, and keeps those of the shell. Returns how many there were.
fn receive_into(
    fd: &OwnedFd,
    shell: &mut Option<libc::pid_t>,
    received: &mut ReceivedReport,
) -> io::Result<usize> {
    let mut buffer = [0; READ_BYTES];
    let (length, writer) = receive_named(fd.as_fd(), &mut buffer)?;
    if length > 0 && *shell.get_or_insert(writer) == writer {
        received.add(&buffer[..length]);
    }
    Ok(length)
}

/// What the shell wrote and what is no whole report yet.
#[derive(Debug, Default)]
struct ReceivedReport {
    bytes: Vec<u8>,
    /// How many of them are reports that were taken. They are removed all at once: the rest is moved then.
    taken: usize,
    /// How many of them have no end of a report in them that was not taken.
    searched: usize,
    /// Whether bytes were dropped.
    overflowed: bool,
}

impl ReceivedReport {
    fn add(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.taken);
        self.searched -= self.taken;
        self.taken = 0;
        self.bytes.extend_from_slice(bytes);
        if self.bytes.len() > MOST_BYTES {
            // The end of the report is still to be found, and is short.
            self.bytes.drain(..self.bytes.len() - 64);
            self.searched = 0;
            self.overflowed = true;
        }
    }

    /// The first whole report: text, and behind it a NUL, what it is, and a NUL. That is `S` and a status, `E` for exported
    /// variables, or `N` if the shell could not print them.
    fn take(&mut self) -> Option<Report> {
        loop {
            let at = self.searched + memchr::memchr(0, &self.bytes[self.searched..])?;
            let rest = &self.bytes[at + 1..];
            let rest = &rest[..rest.len().min(END_BYTES)];
            let Some(end) = memchr::memchr(0, rest) else {
                if rest.len() == END_BYTES {
                    // No end is that long, and what was searched is not searched again.
                    self.searched = at + 1;
                    continue;
                }
                self.searched = at;
                return None;
            };
            let whole = !self.overflowed;
            let text = || whole.then(|| Environment::new(&self.bytes[self.taken..at]));
            let report = match &rest[..end] {
                b"E" => Some(Report::Exports(text())),
                b"N" => Some(Report::Exports(None)),
                [b'S', digits @ ..] => status(digits).map(|status| Report::Status(status, text())),
                _ => None,
            };
            let Some(report) = report else {
                self.searched = at + 1;
                continue;
            };
            self.overflowed = false;
            self.taken = at + 2 + end;
            self.searched = self.taken;
            if self.taken == self.bytes.len() {
                self.bytes.clear();
                self.bytes.shrink_to(READ_BYTES);
                (self.taken, self.searched) = (0, 0);
            }
            return Some(report);
        }
    }
}

/// A status as a shell prints it.
fn status(digits: &[u8]) -> Option<i32> {
    std::str::from_utf8(digits)
        .ok()?
        .parse::<u8>()
        .ok()
        .map(i32::from)
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
                let (status, text) = match report {
                    Report::Status(status, text) => (status, text),
                    Report::Exports(text) => (-1, text),
                };
                found.push((status, text.map(|text| text.bytes().to_vec())));
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
    fn several_reports_at_once_are_several() {
        assert_eq!(
            reports(&[b"a\0S0\0b\0E\0\0S1\0\0N\0c"]),
            [
                (0, Some(b"a".to_vec())),
                (-1, Some(b"b".to_vec())),
                (1, Some(Vec::new())),
                (-1, None),
            ]
        );
    }

    #[test]
    fn what_is_no_report_ends_none() {
        assert_eq!(reports(&[b"\0\0S\0Sx\0S-\0 S0\0S256\0E1\0"]), []);
    }

    #[test]
    fn a_flood_behind_the_end_of_a_text_is_searched_once() {
        let mut received = ReceivedReport::default();
        received.add(b"\0");
        received.add(&[b'x'; READ_BYTES]);
        assert!(received.take().is_none());
        assert_eq!(received.searched, 1);
        received.add(b"\0S5\0");
        assert!(matches!(received.take(), Some(Report::Status(5, _))));
        assert!(received.bytes.capacity() <= 2 * READ_BYTES);
    }

    #[test]
    fn a_flood_of_reports_is_moved_once() {
        let mut received = ReceivedReport::default();
        let flood = b"\0S7\0".repeat(READ_BYTES);
        received.add(&flood);
        let begins = received.bytes.as_ptr();
        for taken in 1..READ_BYTES {
            assert!(matches!(received.take(), Some(Report::Status(7, _))));
            assert_eq!((received.taken, received.bytes.len()), (4 * taken, flood.len()));
        }
        assert_eq!(received.bytes.as_ptr(), begins);
        received.add(b"\0S");
        assert_eq!(received.bytes.len(), 6);
        assert!(received.take().is_some() && received.take().is_none());
        received.add(b"8\0");
        assert!(matches!(received.take(), Some(Report::Status(8, _))));
        assert!(received.bytes.is_empty());
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
