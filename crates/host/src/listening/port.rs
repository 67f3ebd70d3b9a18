//! A port that a VM's process listens on.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A port that a process of the VM listens on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListeningPort {
    /// The port.
    pub port: u16,
    /// The address that the socket is bound to.
    pub address: IpAddr,
    /// The process that holds the socket; of several, the one that started first. `None` if the host cannot find it.
    pub pid: Option<u32>,
}

impl ListeningPort {
    /// Whether a connection to the port of the loopback reaches it, as [`Vm::connect`](crate::Vm::connect) makes it.
    #[must_use]
    pub fn is_reached(&self) -> bool {
        self.address.is_unspecified()
            || self.address == Ipv4Addr::LOCALHOST
            || self.address == Ipv6Addr::LOCALHOST
    }
}
