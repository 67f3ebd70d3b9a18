//! The names of a server's cgroup directories, and the removal of dead servers' directories.
//!
//! Each server uses a random number in the names of its directories, so that no name is used twice. The lock on a
//! directory shows whether its server is alive ([`Directory`](super::directory::Directory)).

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::directory::{Abandoned, remove_abandoned};

/// The minimum time between two removals of dead servers' directories. A server that has just died may have a VM that
/// is still ending.
const SWEEP_PAUSE: Duration = Duration::from_secs(5);

const PREFIX: &str = "agent-vm-";

/// This server's number.
#[derive(Debug)]
pub struct Lease {
    token: String,
    next: AtomicU64,
    swept: Mutex<Option<Instant>>,
}

impl Lease {
    /// Chooses a number.
    pub fn take() -> io::Result<Self> {
        let mut bytes = [0; 8];
        File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        Ok(Self {
            token: format!("{:016x}", u64::from_ne_bytes(bytes)),
            next: AtomicU64::new(0),
            swept: Mutex::new(None),
        })
    }

    /// A new, unique name for a directory.
    pub fn name(&self) -> String {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        format!("{PREFIX}{}-{number}", self.token)
    }

    /// Removes dead servers' directories in `parents`, unless that was done recently.
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
        // Living servers remove their directories themselves.
        let mut living = HashSet::from([self.token.clone()]);
        for entry in fs::read_dir(parent)? {
            let entry = entry?;
            let Some(token) = token_of(&entry.file_name()).filter(|token| !living.contains(token)) else {
                continue;
            };
            match remove_abandoned(&entry.path()) {
                Ok(Abandoned::Held) => drop(living.insert(token)),
                Ok(Abandoned::Populated | Abandoned::Removed) => {}
                // A process has just started in it, or it belongs to another user.
                Err(error) => {
                    tracing::debug!(path = %entry.path().display(), %error, "a dead server's cgroup stays for now");
                }
            }
        }
        Ok(())
    }
}

/// The server's number in a directory's name.
fn token_of(name: &OsString) -> Option<String> {
    let (token, number) = name.to_str()?.strip_prefix(PREFIX)?.split_once('-')?;
    let is_token = token.len() == 16 && token.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_token && number.parse::<u64>().is_ok()).then(|| token.to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::thread;

    use super::super::directory::Directory;
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
        let directory = std::env::temp_dir().join(format!("agent-vm-lease-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("a directory");
        let (server, other) = (Lease::take().expect("a number"), Lease::take().expect("a number"));
        let dead = directory.join(Lease::take().expect("a number").name());
        let living = Directory::make(&directory, || server.name()).expect("a directory");
        let kept = living.path().join("family-0");
        let foreign = directory.join("agent-vm-servers");
        for path in [&dead.join("family-0"), &kept, &foreign] {
            fs::create_dir_all(path).expect("a directory");
        }
        other.sweep([directory.as_path()]);
        assert_eq!(
            (dead.exists(), kept.exists(), foreign.exists()),
            (false, true, true)
        );
        drop(living);
        assert!(!kept.exists());
        fs::remove_dir_all(directory).expect("removed");
    }

    #[test]
    fn a_directory_that_another_server_takes_at_once_is_made_under_another_name() {
        let directory = std::env::temp_dir().join(format!("agent-vm-lease-race-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("a directory");
        let done = AtomicBool::new(false);
        let made = thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    Lease::take().expect("a number").sweep([directory.as_path()]);
                }
            });
            let server = Lease::take().expect("a number");
            let made: Vec<_> = (0..300)
                .map(|_| Directory::make(&directory, || server.name()))
                .collect();
            done.store(true, Ordering::Relaxed);
            made
        });
        for directory in &made {
            let directory = directory.as_ref().expect("a directory");
            assert!(directory.path().exists(), "{}", directory.path().display());
        }
        drop(made);
        fs::remove_dir(directory).expect("nothing is left in it");
    }
}
