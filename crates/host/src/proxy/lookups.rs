//! Names, looked up as the host has them: in its `/etc/hosts` first, then by its resolver.
//!
//! A look-up holds a thread for as long as the resolver takes, and the server of a name decides how long that is. So each VM has a
//! few at a time, and the first of each VM comes from a share that no VM has two places of: the slow look-ups of a VM hold up
//! its own and no others.

use std::fs::File;
use std::io::{self, BufReader};
use std::net::{IpAddr, ToSocketAddrs as _};
use std::sync::{Arc, OnceLock};

use nix::sys::resource::{Resource, getrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Look-ups of one VM at a time, beside the first one.
const MORE: usize = 3;

/// Look-ups of all VMs at a time: those that are the first of their VM, and those beside. `runtime::LOOKUP_THREADS` is the
/// sum.
const ALL_FIRST: u64 = 48;
const ALL_MORE: u64 = 16;

/// Addresses of one name that are tried, one after another.
const MAX_ADDRESSES: usize = 8;

/// What all VMs share. A look-up takes a descriptor or two, so there are fewer where descriptors are few.
struct Shared {
    first: Arc<Semaphore>,
    more: Arc<Semaphore>,
}

fn shared() -> &'static Shared {
    static SHARED: OnceLock<Shared> = OnceLock::new();
    SHARED.get_or_init(|| {
        let (descriptors, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
        let part = |of: u64| Arc::new(Semaphore::new((of * descriptors / 2048).clamp(4, of) as usize));
        Shared {
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
            // Held for as long as the thread is, also when nobody waits any more.
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

/// A name of two labels or more is looked up as an absolute one, with a dot at its end: otherwise the resolver would try it
/// below the host's search domains as well, where it is another name, of somebody else. With that dot no entry of
/// `/etc/hosts` matches (getaddrinfo compares the spelling), so that file is read here. A name of one label has no other
/// meaning than that of the host's search domains.
fn resolve(name: &str) -> io::Result<Vec<IpAddr>> {
    // The port is not looked at.
    if !name.contains('.') {
        return addresses(name);
    }
    let listed = File::open("/etc/hosts").and_then(|file| in_hosts(BufReader::new(file), name));
    match listed {
        Ok(listed) if !listed.is_empty() => Ok(listed),
        // A host without such a file has its resolver.
        _ => addresses(&format!("{name}.")),
    }
}

fn addresses(name: &str) -> io::Result<Vec<IpAddr>> {
    let found = (name, 0).to_socket_addrs()?;
    Ok(found.map(|address| address.ip()).take(MAX_ADDRESSES).collect())
}

/// The addresses that lines of hosts(5) give `name`, in the order of the file.
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
        // One with a zone is skipped: an interface of the host means nothing to who asks.
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
