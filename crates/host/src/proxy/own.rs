//! The VM's own names and addresses, which the proxy connects to servers in the VM.
//!
//! Clients that obey `NO_PROXY` do not ask the proxy for most of them. Other clients ask for all names, or use other
//! spellings.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::pin::Pin;

use tokio::net::TcpStream;

use super::target::TargetHost;
use crate::loopback::LOOPBACKS;

/// The proxy's port in the VM: the registered port of SOCKS. Nothing else can have taken it, because the proxy is
/// created first.
pub const PORT: u16 = 1080;

/// Connects in the VM's network: to the first of these loopback addresses that has a listener.
pub type Connector =
    Box<dyn Fn(Vec<IpAddr>, u16) -> Pin<Box<dyn Future<Output = io::Result<OwnedFd>> + Send>> + Send + Sync>;

/// The names of one VM, and the way to connect into it.
pub struct Own {
    hostname: String,
    connector: Connector,
}

impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Own")
            .field("hostname", &self.hostname)
            .finish_non_exhaustive()
    }
}

impl Own {
    pub fn new(hostname: &str, connector: Connector) -> Self {
        Self {
            hostname: hostname.to_ascii_lowercase(),
            connector,
        }
    }

    /// The VM's loopback addresses for `host`, in the order to try them; none if `host` does not mean the VM.
    pub fn addresses(&self, host: &TargetHost) -> Vec<IpAddr> {
        match host {
            TargetHost::Address(address) => own_address(*address).into_iter().collect(),
            // As in the VM's /etc/hosts and RFC 6761 (6.3).
            TargetHost::Name(name) => match name.as_str() {
                "ip6-localhost" | "ip6-loopback" => vec![Ipv6Addr::LOCALHOST.into()],
                name if name == "localhost" || name.ends_with(".localhost") || name == self.hostname => {
                    LOOPBACKS.into()
                }
                _ => Vec::new(),
            },
        }
    }

    /// Connects to the first of `addresses` that has a listener in the VM. The proxy does not connect to itself.
    pub async fn connect(&self, addresses: Vec<IpAddr>, port: u16) -> io::Result<TcpStream> {
        if port == PORT {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let socket_fd = (self.connector)(addresses, port).await?;
        TcpStream::from_std(socket_fd.into())
    }
}

/// The loopback address that a connection to `address` reaches: Linux connects to the loopback for an unspecified
/// address.
fn own_address(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Some(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Some(Ipv6Addr::LOCALHOST.into()),
        IpAddr::V6(v6) if let Some(v4) = v6.to_ipv4_mapped() => own_address(v4.into()),
        _ => address.is_loopback().then_some(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Own {
        let connector: Connector =
            Box::new(|_, _| Box::pin(async { Err(io::ErrorKind::Unsupported.into()) }));
        Own::new("My-Agent.example", connector)
    }

    #[test]
    fn the_vm_has_its_names_and_its_loopback_and_nothing_else() {
        let own = own();
        for (host, addresses) in [
            ("localhost", &["127.0.0.1", "::1"][..]),
            ("LocalHost.", &["127.0.0.1", "::1"]),
            ("app.localhost", &["127.0.0.1", "::1"]),
            ("my-agent.example", &["127.0.0.1", "::1"]),
            ("ip6-loopback", &["::1"]),
            ("127.0.0.1", &["127.0.0.1"]),
            ("127.0.0.2", &["127.0.0.2"]),
            ("0.0.0.0", &["127.0.0.1"]),
            ("[::1]", &["::1"]),
            ("[::]", &["::1"]),
            ("[::ffff:127.0.0.2]", &["127.0.0.2"]),
            ("[::ffff:0.0.0.0]", &["127.0.0.1"]),
            ("localhost.example", &[]),
            ("notlocalhost", &[]),
            ("x.my-agent.example", &[]),
            ("my-agent", &[]),
            ("example", &[]),
            ("127.1", &[]),
            ("0.0.0.1", &[]),
            ("128.0.0.1", &[]),
            ("10.0.0.1", &[]),
            ("169.254.169.254", &[]),
            ("[::2]", &[]),
            ("[::127.0.0.1]", &[]),
            ("[64:ff9b::127.0.0.1]", &[]),
            ("[fe80::1]", &[]),
        ] {
            let expected: Vec<IpAddr> = addresses.iter().map(|text| text.parse().expect(text)).collect();
            assert_eq!(
                own.addresses(&TargetHost::parse(host).expect(host)),
                expected,
                "{host}"
            );
        }
    }

    #[tokio::test]
    async fn the_proxy_does_not_connect_to_itself() {
        let error = own().connect(LOOPBACKS.into(), PORT).await.expect_err("refused");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
