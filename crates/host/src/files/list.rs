//! Lists directories and trees. Init opens every directory, as the VM's user and without following links: a directory
//! that a process replaces by a link meanwhile cannot redirect the listing.
//!
//! The guest decides how wide and deep a tree is. So a listing is delivered in pieces while it is made, and is bounded
//! in names, in bytes and in depth. Directories still to be listed are kept as a name and the number of their parent,
//! never as whole paths. Each is opened by a relative path from one of a few open directories.

use std::collections::{HashSet, VecDeque};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use agent_vm_protocol::message::OpenMode;
use nix::dir::{Dir, Type};
use nix::fcntl::AtFlags;
use nix::sys::stat::{SFlag, fstatat};
use tokio::sync::SemaphorePermit;

use crate::credit::{Credit, CreditReturned};
use crate::error::Error;
use crate::vm::Vm;

/// The maximum number of names in one listing.
pub const MAX_ENTRIES: usize = 1_000_000;

/// The maximum total length of the names or paths in one listing, in bytes.
pub const MAX_BYTES: usize = 64 * 1024 * 1024;

/// The depth of the deepest directory that is listed; the directory where a listing begins has depth 0.
pub const MAX_DEPTH: u32 = 4096;

/// The maximum number of names read from one directory, including excluded ones: a process may add names as fast as
/// they are read.
const MAX_NAMES_READ: usize = 4 * MAX_ENTRIES;

/// The maximum number of names in one piece, and their bytes. JavaScript processes a piece within a millisecond, and
/// its text fits into the young generation of V8's heap, whose collections are short.
const PIECE: (usize, usize) = (512, 32 * 1024);

/// The maximum number of pieces that JavaScript has not processed. It is small because a single path of control
/// characters is 360 KiB of JSON, which takes milliseconds to parse.
const AHEAD: usize = 2;

/// The longest relative path from an open directory, in bytes and in names; the kernel allows 4,095 bytes, and 255 for
/// a name. A listing within its bounds needs about a hundred open directories.
const LONGEST_WAY: (usize, u32) = (3072, 64);

/// The type of a directory entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// Anything else.
    File,
}

/// A directory entry.
#[derive(Debug, Clone)]
pub struct DirectoryEntry {
    /// The name, or in a walk the whole path. Bytes that are not UTF-8 are replaced.
    pub name: String,
    /// Its type.
    pub kind: EntryKind,
    /// Its size in bytes.
    pub size: u64,
}

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

/// A directory that was found: its name, and the directory that contains it.
struct FoundDirectory {
    above: usize,
    name: Vec<u8>,
    depth: u32,
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
    /// The names in a directory, without attributes, in the order of their bytes.
    pub async fn readdir(&self, path: String, on_entries: OnEntries) -> Result<(), Error> {
        let _place = self.listing().await?;
        let mut pieces = Pieces::new(self, path.clone(), on_entries);
        let mode = OpenMode::Directory { follow: true };
        let fd = self.open(None, path.clone().into(), mode).await?;
        let left = pieces.left();
        let names = self
            .blocking(move || list(fd.as_fd(), &path, None, left, &|_| true))
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
        let mut places = vec![FoundDirectory {
            above: 0,
            name: walk.path.clone().into(),
            depth: 0,
        }];
        let top = Arc::new(OpenedDirectory { fd, place: 0 });
        let mut pending = Vec::new();
        let mut next = Some((Arc::clone(&top), top));
        while let Some((directory, base)) = next.take() {
            let depth = places[directory.place].depth;
            let enters = walk.max_depth.is_none_or(|most| depth < most);
            let prefix = path(&places, directory.place);
            let (listed, exclude, left) = (Arc::clone(&directory), Arc::clone(&exclude), pieces.left());
            let names = self
                .blocking(move || {
                    let is_wanted = |name: &str| !exclude.contains(name);
                    list(listed.fd.as_fd(), &prefix, Some(&prefix), left, &is_wanted)
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
                    let place = places.len();
                    places.push(FoundDirectory {
                        above: directory.place,
                        name: name.bytes.clone(),
                        depth: depth + 1,
                    });
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
    async fn listing(&self) -> Result<SemaphorePermit<'_>, Error> {
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
        places: &[FoundDirectory],
        Pending { base, place }: Pending,
    ) -> Result<Option<(Arc<OpenedDirectory>, Arc<OpenedDirectory>)>, Error> {
        let way = way(places, base.place, place);
        let length = way.len();
        let from = base
            .fd
            .try_clone()
            .map_err(|error| Error::system(&error, "dup"))?;
        match self.open(Some(from), way, OpenMode::DirectoryWithoutLinks).await {
            Ok(fd) => {
                let opened = Arc::new(OpenedDirectory { fd, place });
                let names = places[place].depth - places[base.place].depth;
                let base = if length > LONGEST_WAY.0 || names > LONGEST_WAY.1 {
                    Arc::clone(&opened)
                } else {
                    base
                };
                Ok(Some((opened, base)))
            }
            Err(Error::System {
                errno: libc::EACCES | libc::ENOENT | libc::ENOTDIR | libc::ELOOP,
                ..
            }) => Ok(None),
            Err(Error::System { errno, syscall, .. }) => Err(Error::System {
                errno,
                syscall,
                path: Some(path(places, place)),
            }),
            Err(error) => Err(error),
        }
    }
}

/// The names on the way from one directory down to another, the deepest first.
fn upwards(places: &[FoundDirectory], top: usize, place: usize) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(Some(place), |place| Some(places[*place].above))
        .take_while(move |place| *place != top)
        .map(|place| places[place].name.as_slice())
}

/// The relative path from one directory to another.
fn way(places: &[FoundDirectory], from: usize, to: usize) -> Vec<u8> {
    let mut names: Vec<_> = upwards(places, from, to).collect();
    names.reverse();
    names.join(&b'/')
}

/// The whole path of a directory, as the caller sees it.
fn path(places: &[FoundDirectory], place: usize) -> String {
    let top = String::from_utf8_lossy(&places[0].name);
    let names: Vec<_> = upwards(places, 0, place).map(String::from_utf8_lossy).collect();
    let mut path = if names.is_empty() {
        top.into_owned()
    } else {
        top.trim_end_matches('/').to_owned()
    };
    for name in names.iter().rev() {
        path.push('/');
        path.push_str(name);
    }
    path
}

/// A number of names and their total bytes.
#[derive(Debug, Clone, Copy)]
struct Amount {
    names: usize,
    bytes: usize,
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

fn check(found: Amount, names: usize, bytes: usize, path: &str) -> Result<(), Error> {
    let bound = if found.names > names {
        format!("{MAX_ENTRIES} names")
    } else if found.bytes > bytes {
        format!("{} MiB of names and paths", MAX_BYTES / 1024 / 1024)
    } else {
        return Ok(());
    };
    Err(Error::LimitExceeded(format!(
        "{path} holds more than {bound}, the most that one call lists; list what is in it by itself, give a maxDepth, or \
         exclude names"
    )))
}

/// A name in bytes, and as text.
struct Name {
    bytes: Vec<u8>,
    entry: DirectoryEntry,
}

/// The content of a directory, sorted by name; with `prefix` before each name, and with attributes, if there is a
/// prefix. The attributes are the entry's own: a link is not followed.
fn list(
    fd: BorrowedFd<'_>,
    path: &str,
    prefix: Option<&str>,
    most: Amount,
    is_wanted: &dyn Fn(&str) -> bool,
) -> Result<Vec<Name>, Error> {
    let failed = |errno: nix::Error, syscall: &str| Error::System {
        errno: errno as i32,
        syscall: syscall.into(),
        path: Some(path.to_owned()),
    };
    // Both descriptors share one read position, and nothing else reads from it.
    let own = fd
        .try_clone_to_owned()
        .map_err(|error| Error::system(&error, "dup"))?;
    let mut directory = Dir::from_fd(own).map_err(|errno| failed(errno, "opendir"))?;
    let mut names = Vec::new();
    let mut found = Amount { names: 0, bytes: 0 };
    for (number, entry) in directory.iter().enumerate() {
        if number >= MAX_NAMES_READ {
            return Err(Error::LimitExceeded(format!(
                "{path} has more than {MAX_NAMES_READ} names, the most that one call reads of a directory"
            )));
        }
        let entry = entry.map_err(|errno| failed(errno, "readdir"))?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let shown = name.to_string_lossy();
        if !is_wanted(&shown) {
            continue;
        }
        found.names += 1;
        found.bytes += shown.len() + prefix.map_or(0, |prefix| prefix.len() + 1);
        check(found, most.names, most.bytes, path)?;
        let (kind, size) = match prefix {
            None => (EntryKind::File, 0),
            Some(_) => kind_and_size(fd, name, entry.file_type()),
        };
        names.push(Name {
            bytes: name.to_bytes().to_vec(),
            entry: DirectoryEntry {
                name: shown.into_owned(),
                kind,
                size,
            },
        });
    }
    names.sort_unstable_by(|one, other| one.bytes.cmp(&other.bytes));
    if let Some(prefix) = prefix {
        let prefix = prefix.trim_end_matches('/');
        for name in &mut names {
            name.entry.name = format!("{prefix}/{}", name.entry.name);
        }
    }
    Ok(names)
}

fn kind_and_size(fd: BorrowedFd<'_>, name: &std::ffi::CStr, listed: Option<Type>) -> (EntryKind, u64) {
    let stat = fstatat(fd, name, AtFlags::AT_SYMLINK_NOFOLLOW);
    let mode = stat.as_ref().map_or(SFlag::empty(), |stat| {
        SFlag::from_bits_truncate(stat.st_mode & libc::S_IFMT)
    });
    let kind = match (mode, listed) {
        (SFlag::S_IFDIR, _) | (_, Some(Type::Directory)) => EntryKind::Directory,
        (SFlag::S_IFLNK, _) | (_, Some(Type::Symlink)) => EntryKind::Symlink,
        _ => EntryKind::File,
    };
    (kind, stat.map_or(0, |stat| stat.st_size as u64))
}
