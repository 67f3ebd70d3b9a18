//! SOCKS 5 (RFC 1928): CONNECT without authentication, to host names and addresses.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::dial::DialError;
use super::places::Activity;
use super::relay;
use super::server::Server;
use super::target::{ProxyTarget, TargetHost};

/// The first byte of every SOCKS 5 connection. No HTTP request begins with it.
pub const VERSION: u8 = 5;

const NO_AUTHENTICATION: u8 = 0;
const NO_METHOD: u8 = 0xff;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// The replies to a request.
#[derive(Debug, Clone, Copy)]
enum SocksReply {
    Succeeded = 0,
    Failure = 1,
    NotAllowed = 2,
    NetworkUnreachable = 3,
    HostUnreachable = 4,
    Refused = 5,
    CommandNotSupported = 7,
    AddressNotSupported = 8,
}

impl SocksReply {
    /// The bound address is left out, as servers do that have none to report.
    fn bytes(self) -> [u8; 10] {
        [VERSION, self as u8, 0, IPV4, 0, 0, 0, 0, 0, 0]
    }
}

/// Reads the client's request after its first byte. Returns `None` if the request was refused.
pub async fn request(client: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<Option<ProxyTarget>> {
    let mut methods = vec![0; client.read_u8().await?.into()];
    client.read_exact(&mut methods).await?;
    if !methods.contains(&NO_AUTHENTICATION) {
        client.write_all(&[VERSION, NO_METHOD]).await?;
        return Ok(None);
    }
    client.write_all(&[VERSION, NO_AUTHENTICATION]).await?;

    let mut head = [0; 4];
    client.read_exact(&mut head).await?;
    let [VERSION, command, _, kind] = head else {
        return refuse(client, SocksReply::Failure).await;
    };
    let host = match kind {
        IPV4 => Some(TargetHost::Address(IpAddr::V4(Ipv4Addr::from_bits(
            client.read_u32().await?,
        )))),
        IPV6 => Some(TargetHost::Address(IpAddr::V6(Ipv6Addr::from_bits(
            client.read_u128().await?,
        )))),
        NAME => {
            let mut name = vec![0; client.read_u8().await?.into()];
            client.read_exact(&mut name).await?;
            std::str::from_utf8(&name).ok().and_then(TargetHost::parse)
        }
        _ => None,
    };
    let Some(host) = host else {
        return refuse(client, SocksReply::AddressNotSupported).await;
    };
    let port = client.read_u16().await?;
    if command != CONNECT {
        return refuse(client, SocksReply::CommandNotSupported).await;
    }
    if port == 0 {
        return refuse(client, SocksReply::Failure).await;
    }
    Ok(Some(ProxyTarget { host, port }))
}

async fn refuse(
    client: &mut (impl AsyncWrite + Unpin),
    reply: SocksReply,
) -> io::Result<Option<ProxyTarget>> {
    client.write_all(&reply.bytes()).await?;
    Ok(None)
}

/// Serves one client: connects it to its destination.
pub async fn serve(
    mut client: TcpStream,
    target: ProxyTarget,
    server: &Server,
    activity: &Activity,
) -> io::Result<()> {
    match server.dial(&target).await {
        Ok(mut upstream) => {
            let relay = server.relay(&upstream, activity);
            let relaying = async {
                client.write_all(&SocksReply::Succeeded.bytes()).await?;
                relay::both_ways(&mut client, &mut upstream.stream, relay).await
            };
            relay::while_active(activity, relaying).await
        }
        Err(error) => relay::finish(client, &reply_to(&error).bytes()).await,
    }
}

fn reply_to(error: &DialError) -> SocksReply {
    match error {
        DialError::Denied { .. } => SocksReply::NotAllowed,
        DialError::Lookup { .. } | DialError::Deadline { .. } => SocksReply::HostUnreachable,
        DialError::Connect { source, .. } | DialError::Inside { source, .. } => match source.kind() {
            io::ErrorKind::ConnectionRefused => SocksReply::Refused,
            io::ErrorKind::NetworkUnreachable => SocksReply::NetworkUnreachable,
            io::ErrorKind::HostUnreachable => SocksReply::HostUnreachable,
            _ => SocksReply::Failure,
        },
    }
}
