//! The way out of a VM whose network option is `"public"` or lists destinations: an HTTP and SOCKS 5 proxy on the VM's
//! loopback.
//!
//! Init makes the listening socket in the VM and sends it to the host. The connections that this process accepts on it
//! come only from the VM, and nothing listens on the host. The first byte of a connection determines the protocol
//! ([`http`], [`socks`]). Both protocols ask [`dial`] for a connection, which resolves the name on the host and checks
//! the name and the address by the [`rules`]. The VM's [own] names lead back into the VM.
//!
//! The guest is hostile, so everything is bounded: the connections of one VM ([`MAX_CONNECTIONS`]) and of all VMs
//! ([`places`], shared fairly), how long they may be idle, the size of a request's head and the time it takes, the
//! number of simultaneous look-ups ([`lookups`]), buffers, and how many connections transfer much data at a time
//! ([`relay`]). What exceeds a bound waits, in the VM's own kernel queue if possible. The proxy has its own thread, so
//! that a download in one VM does not slow down the terminals of another.

mod address;
mod denial;
mod dial;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod http;
mod interfaces;
mod lookups;
mod own;
mod places;
mod relay;
mod rules;
mod server;
mod socks;
mod target;
mod traffic;

use std::io;
use std::net::TcpListener as StdListener;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::{JoinHandle, JoinSet};

use crate::events::Events;
use crate::runtime;
pub(crate) use dial::Dialer;
pub use own::PORT;
pub(crate) use own::{Connector, Own};
use places::{Activity, Places};
use rules::LOOPBACK_V4;
pub use rules::{AddressRange, Destination, Rule};
use server::Server;
pub use traffic::{Traffic, TrafficReading};

/// The maximum number of connections of one VM; each uses two descriptors and at most 64 KiB. More connections wait to
/// be accepted.
const MAX_CONNECTIONS: usize = 128;

/// How long a connection may take to name its destination.
const HEAD_DEADLINE: Duration = Duration::from_secs(30);

/// How long to wait before accepting again when the host has no free descriptor, since no event reports when one
/// becomes free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A VM's proxy. After it is dropped, the proxy and all its connections end soon.
#[derive(Debug)]
pub struct Proxy {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Serves `listener` (a non-blocking socket) until stopped, and connects by `dialer`. `traffic` counts what goes
    /// out of the VM and comes in; `events` receives the refusals.
    pub(crate) fn start(
        listener: OwnedFd,
        dialer: Dialer,
        traffic: Arc<Traffic>,
        events: Arc<dyn Events>,
    ) -> io::Result<Self> {
        let runtime = runtime::proxy()?;
        let within = runtime.enter();
        let listener = TcpListener::from_std(StdListener::from(listener))?;
        drop(within);
        let server = Arc::new(Server {
            dialer,
            events,
            turns: relay::Turns::new(),
            outside: traffic,
            inside: Traffic::default(),
        });
        let (stop, stopped) = oneshot::channel();
        Ok(Self {
            stop,
            task: runtime.spawn(serve(listener, server, stopped)),
        })
    }

    /// Stops the proxy. When this returns, its descriptors are closed and it emits no more events.
    pub async fn stop(self) {
        drop(self.stop);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "a VM's proxy did not end well");
        }
    }
}

async fn serve(listener: TcpListener, server: Arc<Server>, mut stopped: oneshot::Receiver<()>) {
    static VMS: AtomicU64 = AtomicU64::new(0);
    let vm = VMS.fetch_add(1, Ordering::Relaxed);
    let own = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        // Removes the connections that have ended.
        while connections.try_join_next().is_some() {}
        let next = async {
            // `None` would mean that the semaphore is closed, which it never is.
            let own_place = Arc::clone(&own).acquire_owned().await.ok()?;
            let client = match listener.accept().await {
                Ok((client, _)) => Some(client),
                Err(_) => None,
            };
            // Only now that there is a client: idle VMs hold no shared places.
            Some((client, own_place, Places::shared().acquire(vm).await?))
        };
        tokio::select! {
            _ = &mut stopped => break,
            next = next => match next {
                Some((Some(client), own_place, shared_place)) => {
                    let server = Arc::clone(&server);
                    connections.spawn(async move {
                        let _own_place = own_place;
                        let activity = shared_place.activity();
                        // Errors of a connection are reported only to the guest.
                        tokio::select! {
                            _ended = handle(client, &server, activity) => {}
                            () = activity.until_revoked() => {}
                        }
                    });
                }
                Some((None, ..)) => tokio::time::sleep(ACCEPT_PAUSE).await,
                None => break,
            }
        }
    }
    connections.shutdown().await;
}

async fn handle(mut client: TcpStream, server: &Server, activity: &Activity) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut first = [0];
    let asked = tokio::time::timeout(HEAD_DEADLINE, async {
        if client.read(&mut first).await? == 0 {
            return Ok(None);
        }
        if first == [socks::VERSION] {
            socks::request(&mut client)
                .await
                .map(|request| request.map(ProtocolRequest::Socks))
        } else {
            http::request(&mut client, first[0])
                .await
                .map(|request| request.map(ProtocolRequest::Http))
        }
    });
    match asked.await {
        Ok(Ok(Some(ProtocolRequest::Socks(request)))) => {
            socks::serve(client, request, server, activity).await
        }
        Ok(Ok(Some(ProtocolRequest::Http(request)))) => http::serve(client, request, server, activity).await,
        // The client has closed, was answered already, or took too long.
        Ok(Ok(None)) | Err(_) => Ok(()),
        Ok(Err(error)) => Err(error),
    }
}

enum ProtocolRequest {
    Socks(target::ProxyTarget),
    Http(http::ProxyRequest),
}

/// The environment variables that tell programs in the VM to use the proxy: the ones that curl, git, npm, pip and
/// others read, and Node.js from version 22.
///
/// All of them name an HTTP proxy, which serves other protocols by CONNECT. They do not name a SOCKS proxy, because
/// libraries without SOCKS fail if `ALL_PROXY` names one, even if they would not use it. For destinations in
/// `NO_PROXY`, programs do not ask the proxy.
#[must_use]
pub fn environment(rules: &[Rule], hostname: &str) -> Vec<(&'static str, String)> {
    let proxy = format!("http://127.0.0.1:{PORT}");
    let own = own_names(rules, hostname).join(",");
    // curl reads only the lower-case form of the first variable.
    let names = [
        "HTTP_PROXY",
        "http_proxy",
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
    ];
    let mut variables: Vec<_> = names.map(|name| (name, proxy.clone())).into();
    variables.extend([("NO_PROXY", own.clone()), ("no_proxy", own)]);
    variables.push(("NODE_USE_ENV_PROXY", "1".into()));
    variables
}

/// The VM's own names, without those that `rules` list, which then mean the host.
///
/// Clients differ in how they match these names. So no name here is a suffix of another host's name, and `[::1]` is
/// missing because Python's httpx fails on it. The proxy serves the missing names.
fn own_names<'a>(rules: &[Rule], hostname: &'a str) -> Vec<&'a str> {
    let listed = |name: &str| rules.iter().any(|rule| rule.names(name));
    let mut own: Vec<_> = ["localhost", "127.0.0.1", "::1", "0.0.0.0"]
        .into_iter()
        .filter(|name| !listed(name))
        .collect();
    if !rules.iter().any(|rule| rule.reaches_into(LOOPBACK_V4)) {
        own.push("127.0.0.0/8");
    }
    // No top-level domain contains a digit or a hyphen, except encoded ones. But a name like "dev" could be one.
    let no_domain = !hostname.contains('.')
        && !hostname.starts_with("xn--")
        && hostname.bytes().any(|byte| byte == b'-' || byte.is_ascii_digit());
    if no_domain && !listed(&hostname.to_ascii_lowercase()) {
        own.push(hostname);
    }
    own
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no_proxy(rules: &[(Destination, Option<u16>)], hostname: &str) -> String {
        let rules = rules
            .iter()
            .cloned()
            .map(|(destination, port)| Rule { destination, port });
        let variables = environment(&rules.collect::<Vec<_>>(), hostname);
        let found = variables.into_iter().find(|(name, _)| *name == "NO_PROXY");
        found.expect("NO_PROXY").1
    }

    #[test]
    fn no_proxy_has_the_vms_own_names_that_are_not_listed() {
        let range = |address: &str, prefix_length| {
            Destination::Addresses(AddressRange::new(address.parse().expect(address), prefix_length))
        };
        let all = "localhost,127.0.0.1,::1,0.0.0.0,127.0.0.0/8,agent-vm";
        assert_eq!(no_proxy(&[], "agent-vm"), all);
        assert_eq!(no_proxy(&[(Destination::Public, None)], "agent-vm"), all);
        assert_eq!(
            no_proxy(&[(range("0.0.0.0", 0), None), (range("::", 0), None)], "agent-vm"),
            all
        );
        for (listed, left) in [
            (
                Destination::Name("localhost".into()),
                "127.0.0.1,::1,0.0.0.0,127.0.0.0/8,agent-vm",
            ),
            (range("127.0.0.1", 32), "localhost,::1,0.0.0.0,agent-vm"),
            (range("127.0.0.2", 32), "localhost,127.0.0.1,::1,0.0.0.0,agent-vm"),
            (range("127.0.0.0", 8), "localhost,::1,0.0.0.0,agent-vm"),
            (
                range("::1", 128),
                "localhost,127.0.0.1,0.0.0.0,127.0.0.0/8,agent-vm",
            ),
            (
                range("0.0.0.0", 32),
                "localhost,127.0.0.1,::1,127.0.0.0/8,agent-vm",
            ),
            (
                Destination::Name("agent-vm".into()),
                "localhost,127.0.0.1,::1,0.0.0.0,127.0.0.0/8",
            ),
        ] {
            assert_eq!(no_proxy(&[(listed, Some(3000))], "agent-vm"), left);
        }
    }

    #[test]
    fn a_host_name_that_ends_the_names_of_others_is_not_in_no_proxy() {
        for hostname in ["dev", "com", "xn--p1ai", "example.com", "a-b.example"] {
            assert_eq!(
                no_proxy(&[], hostname),
                "localhost,127.0.0.1,::1,0.0.0.0,127.0.0.0/8",
                "{hostname}"
            );
        }
        for hostname in ["worker1", "my-agent"] {
            assert!(no_proxy(&[], hostname).ends_with(&format!(",{hostname}")));
        }
    }
}
