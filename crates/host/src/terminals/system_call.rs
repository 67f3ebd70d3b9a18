//! The system call in which a thread waits, from `/proc/<pid>/task/<tid>/syscall` (`proc_pid_syscall(5)`).

/// Which descriptors a thread waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitsFor {
    /// It reads this descriptor.
    Read(u64),
    /// It has passed an array of `pollfd` at this address, of this length.
    Poll { address: u64, count: u64 },
    /// It has passed a set of descriptors that it waits to read, of so many bits, at this address.
    Select { address: u64, bits: u64 },
    /// It waits for what this descriptor of an epoll instance watches.
    Epoll(u64),
}

/// What the file says; `None` if the thread runs, or waits for something else.
pub fn parse(text: &str) -> Option<WaitsFor> {
    let mut words = text.split_ascii_whitespace();
    let number: i64 = words.next()?.parse().ok()?;
    let mut argument = || u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok();
    let (first, second) = (argument()?, argument()?);
    #[cfg(target_arch = "x86_64")]
    match number {
        libc::SYS_poll => {
            return Some(WaitsFor::Poll {
                address: first,
                count: second,
            });
        }
        libc::SYS_select => {
            return Some(WaitsFor::Select {
                address: second,
                bits: first,
            });
        }
        libc::SYS_epoll_wait => return Some(WaitsFor::Epoll(first)),
        _ => {}
    }
    match number {
        libc::SYS_read | libc::SYS_readv => Some(WaitsFor::Read(first)),
        libc::SYS_ppoll => Some(WaitsFor::Poll {
            address: first,
            count: second,
        }),
        libc::SYS_pselect6 => Some(WaitsFor::Select {
            address: second,
            bits: first,
        }),
        libc::SYS_epoll_pwait | libc::SYS_epoll_pwait2 => Some(WaitsFor::Epoll(first)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_waits_that_input_can_end_count() {
        let read = format!("{} 0x3 0x7ffd 0x1 0x0 0x0 0x0 0x7ffd 0x7f", libc::SYS_read);
        assert_eq!(parse(&read), Some(WaitsFor::Read(3)));
        let select = format!("{} 0x5 0x7f10 0x0 0x0 0x0 0x7f20 0x7ffd 0x7f", libc::SYS_pselect6);
        assert_eq!(
            parse(&select),
            Some(WaitsFor::Select {
                address: 0x7f10,
                bits: 5
            })
        );
        let sleep = format!("{} 0x0 0x0 0x7ffd", libc::SYS_clock_nanosleep);
        for text in ["running\n", "-1 0x7ffd 0x7f", "", &sleep] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
