//! The way out of a VM whose network option lists destinations: an HTTP and SOCKS 5 proxy on the VM's loopback.
//!
//! Init makes the listening socket inside and hands it over; the connections that this process accepts on it come from the
//! VM alone, and nothing listens on the host. The first byte of a connection tells the protocol ([`http`], [`socks`]); both
//! ask [`dial`] for a connection, which resolves the name here on the host and asks the [`rules`] about name and address.
//!
//! The guest is hostile, so all is bounded: connections of one VM ([`MAX_CONNECTIONS`]) and of all VMs ([`places`], shared
//! fairly), how long they may be idle, the size of a request's head and the time it takes, names that are looked up at a time
//! ([`lookups`]), buffers. What comes on top waits, in the VM's own kernel queue where it can. The work is done on a thread of
//! its own, so that a download in one VM slows down no terminal of another.

mod address;
mod dial;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod http;
mod interfaces;
mod lookups;
mod places;
mod relay;
mod rules;
mod socks;

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
use places::{Activity, Places};
pub use rules::{AddressRange, Destination, Rule};

/// Where it listens inside: the port that is registered for SOCKS, in a network that has nothing else when this is made.
pub const PORT: u16 = 1080;

/// Connections of one VM at a time; each costs two descriptors and at most 64 KiB. Further ones wait to be accepted.
const MAX_CONNECTIONS: usize = 128;

/// How long a connection may take to say where it wants to go.
const HEAD_DEADLINE: Duration = Duration::from_secs(30);

/// How long nothing is accepted when the host has no descriptors left: nothing tells when it has again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The first byte of every SOCKS 5 connection (RFC 1928), and of no HTTP request.
const SOCKS_VERSION: u8 = 5;

/// A VM's proxy. When it is dropped, it and all its connections end soon.
#[derive(Debug)]
pub struct Proxy {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Serves `listener` (a non-blocking socket) by `rules`, until stopped. What is refused is told to `events`.
    pub fn start(listener: OwnedFd, rules: Vec<Rule>, events: Arc<dyn Events>) -> io::Result<Self> {
        let runtime = runtime::proxy()?;
        let within = runtime.enter();
        let listener = TcpListener::from_std(StdListener::from(listener))?;
        drop(within);
        let server = Arc::new(Server {
            dialer: dial::Dialer::new(rules),
            events,
        });
        let (stop, stopped) = oneshot::channel();
        Ok(Self {
            stop,
            task: runtime.spawn(serve(listener, server, stopped)),
        })
    }

    /// Ends it; when this returns, no event of its follows and its descriptors are closed.
    pub async fn stop(self) {
        drop(self.stop);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "a VM's proxy did not end well");
        }
    }
}

/// What the connections of one VM share.
struct Server {
    dialer: dial::Dialer,
    events: Arc<dyn Events>,
}

async fn serve(listener: TcpListener, server: Arc<Server>, mut stopped: oneshot::Receiver<()>) {
    static VMS: AtomicU64 = AtomicU64::new(0);
    let vm = VMS.fetch_add(1, Ordering::Relaxed);
    let own = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        // Forgets those that have ended.
        while connections.try_join_next().is_some() {}
        let next = async {
            // None would say that the semaphore is closed, which it never is.
            let own_place = Arc::clone(&own).acquire_owned().await.ok()?;
            let client = match listener.accept().await {
                Ok((client, _)) => Some(client),
                Err(_) => None,
            };
            // Not before there is somebody to use it: idle VMs hold none of what all share.
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
                        // What goes wrong on a connection is the guest's to notice.
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
        if first == [SOCKS_VERSION] {
            socks::request(&mut client)
                .await
                .map(|request| request.map(Asked::Socks))
        } else {
            http::request(&mut client, first[0])
                .await
                .map(|request| request.map(Asked::Http))
        }
    });
    match asked.await {
        Ok(Ok(Some(Asked::Socks(request)))) => socks::serve(client, request, server, activity).await,
        Ok(Ok(Some(Asked::Http(request)))) => http::serve(client, request, server, activity).await,
        // It went away, was answered already, or took too long.
        Ok(Ok(None)) | Err(_) => Ok(()),
        Ok(Err(error)) => Err(error),
    }
}

enum Asked {
    Socks(dial::Target),
    Http(http::Request),
}

/// What programs inside are told of the proxy: the variables that curl, git, npm, pip and others read, and Node.js from 22.
///
/// All of them name it as an HTTP proxy, which takes other protocols by CONNECT: libraries that do not know SOCKS fail on
/// an `ALL_PROXY` that names it, even where they would not use it. What is not asked of the proxy is the VM's own
/// loopback, less the names of it that `rules` list, which then mean the host's.
#[must_use]
pub fn environment(rules: &[Rule]) -> Vec<(&'static str, String)> {
    let proxy = format!("http://127.0.0.1:{PORT}");
    let own = ["localhost", "127.0.0.1", "::1"];
    let own = own
        .into_iter()
        .filter(|name| !rules.iter().any(|rule| rule.names(name)));
    let own = own.collect::<Vec<_>>().join(",");
    // curl reads the lower-case form of the first alone.
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
