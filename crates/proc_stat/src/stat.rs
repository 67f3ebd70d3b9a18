//! The content of one such file.

use libc::pid_t;

/// The maximum size of such a file: 52 numbers of at most 20 digits, and a name of at most 64 bytes. The kernel
/// produces all of it for one `read(2)`.
pub const STAT_BYTES: usize = 2048;

/// From the kernel's flags for a process (`include/linux/sched.h`).
const PF_FORKNOEXEC: u64 = 0x40;

/// The numbers of fields between the last one below and the start of the program's code, the end of its environment,
/// and the wait status.
const UNTIL_START_CODE: usize = 1;
const UNTIL_ENV_END: usize = 26;
const UNTIL_EXIT_CODE: usize = 27;

/// What the kernel reports as the start of the code of a process that the caller may not trace.
const HIDDEN_CODE: u64 = 1;

/// The fields of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat<'a> {
    /// The pid.
    pub pid: pid_t,
    /// Its name, which it can change: at most 15 bytes, without NUL.
    pub name: &'a [u8],
    /// The letter of its state.
    pub state: u8,
    /// Its parent's pid.
    pub ppid: pid_t,
    /// Its process group.
    pub pgid: pid_t,
    /// Its session.
    pub sid: pid_t,
    /// The processor time that it has used for itself, in clock ticks.
    pub utime: u64,
    /// The processor time that the kernel has used for it, in clock ticks.
    pub stime: u64,
    /// The same of the children that it has waited for, and of those that they have waited for.
    pub children_utime: u64,
    /// The processor time that the kernel has used for these.
    pub children_stime: u64,
    /// The number of its threads. The first one counts until the process is reaped, even if it ended before the others.
    pub threads: u32,
    /// When it started, in clock ticks since the machine's start. Together with the pid it identifies the process.
    pub start: u64,
    /// Its resident memory, in pages.
    pub rss: u64,
    flags: u64,
    rest: &'a str,
}

impl<'a> Stat<'a> {
    /// Parses the content of a file. `None` if the kernel cannot have written it.
    #[must_use]
    #[allow(clippy::similar_names, reason = "they are those of proc_pid_stat(5)")]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        // The name is in parentheses and may contain any characters, including parentheses.
        let begin = bytes.iter().position(|&byte| byte == b'(')?;
        let end = bytes.iter().rposition(|&byte| byte == b')')?;
        let name = bytes.get(begin + 1..end)?;
        let pid = std::str::from_utf8(&bytes[..begin]).ok()?.trim().parse().ok()?;
        let mut fields = Fields(std::str::from_utf8(bytes.get(end + 1..)?).ok()?);
        let state = *fields.next()?.as_bytes().first()?;
        let (ppid, pgid, sid) = (fields.number()?, fields.number()?, fields.number()?);
        let flags = fields.after(2)?;
        let (utime, stime) = (fields.after(4)?, fields.number()?);
        let (children_utime, children_stime) = (fields.number()?, fields.number()?);
        let threads = fields.after(2)?;
        let start = fields.after(1)?;
        let rss = fields.after(1)?;
        Some(Self {
            pid,
            name,
            state,
            ppid,
            pgid,
            sid,
            utime,
            stime,
            children_utime,
            children_stime,
            threads,
            start,
            rss,
            flags,
            rest: fields.0,
        })
    }

    /// Whether its first thread has ended, so that `/proc/<pid>` shows nothing of its memory.
    #[must_use]
    pub fn is_headless(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x')
    }

    /// Whether a signal or a debugger has stopped it.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        matches!(self.state, b'T' | b't')
    }

    /// Whether it is a copy of its parent that has not executed a program yet.
    #[must_use]
    pub fn is_copy(&self) -> bool {
        self.flags & PF_FORKNOEXEC != 0
    }

    /// Whether it has executed a program and the kernel has placed the program's arguments, which is the last step of
    /// `execve`. True for a process that the caller may not trace as soon as it has executed: the kernel hides the rest.
    #[must_use]
    pub fn has_executed(&self) -> bool {
        let number = |skipped| Fields(self.rest).after::<u64>(skipped).unwrap_or(0);
        !self.is_copy() && (number(UNTIL_ENV_END) != 0 || number(UNTIL_START_CODE) == HIDDEN_CODE)
    }

    /// The wait status (`wait(2)`) of a process that has ended; 0 if the kernel does not report it to the caller.
    #[must_use]
    pub fn exit_code(&self) -> i32 {
        Fields(self.rest).after(UNTIL_EXIT_CODE).unwrap_or(0)
    }
}

/// The fields after the name: numbers, and a letter, separated by spaces.
struct Fields<'a>(&'a str);

impl<'a> Fields<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let text = self.0.trim_ascii_start();
        let end = text.find([' ', '\n']).unwrap_or(text.len());
        let (field, rest) = text.split_at(end);
        self.0 = rest;
        (!field.is_empty()).then_some(field)
    }

    fn number<T: std::str::FromStr>(&mut self) -> Option<T> {
        self.next()?.parse().ok()
    }

    /// The number after `skipped` fields.
    fn after<T: std::str::FromStr>(&mut self, skipped: usize) -> Option<T> {
        for _ in 0..skipped {
            self.next()?;
        }
        self.number()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may end with a panic")]
mod tests {
    use super::*;

    const LINE: &str = "4711 (NAME) T 17 42 43 34816 4711 4194368 120 0 0 0 7 8 9 10 20 0 3 0 123456 8192000 999 \
         18446744073709551615 1 2 3 4 5 0 0 0 0 0 0 0 17 1 0 0 0 0 0 1 2 3 4 5 6 7 35584\n";

    fn with_name(name: &[u8]) -> Vec<u8> {
        let (before, after) = LINE.split_once("NAME").unwrap();
        [before.as_bytes(), name, after.as_bytes()].concat()
    }

    #[test]
    fn every_field_is_found_whatever_the_name() {
        for name in [&b"cat"[..], b"a) R 1 (b", b"\xff\x80 )", b"", b"\n)\n"] {
            let line = with_name(name);
            let stat = Stat::parse(&line).unwrap();
            assert_eq!((stat.pid, stat.name, stat.state), (4711, name, b'T'));
            assert_eq!((stat.ppid, stat.pgid, stat.sid), (17, 42, 43));
            assert_eq!((stat.utime, stat.stime, stat.threads), (7, 8, 3));
            assert_eq!((stat.children_utime, stat.children_stime), (9, 10));
            assert_eq!((stat.start, stat.rss), (123_456, 999));
            assert_eq!(stat.exit_code(), 0x8b00);
            assert!(stat.is_copy() && stat.is_stopped() && !stat.is_headless());
        }
    }

    #[test]
    fn a_process_has_executed_once_its_arguments_are_placed_or_hidden() {
        let with = |flags: &str, start_code: &str, env_end: &str| {
            let line = LINE.replacen(" 4194368 ", &format!(" {flags} "), 1);
            let line = line.replacen(
                " 18446744073709551615 1 ",
                &format!(" 18446744073709551615 {start_code} "),
                1,
            );
            let line = line.replacen(" 7 35584", &format!(" {env_end} 35584"), 1);
            Stat::parse(line.as_bytes()).unwrap().has_executed()
        };
        assert!(with("4194304", "94", "7"));
        assert!(with("4194304", "1", "0"));
        assert!(!with("4194304", "94", "0"));
        assert!(!with("4194304", "0", "0"));
        assert!(!with("4194368", "94", "7"));
        assert!(!with("4194368", "1", "0"));
    }

    #[test]
    fn a_file_that_is_cut_off_is_refused_or_read_as_far_as_it_goes() {
        let line = with_name(b"x");
        let whole = line.iter().rposition(|&byte| byte == b'3').unwrap();
        for length in 0..whole {
            if let Some(stat) = Stat::parse(&line[..length]) {
                assert_eq!((stat.pid, stat.start), (4711, 123_456), "{length}");
                assert_eq!(stat.exit_code(), 0, "{length}");
            }
        }
    }

    #[test]
    fn the_kernel_s_own_file_is_read() {
        let line = std::fs::read("/proc/self/stat").unwrap();
        let stat = Stat::parse(&line).unwrap();
        assert!(line.len() < STAT_BYTES);
        assert_eq!(stat.pid, std::process::id() as pid_t);
        assert!(stat.threads > 0 && stat.rss > 0 && !stat.is_copy() && !stat.is_headless());
        assert!(stat.has_executed());
    }
}
