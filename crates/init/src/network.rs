//! Connections into the VM's network, for the host to use.

use std::os::fd::{AsRawFd, OwnedFd};

use agent_vm_protocol::message::Failure;
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, SockaddrIn6, connect, socket};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

/// A TCP socket that is connected, or connecting, to `port` of the VM's loopback.
pub fn connect_to(port: u16, ipv6: bool) -> Result<OwnedFd, Failure> {
    let failed = |syscall: &str| {
        let syscall = syscall.to_owned();
        move |errno: Errno| Failure {
            errno: errno as i32,
            syscall,
            path: None,
        }
    };
    let family = if ipv6 {
        AddressFamily::Inet6
    } else {
        AddressFamily::Inet
    };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(family, SockType::Stream, flags, None).map_err(failed("socket"))?;
    let connected = if ipv6 {
        connect(
            fd.as_raw_fd(),
            &SockaddrIn6::from(SocketAddrV6::new(Ipv6Addr::LOCALHOST, port, 0, 0)),
        )
    } else {
        connect(
            fd.as_raw_fd(),
            &SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)),
        )
    };
    match connected {
        Ok(()) | Err(Errno::EINPROGRESS) => Ok(fd),
        Err(errno) => Err(failed("connect")(errno)),
    }
}
