//! The listening TCP sockets of a network namespace, as `/proc/<pid>/net` shows them (`proc_pid_net(5)`).

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

/// The maximum number of sockets that are read of one table. A VM can have millions.
const MOST: usize = 4096;

/// The state of a listening socket (`TCP_LISTEN`).
const LISTEN: &str = "0A";

/// A socket that listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listener {
    /// The address that it is bound to. An IPv4 address mapped into IPv6 is the IPv4 address.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
    /// Its inode, which `/proc/<pid>/fd` shows too.
    pub inode: u64,
}

/// How many TCP sockets a network namespace has, by protocol. A socket that begins or ceases to listen changes a number;
/// reading the numbers costs the kernel far less than reading the tables, which walks all connections of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    v4: u64,
    v6: u64,
}

impl Counts {
    /// Those of the network namespace of the process `pid`.
    pub fn read(proc_fd: &OwnedFd, pid: i32) -> io::Result<Self> {
        Ok(Self {
            v4: in_use(proc_fd, pid, "sockstat", "TCP:")?,
            // Without IPv6 there is no such file.
            v6: in_use(proc_fd, pid, "sockstat6", "TCP6:").unwrap_or(0),
        })
    }
}

/// The listening sockets in the network namespace of the process `pid`.
pub fn listeners(proc_fd: &OwnedFd, pid: i32) -> io::Result<Vec<Listener>> {
    let Counts { v4, v6 } = Counts::read(proc_fd, pid)?;
    let mut found = Vec::new();
    if v4 > 0 {
        read_table(open(proc_fd, pid, "tcp")?, &mut found)?;
    }
    if v6 > 0 {
        read_table(open(proc_fd, pid, "tcp6")?, &mut found)?;
    }
    Ok(found)
}

fn open(proc_fd: &OwnedFd, pid: i32, name: &str) -> io::Result<File> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let path = format!("{pid}/net/{name}");
    Ok(File::from(openat(proc_fd, path.as_str(), flags, Mode::empty())?))
}

fn in_use(proc_fd: &OwnedFd, pid: i32, name: &str, protocol: &str) -> io::Result<u64> {
    let mut text = String::new();
    open(proc_fd, pid, name)?.take(4096).read_to_string(&mut text)?;
    Ok(in_use_of(&text, protocol))
}

fn in_use_of(text: &str, protocol: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(protocol));
    let number = line.and_then(|rest| rest.trim_start().strip_prefix("inuse "));
    let word = number.and_then(|rest| rest.split_ascii_whitespace().next());
    word.and_then(|word| word.parse().ok()).unwrap_or(0)
}

fn read_table(table: impl Read, found: &mut Vec<Listener>) -> io::Result<()> {
    // The kernel hands out a page at a time.
    let lines = BufReader::with_capacity(4096, table).lines();
    for line in lines.skip(1).take(MOST) {
        // The listening sockets come first.
        let Some(listener) = parse(&line?) else {
            break;
        };
        found.push(listener);
    }
    Ok(())
}

/// A line of the table; `None` if it is not about a listening socket.
fn parse(line: &str) -> Option<Listener> {
    let mut words = line.split_ascii_whitespace();
    let (address, port) = words.nth(1)?.split_once(':')?;
    if words.nth(1)? != LISTEN {
        return None;
    }
    Some(Listener {
        address: parse_address(address)?.to_canonical(),
        port: u16::from_str_radix(port, 16).ok()?,
        inode: words.nth(5)?.parse().ok()?,
    })
}

/// Words of 32 bits, each printed as a number although its bytes are in the network's order.
fn parse_address(text: &str) -> Option<IpAddr> {
    let word = |at: usize| u32::from_str_radix(text.get(at * 8..at * 8 + 8)?, 16).ok();
    if text.len() == 8 {
        return Some(Ipv4Addr::from(word(0)?.to_ne_bytes()).into());
    }
    let mut bytes = [0; 16];
    for (at, part) in bytes.chunks_exact_mut(4).enumerate() {
        part.copy_from_slice(&word(at)?.to_ne_bytes());
    }
    (text.len() == 32).then(|| Ipv6Addr::from(bytes).into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may end with a panic")]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::OwnedFd;

    use super::*;

    #[test]
    fn a_table_is_read_as_far_as_its_sockets_listen() {
        let tail = "00000000:00000000 00:00000000 00000000  1000        0";
        let table = format!(
            "  sl  local_address rem_address   st tx_queue\n\
             0: 0100007F:1F40 00000000:0000 0A {tail} 7 1 0 100 0 0 10 0\n\
             1: 00000000:0050 00000000:0000 0A {tail} 8 1 0 100 0 0 10 0\n\
             2: 0100007F:1F40 0100007F:D431 01 {tail} 9 1 0 20 0 0 10 0\n\
             3: 00000000:0051 00000000:0000 0A {tail} 10 1 0 100 0 0 10 0\n"
        );
        let mut found = Vec::new();
        read_table(table.as_bytes(), &mut found).unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|each| (each.address.to_string(), each.port, each.inode))
            .collect();
        assert_eq!(
            found,
            [("127.0.0.1".to_owned(), 8000, 7), ("0.0.0.0".to_owned(), 80, 8)]
        );
    }

    #[test]
    fn mapped_addresses_are_those_of_ipv4() {
        let address = |text| parse_address(text).unwrap().to_canonical().to_string();
        assert_eq!(address("0000000000000000FFFF00000100007F"), "127.0.0.1");
        assert_eq!(address("00000000000000000000000001000000"), "::1");
        assert_eq!(parse_address("0100007F01"), None);
    }

    #[test]
    fn own_sockets_are_found_and_counted() {
        let proc_fd: OwnedFd = File::open("/proc").unwrap().into();
        let pid = std::process::id() as i32;
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let all = listeners(&proc_fd, pid).unwrap();
        assert!(
            all.iter()
                .any(|each| each.port == port && each.address.is_loopback())
        );
        assert!(Counts::read(&proc_fd, pid).unwrap().v4 > 0);
    }

    #[test]
    fn the_count_is_that_of_its_protocol() {
        let text = "sockets: used 5\nTCP: inuse 3 orphan 0 tw 0 alloc 5 mem 0\nUDP: inuse 9 mem 0\n";
        assert_eq!(in_use_of(text, "TCP:"), 3);
        assert_eq!(in_use_of("", "TCP:"), 0);
    }
}
