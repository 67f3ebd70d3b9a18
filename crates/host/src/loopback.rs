//! The addresses of a VM's own loopback.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where a port of the VM is looked for, in this order.
pub(crate) const LOOPBACKS: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
