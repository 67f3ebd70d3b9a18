//! Where a transfer is in a tree.
//!
//! A directory far down has no path that the kernel would accept, and a tree may be deeper than the server has descriptors. So the
//! way down is kept as names, and only some of its directories stay open: the nearest ones, from which the transfer goes on, and a
//! few on the way, from which the others are opened again.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::workers::Workers;
use crate::error::Error;

/// How many of the nearest directories stay open.
const NEAR: usize = 16;
/// One of so many directories stays open on the way.
const EVERY: usize = 64;
/// The longest relative path, in bytes; the kernel allows 4,095, and 255 for a name.
const LONGEST_WAY: usize = 3072;
/// The deepest directory, as for listings and copies.
pub const MAX_DEPTH: usize = 4096;

/// One side of a transfer.
pub trait Reach: Send + Sync + 'static {
    /// The threads that work on it.
    fn workers(&self) -> &Workers;

    /// Opens the directory at the top, and makes it if it is missing and `create` is true.
    fn top(&self, create: bool) -> impl Future<Output = Result<OwnedFd, Error>> + Send;

    /// The path of the top, for errors.
    fn path(&self) -> &str;

    /// Opens a directory below `base`. There is no link on the way.
    fn open(&self, base: Arc<OwnedFd>, way: Vec<u8>) -> impl Future<Output = Result<OwnedFd, Error>> + Send;
}

/// The way from the top of a tree to a directory.
pub struct Trail {
    top: Arc<OwnedFd>,
    steps: Vec<Step>,
}

struct Step {
    name: Vec<u8>,
    fd: Option<Arc<OwnedFd>>,
}

impl Trail {
    /// At the top of a tree.
    pub fn new(top: OwnedFd) -> Self {
        Self {
            top: Arc::new(top),
            steps: Vec::new(),
        }
    }

    /// In a directory below a top.
    pub fn to(top: Arc<OwnedFd>, names: &[Vec<u8>]) -> Self {
        let step = |name: &Vec<u8>| Step {
            name: name.clone(),
            fd: None,
        };
        Self {
            top,
            steps: names.iter().map(step).collect(),
        }
    }

    /// How far below the top it is.
    pub fn depth(&self) -> usize {
        self.steps.len()
    }

    /// Goes into a directory.
    pub fn push(&mut self, name: Vec<u8>, fd: Arc<OwnedFd>) {
        self.steps.push(Step { name, fd: Some(fd) });
        if let Some(far) = self.steps.len().checked_sub(NEAR + 1)
            && !(far + 1).is_multiple_of(EVERY)
        {
            self.steps[far].fd = None;
        }
    }

    /// Goes back to the directory above.
    pub fn pop(&mut self) {
        self.steps.pop();
    }

    /// The top of the tree.
    pub fn top(&self) -> &Arc<OwnedFd> {
        &self.top
    }

    /// The names on the way.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.steps.iter().map(|step| step.name.as_slice())
    }

    /// The directory.
    pub async fn current(&mut self, reach: &impl Reach) -> Result<Arc<OwnedFd>, Error> {
        let depth = self.steps.len();
        let mut at = depth;
        while at > 0 && self.steps[at - 1].fd.is_none() {
            at -= 1;
        }
        let mut base = match at.checked_sub(1).and_then(|above| self.steps[above].fd.clone()) {
            Some(fd) => fd,
            None => Arc::clone(&self.top),
        };
        while at < depth {
            let mut way = Vec::new();
            while at < depth && way.len() + self.steps[at].name.len() < LONGEST_WAY {
                if !way.is_empty() {
                    way.push(b'/');
                }
                way.extend_from_slice(&self.steps[at].name);
                at += 1;
            }
            base = Arc::new(reach.open(base, way).await?);
        }
        if let Some(last) = self.steps.last_mut() {
            last.fd = Some(Arc::clone(&base));
        }
        Ok(base)
    }

    /// An error about `name` in the directory, or about the directory itself, with its whole path.
    pub fn at(&self, error: Error, top: &str) -> Error {
        let Error::System { errno, syscall, path } = error else {
            return error;
        };
        let mut whole = top.trim_end_matches('/').to_owned();
        let name = path.unwrap_or_default();
        let names = self.names().map(String::from_utf8_lossy);
        for name in names.chain((!name.is_empty()).then(|| name.into())) {
            whole.push('/');
            whole.push_str(&name);
        }
        if whole.is_empty() {
            whole.push('/');
        }
        Error::System {
            errno,
            syscall,
            path: Some(whole),
        }
    }
}

/// An error of a system call about something that [`Trail::at`] completes.
pub fn failed(errno: nix::errno::Errno, syscall: &str, name: &[u8]) -> Error {
    Error::System {
        errno: errno as i32,
        syscall: syscall.into(),
        path: Some(String::from_utf8_lossy(name).into_owned()),
    }
}
