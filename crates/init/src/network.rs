//! Sockets in the VM's network, for the host to use.

use std::os::fd::{AsRawFd, OwnedFd};

use agent_vm_protocol::message::Failure;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, SockaddrIn6, bind, connect, listen, socket,
};
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

/// Connections that may wait for the host to accept them; the kernel lets further ones try again.
const BACKLOG: i32 = 128;

/// A socket that listens on `127.0.0.1` at `port`. Made before anything else runs inside, so the port is free.
pub fn listen_on(port: u16) -> Result<OwnedFd, Errno> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
    let address = SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port));
    bind(fd.as_raw_fd(), &address)?;
    listen(&fd, Backlog::new(BACKLOG)?)?;
    Ok(fd)
}
