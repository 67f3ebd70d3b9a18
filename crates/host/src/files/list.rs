//! Lists directories and trees. Init opens every directory, as the VM's user and without following links: a directory
//! that a process replaces by a link meanwhile cannot redirect the listing.
//!
//! The guest decides how wide and deep a tree is. So a listing is delivered in pieces while it is made, and is bounded
//! in names, in bytes and in depth. Directories still to be listed are kept as a name and the number of their parent,
//! never as whole paths. Each is opened by a relative path from one of a few open directories.

use std::collections::{HashSet, VecDeque};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use agent_vm_protocol::message::OpenMode;
use tokio::sync::SemaphorePermit;

use super::entries::{Amount, Detail, DirectoryEntry, EntryKind, MAX_BYTES, MAX_ENTRIES, check, list};
use super::places::{MAX_DEPTH, Places};
use crate::credit::{Credit, CreditReturned};
use crate::error::Error;
use crate::vm::Vm;

/// The maximum number of names in one piece, and their bytes. JavaScript processes a piece within a millisecond, and
/// its text fits into the young generation of V8's heap, whose collections are short.
const PIECE: (usize, usize) = (512, 32 * 1024);

/// The maximum number of pieces that JavaScript has not processed. It is small because a single path of control
/// characters is 360 KiB of JSON, which takes milliseconds to parse.
const AHEAD: usize = 2;

/// Receives a piece of a listing, on a thread that may block. The piece after the next arrives when [`Credit`] is
/// dropped.
pub type OnEntries = Arc<dyn Fn(Vec<DirectoryEntry>, Credit) + Send + Sync>;

/// The tree to list.
#[derive(Debug, Clone)]
pub struct WalkRequest {
    /// The directory where it begins.
    pub path: String,
    /// The number of levels below the first directory that are listed; 0 for the first directory alone.
    pub max_depth: Option<u32>,
    /// Names that are left out, with everything below them.
    pub exclude: HashSet<String>,
}

/// An open directory, from which other directories are opened.
struct OpenedDirectory {
    fd: OwnedFd,
    place: usize,
}

/// A directory that is still to be listed. The deepest ones are listed first.
struct Pending {
    base: Arc<OpenedDirectory>,
    place: usize,
}

impl Vm {
    /// The names in a directory in the order of their bytes, without sizes and, if not `typed`, without types.
    pub async fn readdir(&self, path: String, typed: bool, on_entries: OnEntries) -> Result<(), Error> {
        let _place = self.listing().await?;
        let mut pieces = Pieces::new(self, path.clone(), on_entries);
        let mode = OpenMode::Directory { follow: true };
        let fd = self.open(None, path.clone().into(), mode).await?;
        let left = pieces.left();
        let detail = if typed { Detail::Types } else { Detail::Names };
        let names = self
            .blocking(move || list(fd.as_fd(), &path, detail, left, &|_| true))
            .await?;
        pieces.add(names.into_iter().map(|name| name.entry)).await?;
        pieces.finish().await
    }

    /// Lists a tree; each directory comes before its content. A directory that cannot be read, or no longer exists when
    /// its turn comes, is listed without its content.
    pub async fn walk(&self, walk: WalkRequest, on_entries: OnEntries) -> Result<(), Error> {
        let _place = self.listing().await?;
        let mut pieces = Pieces::new(self, walk.path.clone(), on_entries);
        let mode = OpenMode::Directory { follow: true };
        let fd = self.open(None, walk.path.clone().into(), mode).await?;
        let exclude = Arc::new(walk.exclude);
        let mut places = Places::new(walk.path.clone().into());
        let top = Arc::new(OpenedDirectory { fd, place: 0 });
        let mut pending = Vec::new();
        let mut next = Some((Arc::clone(&top), top));
        while let Some((directory, base)) = next.take() {
            let depth = places.depth(directory.place);
            let enters = walk.max_depth.is_none_or(|most| depth < most);
            let prefix = places.path(directory.place);
            let (listed, exclude, left) = (Arc::clone(&directory), Arc::clone(&exclude), pieces.left());
            let names = self
                .blocking(move || {
                    let is_wanted = |name: &str| !exclude.contains(name);
                    let detail = Detail::Attributes(&prefix);
                    list(listed.fd.as_fd(), &prefix, detail, left, &is_wanted)
                })
                .await?;
            let first_below = pending.len();
            for name in &names {
                if enters && name.entry.kind == EntryKind::Directory {
                    if depth >= MAX_DEPTH {
                        return Err(Error::LimitExceeded(format!(
                            "{} has directories more than {MAX_DEPTH} deep, the most that one call lists; give a maxDepth, or \
                             exclude names",
                            walk.path
                        )));
                    }
                    let place = places.add(directory.place, name.bytes.clone());
                    let base = Arc::clone(&base);
                    pending.push(Pending { base, place });
                }
            }
            pending[first_below..].reverse();
            pieces.add(names.into_iter().map(|name| name.entry)).await?;
            while let Some(waiting) = pending.pop() {
                if let Some(opened) = self.open_below(&places, waiting).await? {
                    next = Some(opened);
                    break;
                }
            }
        }
        pieces.finish().await
    }

    /// Waits until this VM may make one more listing.
    pub(super) async fn listing(&self) -> Result<SemaphorePermit<'_>, Error> {
        tokio::select! {
            // The semaphore is never closed.
            place = self.shared().bounds.listings.acquire() => place.map_err(|_| Error::Disposed),
            () = self.ended() => Err(Error::Disposed),
        }
    }

    /// Opens a waiting directory, and returns the base from which its subdirectories are opened; `None` if it is gone
    /// or not readable.
    async fn open_below(
        &self,
        places: &Places,
        Pending { base, place }: Pending,
    ) -> Result<Option<(Arc<OpenedDirectory>, Arc<OpenedDirectory>)>, Error> {
        let way = places.way(base.place, place);
        let is_far = places.is_far(base.place, place, &way);
        let from = base
            .fd
            .try_clone()
            .map_err(|error| Error::system(&error, "dup"))?;
        match self.open(Some(from), way, OpenMode::DirectoryWithoutLinks).await {
            Ok(fd) => {
                let opened = Arc::new(OpenedDirectory { fd, place });
                let base = if is_far { Arc::clone(&opened) } else { base };
                Ok(Some((opened, base)))
            }
            Err(Error::System {
                errno: libc::EACCES | libc::ENOENT | libc::ENOTDIR | libc::ELOOP,
                ..
            }) => Ok(None),
            Err(Error::System { errno, syscall, .. }) => Err(Error::System {
                errno,
                syscall,
                path: Some(places.path(place)),
            }),
            Err(error) => Err(error),
        }
    }
}

/// Delivers a listing in pieces.
struct Pieces<'a> {
    vm: &'a Vm,
    path: String,
    on_entries: OnEntries,
    found: VecDeque<DirectoryEntry>,
    found_bytes: usize,
    all: Amount,
    ahead: VecDeque<CreditReturned>,
}

impl<'a> Pieces<'a> {
    fn new(vm: &'a Vm, path: String, on_entries: OnEntries) -> Self {
        Self {
            vm,
            path,
            on_entries,
            found: VecDeque::new(),
            found_bytes: 0,
            all: Amount { names: 0, bytes: 0 },
            ahead: VecDeque::new(),
        }
    }

    /// How much the listing may still contain.
    fn left(&self) -> Amount {
        Amount {
            names: MAX_ENTRIES.saturating_sub(self.all.names),
            bytes: MAX_BYTES.saturating_sub(self.all.bytes),
        }
    }

    async fn add(&mut self, entries: impl Iterator<Item = DirectoryEntry>) -> Result<(), Error> {
        for entry in entries {
            self.all.names += 1;
            self.all.bytes += entry.name.len();
            self.found_bytes += entry.name.len();
            self.found.push_back(entry);
        }
        check(self.all, MAX_ENTRIES, MAX_BYTES, &self.path)?;
        while self.found.len() >= PIECE.0 || self.found_bytes >= PIECE.1 {
            self.hand_over().await?;
        }
        Ok(())
    }

    /// Delivers the next piece, once the piece before the last has been processed.
    async fn hand_over(&mut self) -> Result<(), Error> {
        while self.ahead.len() >= AHEAD
            && let Some(first) = self.ahead.pop_front()
        {
            first.wait().await;
        }
        let mut piece = Vec::new();
        let mut bytes = 0;
        while piece.len() < PIECE.0
            && bytes < PIECE.1
            && let Some(entry) = self.found.pop_front()
        {
            bytes += entry.name.len();
            piece.push(entry);
        }
        self.found_bytes -= bytes;
        let (credit, returned) = Credit::new();
        let on_entries = Arc::clone(&self.on_entries);
        self.vm
            .blocking(move || {
                on_entries(piece, credit);
                Ok(())
            })
            .await?;
        self.ahead.push_back(returned);
        Ok(())
    }

    async fn finish(mut self) -> Result<(), Error> {
        while !self.found.is_empty() {
            self.hand_over().await?;
        }
        Ok(())
    }
}
