//! Connects to a server in the VM. Init makes the socket in the VM's network and sends it to the host at once, while it
//! still connects; no socket is opened on the host's network.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use agent_vm_protocol::message::Request;
use nix::sys::socket::{SockaddrStorage, getpeername, getsockname, getsockopt, sockopt};
use tokio::io::Interest;

use crate::error::Error;
use crate::shared::Shared;
use crate::sys;

/// How long to wait for a listener whose queue is full. The kernel itself would try for two minutes.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

impl Shared {
    /// A TCP connection for a program of the VM that uses the proxy: to the first of `addresses`, all of the VM's
    /// loopback, that has a listener.
    pub async fn connect_for_guest(&self, addresses: &[IpAddr], port: u16) -> io::Result<OwnedFd> {
        let _place = self
            .bounds
            .connecting
            .try_acquire()
            .map_err(|_| io::Error::from(io::ErrorKind::ResourceBusy))?;
        self.connect_to(addresses, port)
            .await
            .map_err(|error| match error {
                Error::System { errno, .. } => io::Error::from_raw_os_error(errno),
                other => io::Error::other(other),
            })
    }

    /// A TCP connection to the first of `addresses`, all of the VM's loopback, that has a listener.
    pub async fn connect_to(&self, addresses: &[IpAddr], port: u16) -> Result<OwnedFd, Error> {
        let mut refused = errno("connect", libc::ECONNREFUSED);
        for address in addresses {
            match self.connect_to_one(SocketAddr::new(*address, port)).await {
                Err(error) if is(&error, &[libc::ECONNREFUSED]) => refused = error,
                // The VM has no IPv6, so the error for IPv4 counts.
                Err(error) if is(&error, &[libc::EAFNOSUPPORT, libc::EADDRNOTAVAIL]) => {}
                other => return other,
            }
        }
        Err(refused)
    }

    async fn connect_to_one(&self, address: SocketAddr) -> Result<OwnedFd, Error> {
        let call = self.control.call();
        let request = Request::Connect { call, address };
        let (_, fds) = self.control.ask(call, request, Vec::new()).await?;
        let socket = fds.into_iter().next().ok_or_else(Error::missing_descriptor)?;
        let failed = |error: io::Error| Error::system(&error, "connect");
        let socket = sys::watch(socket, Interest::WRITABLE).map_err(failed)?;
        tokio::select! {
            ready = socket.writable() => drop(ready.map_err(failed)?),
            () = self.until_ended() => return Err(Error::Disposed),
            () = tokio::time::sleep(CONNECT_DEADLINE) => return Err(errno("connect", libc::ETIMEDOUT)),
        }
        match getsockopt(&socket.get_ref().as_fd(), sockopt::SocketError)
            .map_err(|errno| failed(errno.into()))?
        {
            0 if is_its_own_peer(socket.get_ref().as_fd()) => Err(errno("connect", libc::ECONNREFUSED)),
            0 => Ok(socket.into_inner()),
            // When a VM's network ends, its last error is "refused".
            _ if self.is_ending() => Err(Error::Disposed),
            number => Err(errno("connect", number)),
        }
    }
}

fn is(error: &Error, numbers: &[i32]) -> bool {
    matches!(error, Error::System { errno, .. } if numbers.contains(errno))
}

fn errno(syscall: &str, number: i32) -> Error {
    Error::system(&io::Error::from_raw_os_error(number), syscall)
}

/// Whether a socket is connected to itself. The kernel chose its local port and happened to choose the destination's.
/// TCP then treats this as two ends that open at the same time (RFC 9293, 3.5). It happens once in 28,000 attempts if
/// nothing listens.
fn is_its_own_peer(socket_fd: BorrowedFd<'_>) -> bool {
    let own = getsockname::<SockaddrStorage>(socket_fd.as_raw_fd());
    own.is_ok() && own == getpeername::<SockaddrStorage>(socket_fd.as_raw_fd())
}
