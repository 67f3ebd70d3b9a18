//! Makes sockets in the VM's network, for the host to use.

use std::os::fd::{AsRawFd, OwnedFd};

use agent_vm_protocol::message::Failure;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, SockaddrStorage, bind, connect, listen, socket,
};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

/// A TCP socket that is connected, or connecting, to `address`, an address of the VM's loopback.
pub fn connect_to(address: SocketAddr) -> Result<OwnedFd, Failure> {
    let failed = |syscall: &str| {
        let syscall = syscall.to_owned();
        move |errno: Errno| Failure {
            errno: errno as i32,
            syscall,
            path: None,
        }
    };
    if !address.ip().is_loopback() {
        return Err(failed("connect")(Errno::EADDRNOTAVAIL));
    }
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(family, SockType::Stream, flags, None).map_err(failed("socket"))?;
    match connect(fd.as_raw_fd(), &SockaddrStorage::from(address)) {
        Ok(()) | Err(Errno::EINPROGRESS) => Ok(fd),
        Err(errno) => Err(failed("connect")(errno)),
    }
}

/// How many connections may wait for the host to accept them; the kernel lets further ones try again.
const BACKLOG: i32 = 128;

/// A socket that listens on `127.0.0.1` at `port`. It is made before any program runs in the VM, so the port is free.
pub fn listen_on(port: u16) -> Result<OwnedFd, Errno> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
    let address = SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port));
    bind(fd.as_raw_fd(), &address)?;
    listen(&fd, Backlog::new(BACKLOG)?)?;
    Ok(fd)
}
