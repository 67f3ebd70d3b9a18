//! The VM's call that connects to a server in the VM.

use std::os::fd::OwnedFd;

use crate::abort::Abort;
use crate::boot::Isolation;
use crate::bounds::MAX_CONNECTING;
use crate::error::Error;
use crate::loopback::LOOPBACKS;
use crate::vm::Vm;

impl Vm {
    /// A TCP connection to `port` of the VM's loopback: `127.0.0.1`, or `::1` if nothing listens there.
    ///
    /// Fails with [`Error::IsolationUnavailable`] without namespaces, where a VM has no loopback of its own; with
    /// [`Error::LimitExceeded`] while [`MAX_CONNECTING`] others are being made; and with [`Error::Aborted`], leaving
    /// nothing behind, after `abort`.
    pub async fn connect(&self, port: u16, abort: &Abort) -> Result<OwnedFd, Error> {
        if self.isolation() == Isolation::Landlock {
            return Err(Error::IsolationUnavailable {
                cause: "A VM of isolation \"landlock\" has no network, not even a loopback, so nothing listens in it"
                    .into(),
                remedy: "Use isolation \"namespaces\", or a process's standard streams".into(),
            });
        }
        let _place = self.shared().bounds.connecting.try_acquire().map_err(|_| {
            Error::LimitExceeded(format!(
                "{MAX_CONNECTING} connections into this VM are being made already; await some of them first"
            ))
        })?;
        tokio::select! {
            biased;
            () = abort.aborted() => Err(Error::Aborted),
            connected = self.shared().connect_to(&LOOPBACKS, port) => connected.map_err(|error| match error {
                Error::System { errno, syscall, .. } => Error::System {
                    errno,
                    syscall,
                    path: Some(format!("port {port} of the VM")),
                },
                other => other,
            }),
        }
    }
}
