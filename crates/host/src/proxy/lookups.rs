//! Resolves names as the host does: first from its `/etc/hosts`, then by its resolver.
//!
//! A look-up blocks a thread for as long as the resolver takes, and a name's server decides how long that is. So each
//! VM has only a few at a time. The first look-up of each VM uses a separate share, of which no VM may have two places:
//! a VM's slow look-ups delay its own look-ups and no others.

use std::fs::File;
use std::io::{self, BufReader};
use std::net::{IpAddr, ToSocketAddrs as _};
use std::sync::{Arc, OnceLock};

use nix::sys::resource::{Resource, getrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The maximum number of simultaneous look-ups of one VM, in addition to the first.
const MORE: usize = 3;

/// The maximum numbers of simultaneous look-ups of all VMs: first look-ups, and additional ones.
/// `runtime::LOOKUP_THREADS` is their sum.
const ALL_FIRST: u64 = 48;
const ALL_MORE: u64 = 16;

/// The maximum number of addresses of one name that are tried, one after another.
const MAX_ADDRESSES: usize = 8;

/// The places that all VMs share. A look-up uses one or two descriptors, so there are fewer places where descriptors
/// are few.
struct LookupPlaces {
    first: Arc<Semaphore>,
    more: Arc<Semaphore>,
}

fn shared() -> &'static LookupPlaces {
    static SHARED: OnceLock<LookupPlaces> = OnceLock::new();
    SHARED.get_or_init(|| {
        let (descriptors, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
        let part = |of: u64| Arc::new(Semaphore::new((of * descriptors / 2048).clamp(4, of) as usize));
        LookupPlaces {
            first: part(ALL_FIRST),
            more: part(ALL_MORE),
        }
    })
}

/// One VM's share of the resolver.
#[derive(Debug)]
pub struct Lookups {
    first: Arc<Semaphore>,
    more: Arc<Semaphore>,
}

impl Lookups {
    pub fn new() -> Self {
        Self {
            first: Arc::new(Semaphore::new(1)),
            more: Arc::new(Semaphore::new(MORE)),
        }
    }

    /// The addresses of `name`, at most [`MAX_ADDRESSES`].
    pub async fn look_up(&self, name: String) -> io::Result<Vec<IpAddr>> {
        let shared = shared();
        let places = tokio::select! {
            biased;
            places = both(&self.first, &shared.first) => places?,
            places = both(&self.more, &shared.more) => places?,
        };
        let answer = tokio::task::spawn_blocking(move || {
            // Held until the thread ends, even if the caller has stopped waiting.
            let _places = places;
            resolve(&name)
        });
        answer.await.map_err(io::Error::other)?
    }
}

async fn both(
    own: &Arc<Semaphore>,
    shared: &Arc<Semaphore>,
) -> io::Result<(OwnedSemaphorePermit, OwnedSemaphorePermit)> {
    let own = Arc::clone(own).acquire_owned().await;
    let own = own.map_err(io::Error::other)?;
    let shared = Arc::clone(shared).acquire_owned().await;
    Ok((own, shared.map_err(io::Error::other)?))
}

/// A name of two or more labels is looked up as an absolute name, with a dot at the end. Otherwise the resolver would
/// also try it below the host's search domains, where it could belong to somebody else. getaddrinfo compares the
/// spelling with `/etc/hosts`, where a name with the dot never matches, so that file is read here. A name of one label
/// only has a meaning below the search domains.
fn resolve(name: &str) -> io::Result<Vec<IpAddr>> {
    // The port is not used.
    if !name.contains('.') {
        return addresses(name);
    }
    let listed = File::open("/etc/hosts").and_then(|file| in_hosts(BufReader::new(file), name));
    match listed {
        Ok(listed) if !listed.is_empty() => Ok(listed),
        // If the host has no such file, the resolver answers.
        _ => addresses(&format!("{name}.")),
    }
}

fn addresses(name: &str) -> io::Result<Vec<IpAddr>> {
    let found = (name, 0).to_socket_addrs()?;
    Ok(found.map(|address| address.ip()).take(MAX_ADDRESSES).collect())
}

/// The addresses of `name` in a hosts(5) file, in the order of its lines.
fn in_hosts(mut file: impl io::BufRead, name: &str) -> io::Result<Vec<IpAddr>> {
    let mut found = Vec::new();
    let mut line = Vec::new();
    while found.len() < MAX_ADDRESSES && file.read_until(b'\n', &mut line)? > 0 {
        let entry = line.split(|byte| *byte == b'#').next().unwrap_or_default();
        let mut words = entry
            .split(u8::is_ascii_whitespace)
            .filter(|word| !word.is_empty());
        let address = words.next().and_then(|word| std::str::from_utf8(word).ok());
        let is_named = words.any(|word| word.eq_ignore_ascii_case(name.as_bytes()));
        // An address with a zone is skipped: a host interface has no meaning for the program.
        if is_named && let Some(address) = address.and_then(|text| text.parse().ok()) {
            found.push(address);
        }
        line.clear();
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_hosts_give_addresses_to_names() {
        let file: &[u8] =
            b"# 10.0.0.1 a.test\n127.0.0.1\tlocalhost  A.Test # b.test\n\n::1 a.test\n\xff\xfe a.test\n\
            fe80::1%lo a.test\n10.0.0.9 other.test xa.test a.tes";
        let found = |name| in_hosts(file, name).expect("read");
        let ip = |text: &str| text.parse::<IpAddr>().expect(text);
        assert_eq!(found("a.test"), [ip("127.0.0.1"), ip("::1")]);
        assert!(found("b.test").is_empty());
        assert_eq!(found("a.tes"), [ip("10.0.0.9")]);
        assert!(found("127.0.0.1").is_empty());
    }
}
