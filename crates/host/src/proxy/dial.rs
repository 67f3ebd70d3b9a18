//! Connects to a destination that a program asks for, or says why not.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::denial::Denial;
use super::lookups::Lookups;
use super::own::Own;
use super::rules::{Rule, Rules};
use super::target::{ProxyTarget, TargetHost};

/// How long a look-up may take, and how long a connection may take.
const LOOKUP_DEADLINE: Duration = Duration::from_secs(20);
const CONNECT_DEADLINE: Duration = Duration::from_secs(30);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The rules refuse it.
    #[error("the VM's network option refuses {target}: {}", denial.reason_inside())]
    Denied { target: ProxyTarget, denial: Denial },
    /// The host's resolver finds no address.
    #[error("the name {name} was not resolved")]
    Lookup { name: String, source: io::Error },
    /// It took too long.
    #[error("no answer from {target} in time")]
    Deadline { target: ProxyTarget },
    /// All tried addresses failed; `source` is the last error.
    #[error("{target} was not reached")]
    Connect { target: ProxyTarget, source: io::Error },
    /// The target is the VM itself, and no server in the VM accepted the connection.
    #[error("no server in this VM was reached at {target}")]
    Inside { target: ProxyTarget, source: io::Error },
}

/// Where to connect for a target.
enum Route {
    /// To these addresses, in the host's network.
    Out(Vec<IpAddr>),
    /// To these addresses of the VM's loopback.
    Inside(Vec<IpAddr>),
}

/// A connection to a target.
pub struct Upstream {
    pub stream: TcpStream,
    /// Whether it leads out of the VM.
    pub is_outside: bool,
}

/// One VM's rules, its own names, and its share of the resolver.
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

    /// Connects to the address that was checked: the name is not looked up again.
    pub(super) async fn connect(&self, target: &ProxyTarget) -> Result<Upstream, DialError> {
        let route = self.route(target).await?;
        let is_outside = matches!(route, Route::Out(_));
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
        // A failure only makes the connection slower.
        drop(stream.set_nodelay(true));
        Ok(Upstream { stream, is_outside })
    }

    /// The list has precedence: a listed `localhost` means the host. Then come the VM's own names and then, with
    /// `"public"`, all other public destinations.
    async fn route(&self, target: &ProxyTarget) -> Result<Route, DialError> {
        let (rules, port) = (&self.rules, target.port);
        let denied = |denial| DialError::Denied {
            target: target.clone(),
            denial,
        };
        let listed = match &target.host {
            TargetHost::Address(address) => rules.list_address(*address, port),
            TargetHost::Name(name) => rules.list_name(name, port),
        };
        let own = self.own.addresses(&target.host);
        if !listed && !own.is_empty() {
            return Ok(Route::Inside(own));
        }
        match &target.host {
            TargetHost::Address(address) if listed => Ok(Route::Out(vec![*address])),
            TargetHost::Address(address) => match rules.deny_address(*address, port) {
                Some(denial) => Err(denied(denial)),
                None => Ok(Route::Out(vec![*address])),
            },
            TargetHost::Name(name) => {
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

    /// Connects to a server in the VM. If no server listens there and the list contains the host's loopback, the
    /// program probably meant the host: the result is then a refusal with the reason.
    async fn connect_inside(
        &self,
        addresses: Vec<IpAddr>,
        target: &ProxyTarget,
    ) -> Result<TcpStream, DialError> {
        let failed = |source: io::Error| {
            let refused = source.kind() == io::ErrorKind::ConnectionRefused;
            let target = target.clone();
            if refused && self.rules.speak_of_loopback() {
                let denial = match target.host {
                    TargetHost::Address(address) => self.rules.deny_address(address, target.port),
                    TargetHost::Name(_) => None,
                };
                let denial = denial.unwrap_or(Denial::NotListed);
                return DialError::Denied { target, denial };
            }
            DialError::Inside { target, source }
        };
        self.own.connect(addresses, target.port).await.map_err(failed)
    }

    /// The addresses of a name, from the host's resolver.
    async fn look_up(&self, target: &ProxyTarget, name: &str) -> Result<Vec<IpAddr>, DialError> {
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

async fn connect_out(addresses: Vec<IpAddr>, target: &ProxyTarget) -> Result<TcpStream, DialError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_addresses_or_names() {
        let name = |text: &str| Some(TargetHost::Name(text.into()));
        let address = |text: &str| Some(TargetHost::Address(text.parse().expect(text)));
        assert_eq!(TargetHost::parse("Example.COM."), name("example.com"));
        assert_eq!(TargetHost::parse("a_b-c.d"), name("a_b-c.d"));
        assert_eq!(TargetHost::parse("127.0.0.1"), address("127.0.0.1"));
        assert_eq!(TargetHost::parse("[::1]"), address("::1"));
        assert_eq!(TargetHost::parse("::1"), address("::1"));
        // An address in an old spelling counts as a name, which no list can contain.
        assert_eq!(TargetHost::parse("127.1"), name("127.1"));
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
            assert_eq!(TargetHost::parse(text), None, "{text}");
        }
    }
}
