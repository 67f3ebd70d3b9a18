//! The loopback addresses of a VM.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The addresses to try for a port of the VM, in this order.
pub(crate) const LOOPBACKS: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
