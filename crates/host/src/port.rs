//! Connections to what listens inside. Init makes the socket in the VM's network and hands it over at once, connecting;
//! nothing is opened on the host.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use agent_vm_protocol::message::Request;
use nix::sys::socket::{getsockopt, sockopt};
use tokio::io::Interest;

use crate::error::Error;
use crate::exec::missing;
use crate::sys;
use crate::vm::Vm;

impl Vm {
    /// A TCP connection to `port` of the VM's loopback: `127.0.0.1`, or `::1` if nobody listens there.
    pub async fn connect(&self, port: u16) -> Result<OwnedFd, Error> {
        match self.connect_to(port, false).await {
            Err(Error::System {
                errno: libc::ECONNREFUSED,
                ..
            }) => self.connect_to(port, true).await,
            other => other,
        }
        .map_err(|error| match error {
            Error::System { errno, syscall, .. } => Error::System {
                errno,
                syscall,
                path: Some(format!("port {port} of the VM")),
            },
            other => other,
        })
    }

    async fn connect_to(&self, port: u16, ipv6: bool) -> Result<OwnedFd, Error> {
        let (_, fds) = self
            .ask(|call| Request::Connect { call, port, ipv6 }, Vec::new())
            .await?;
        let socket = fds.into_iter().next().ok_or_else(missing)?;
        let failed = |error: io::Error| Error::system(&error, "connect");
        let socket = sys::watch(socket, Interest::WRITABLE).map_err(failed)?;
        drop(socket.writable().await.map_err(failed)?);
        match getsockopt(&socket.get_ref().as_fd(), sockopt::SocketError)
            .map_err(|errno| failed(errno.into()))?
        {
            0 => Ok(socket.into_inner()),
            errno => Err(failed(io::Error::from_raw_os_error(errno))),
        }
    }
}
