//! Whose a cgroup directory is, so that what a dead server left is told from what a living one has.
//!
//! Each server names its directories by a number of its own, and holds a Unix socket of that number in the abstract
//! namespace for as long as it lives: the kernel frees it however the server ends. A directory whose number is free is
//! nobody's, and any later server removes it. (Servers that share a cgroup but no network namespace do not see each other's
//! sockets; there the kernel's refusal to remove a cgroup that has processes still protects every VM that is up.)

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::directory::remove_tree;

/// How long at least between two looks for what dead servers left. One that has just died may have a VM that is still dying.
const SWEEP_PAUSE: Duration = Duration::from_secs(5);

const PREFIX: &str = "agent-vm-";

/// This server's number, held for its life.
#[derive(Debug)]
pub struct Lease {
    token: String,
    _lock: UnixDatagram,
    next: AtomicU64,
    swept: Mutex<Option<Instant>>,
}

impl Lease {
    /// Takes a number.
    pub fn take() -> io::Result<Self> {
        let mut bytes = [0; 8];
        File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        let token = format!("{:016x}", u64::from_ne_bytes(bytes));
        let lock = bind(&token)?;
        Ok(Self {
            token,
            _lock: lock,
            next: AtomicU64::new(0),
            swept: Mutex::new(None),
        })
    }

    /// A name for a directory that no other has.
    pub fn name(&self) -> String {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        format!("{PREFIX}{}-{number}", self.token)
    }

    /// Removes what dead servers left in `parents`, unless that was done a moment ago.
    pub fn sweep<'a>(&self, parents: impl IntoIterator<Item = &'a Path>) {
        let now = Instant::now();
        {
            let mut swept = self.swept.lock();
            if swept.is_some_and(|last| now.duration_since(last) < SWEEP_PAUSE) {
                return;
            }
            *swept = Some(now);
        }
        for parent in parents {
            if let Err(error) = self.sweep_one(parent) {
                tracing::debug!(path = %parent.display(), %error, "cgroups of dead servers were not looked for");
            }
        }
    }

    fn sweep_one(&self, parent: &Path) -> io::Result<()> {
        // The lock is kept until the directories are gone, so that two servers do not meet in one.
        let mut dead: HashMap<String, Option<UnixDatagram>> = HashMap::new();
        for entry in fs::read_dir(parent)? {
            let entry = entry?;
            let Some(token) = token_of(&entry.file_name()) else {
                continue;
            };
            if token == self.token {
                continue;
            }
            let lock = dead.entry(token).or_insert_with_key(|token| bind(token).ok());
            if lock.is_some()
                && let Err(error) = remove_tree(&entry.path())
            {
                // Something in it still dies, or it is another user's.
                tracing::debug!(path = %entry.path().display(), %error, "a dead server's cgroup stays for now");
            }
        }
        Ok(())
    }
}

fn bind(token: &str) -> io::Result<UnixDatagram> {
    UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(format!(
        "agent-vm/cgroups/{token}"
    ))?)
}

/// The number in a directory's name.
fn token_of(name: &OsString) -> Option<String> {
    let (token, number) = name.to_str()?.strip_prefix(PREFIX)?.split_once('-')?;
    let is_token = token.len() == 16 && token.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_token && number.parse::<u64>().is_ok()).then(|| token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_directories_of_ours_have_a_number() {
        let token = |name: &str| token_of(&OsString::from(name));
        assert_eq!(
            token("agent-vm-00112233aabbccdd-7").as_deref(),
            Some("00112233aabbccdd")
        );
        for other in [
            "agent-vm-servers",
            "agent-vm-0011-7",
            "agent-vm-00112233aabbccdd",
            "agent-vm-00112233aabbccdd-x",
            "user.slice",
        ] {
            assert_eq!(token(other), None, "{other}");
        }
    }

    #[test]
    fn what_a_dead_server_left_is_removed_and_what_a_living_one_has_is_not() {
        let folder = std::env::temp_dir().join(format!("agent-vm-lease-{}", std::process::id()));
        let dead = {
            let lease = Lease::take().expect("a lease");
            folder.join(lease.name())
        };
        let living = Lease::take().expect("a lease");
        let kept = folder.join(living.name());
        let foreign = folder.join("agent-vm-servers");
        for path in [&dead.join("family-0"), &kept, &foreign] {
            fs::create_dir_all(path).expect("a folder");
        }
        Lease::take().expect("a lease").sweep([folder.as_path()]);
        assert_eq!(
            (dead.exists(), kept.exists(), foreign.exists()),
            (false, true, true)
        );
        fs::remove_dir_all(folder).expect("removed");
    }
}
