//! From what a program asks for to a connection, or to why there is none.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Server;
use super::denial::Denial;
use super::lookups::Lookups;
use super::own::Own;
use super::rules::{Rule, Rules};
use crate::credit::Credit;
use crate::events::Event;

/// How long a look-up is waited for, and how long a connection.
const LOOKUP_DEADLINE: Duration = Duration::from_secs(20);
const CONNECT_DEADLINE: Duration = Duration::from_secs(30);

/// The destination that a program asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub host: Host,
    pub port: u16,
}

/// A host as a program names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// In lower case, without a dot at the end.
    Name(String),
    Address(IpAddr),
}

impl Host {
    /// An address, in brackets where it is IPv6 and `bracketed`, or a name of at most 253 letters, digits, hyphens,
    /// underscores and dots. Nothing otherwise.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(inner) = text.strip_prefix('[') {
            return inner
                .strip_suffix(']')?
                .parse()
                .ok()
                .map(IpAddr::V6)
                .map(Self::Address);
        }
        if let Ok(address) = text.parse() {
            return Some(Self::Address(address));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        (name.len() <= 253 && name.split('.').all(is_label)).then_some(Self::Name(name))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(address) => write!(f, "{address}"),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Address(address) => write!(f, "{}", SocketAddr::new(*address, self.port)),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The rules are against it.
    #[error("the VM's network option refuses {target}: {}", denial.reason_inside())]
    Denied { target: Target, denial: Denial },
    /// The host's resolver has no address.
    #[error("the name {name} was not resolved")]
    Lookup { name: String, source: io::Error },
    /// It took too long.
    #[error("no answer from {target} in time")]
    Deadline { target: Target },
    /// Every address that was tried failed; this is how the last one did.
    #[error("{target} was not reached")]
    Connect { target: Target, source: io::Error },
    /// The VM itself was asked for, and no server in it answered.
    #[error("no server in this VM was reached at {target}")]
    Inside { target: Target, source: io::Error },
}

/// Where a target leads.
enum Route {
    /// To these addresses in the host's network.
    Out(Vec<IpAddr>),
    /// To these addresses of the VM's own loopback.
    Inside(Vec<IpAddr>),
}

/// The rules of one VM, its own names, and its share of the resolver.
#[derive(Debug)]
pub struct Dialer {
    rules: Rules,
    own: Own,
    lookups: Lookups,
}

impl Dialer {
    pub fn new(rules: Vec<Rule>, own: Own) -> Self {
        Self {
            rules: Rules::new(rules),
            own,
            lookups: Lookups::new(),
        }
    }

    /// Connects. The address that is connected to is the one that was checked: nobody looks the name up again.
    async fn connect(&self, target: &Target) -> Result<TcpStream, DialError> {
        let route = self.route(target).await?;
        let attempts = async {
            match route {
                Route::Out(addresses) => connect_out(addresses, target).await,
                Route::Inside(addresses) => self.connect_inside(addresses, target).await,
            }
        };
        let deadline = |_| DialError::Deadline {
            target: target.clone(),
        };
        let stream = timeout(CONNECT_DEADLINE, attempts).await.map_err(deadline)??;
        // A failure costs speed and nothing else.
        drop(stream.set_nodelay(true));
        Ok(stream)
    }

    /// What the list contains comes first: a listed `localhost` is the host's. Then come the VM's own names, and then,
    /// with `"public"`, everything else that is public.
    async fn route(&self, target: &Target) -> Result<Route, DialError> {
        let (rules, port) = (&self.rules, target.port);
        let denied = |denial| DialError::Denied {
            target: target.clone(),
            denial,
        };
        let listed = match &target.host {
            Host::Address(address) => rules.list_address(*address, port),
            Host::Name(name) => rules.list_name(name, port),
        };
        let own = self.own.addresses(&target.host);
        if !listed && !own.is_empty() {
            return Ok(Route::Inside(own));
        }
        match &target.host {
            Host::Address(address) if listed => Ok(Route::Out(vec![*address])),
            Host::Address(address) => match rules.deny_address(*address, port) {
                Some(denial) => Err(denied(denial)),
                None => Ok(Route::Out(vec![*address])),
            },
            Host::Name(name) => {
                if !listed && let Some(denial) = rules.deny_name(name, port) {
                    return Err(denied(denial));
                }
                let object = |address| {
                    if listed {
                        rules.object(name, address, port)
                    } else {
                        rules.object_to_public(address)
                    }
                };
                let mut permitted = Vec::new();
                let mut objection = None;
                for address in self.look_up(target, name).await? {
                    match object(address) {
                        None => permitted.push(address),
                        Some(denial) => objection = objection.or(Some(denial)),
                    }
                }
                match objection {
                    Some(denial) if permitted.is_empty() => Err(denied(denial)),
                    _ => Ok(Route::Out(permitted)),
                }
            }
        }
    }

    /// Connects to a server in the VM. Where nobody listens there, and the list speaks of the host's loopback, that is
    /// probably what was asked for: then it is a refusal, which says why.
    async fn connect_inside(&self, addresses: Vec<IpAddr>, target: &Target) -> Result<TcpStream, DialError> {
        let failed = |source: io::Error| {
            let refused = source.kind() == io::ErrorKind::ConnectionRefused;
            let target = target.clone();
            if refused && self.rules.speak_of_loopback() {
                let denial = match target.host {
                    Host::Address(address) => self.rules.deny_address(address, target.port),
                    Host::Name(_) => None,
                };
                let denial = denial.unwrap_or(Denial::NotListed);
                return DialError::Denied { target, denial };
            }
            DialError::Inside { target, source }
        };
        self.own.connect(addresses, target.port).await.map_err(failed)
    }

    /// The addresses that the host has for a name.
    async fn look_up(&self, target: &Target, name: &str) -> Result<Vec<IpAddr>, DialError> {
        let failed = |source| DialError::Lookup {
            name: name.to_owned(),
            source,
        };
        let deadline = |_| DialError::Deadline {
            target: target.clone(),
        };
        timeout(LOOKUP_DEADLINE, self.lookups.look_up(name.to_owned()))
            .await
            .map_err(deadline)?
            .map_err(failed)
    }
}

async fn connect_out(addresses: Vec<IpAddr>, target: &Target) -> Result<TcpStream, DialError> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in addresses {
        match TcpStream::connect(SocketAddr::new(address, target.port)).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(DialError::Connect {
        target: target.clone(),
        source: last,
    })
}

impl Server {
    /// Connects, or tells why not. A denial is told as an event first, and returned when the event's credit is: that
    /// bounds the events that wait to the connections there are.
    pub(super) async fn dial(&self, target: &Target) -> Result<TcpStream, DialError> {
        let result = self.dialer.connect(target).await;
        if let Err(DialError::Denied { target, denial }) = &result {
            let (credit, returned) = Credit::new();
            self.events.emit(Event::NetworkDenied {
                host: target.host.to_string(),
                port: target.port,
                reason: denial.reason(),
                credit,
            });
            returned.wait().await;
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_addresses_or_names() {
        let name = |text: &str| Some(Host::Name(text.into()));
        let address = |text: &str| Some(Host::Address(text.parse().expect(text)));
        assert_eq!(Host::parse("Example.COM."), name("example.com"));
        assert_eq!(Host::parse("a_b-c.d"), name("a_b-c.d"));
        assert_eq!(Host::parse("127.0.0.1"), address("127.0.0.1"));
        assert_eq!(Host::parse("[::1]"), address("::1"));
        assert_eq!(Host::parse("::1"), address("::1"));
        // An old spelling of an address is a name that no list can hold.
        assert_eq!(Host::parse("127.1"), name("127.1"));
        let long = "a".repeat(64);
        for text in [
            "",
            ".",
            "a..b",
            "a b",
            "a/b",
            "a@b",
            "[127.0.0.1]",
            "[a]",
            "[::1",
            "fe80::1%lo",
            "ä.de",
            &long,
        ] {
            assert_eq!(Host::parse(text), None, "{text}");
        }
    }
}
