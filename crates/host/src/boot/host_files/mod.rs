//! The host's settings and data of installed programs: the parts of `/etc`, `/var/lib`, `/var/cache` and `/opt` that a
//! VM shows.
//!
//! A VM shows files that a package installed and that have not been changed, and generated files that a list names
//! ([`names`]). All other files are the host's own: a configuration that somebody wrote may contain a password, so it
//! is shown only if the server asks for it.
//!
//! This is decided once for the server, on a separate thread from the server's start on, and again after packages were
//! installed. Small files are copied then, so that later changes to them are not shown.

mod digest;
mod error;
mod large;
mod links;
mod listing;
mod look;
mod names;
mod packages;
mod tree;
mod users;

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use agent_vm_protocol::message::{Attached, BindSource, HeldEntry, RootEntry};
use nix::unistd::{Gid, Uid, getegid, geteuid, getgroups};
use parking_lot::Mutex;

use super::error::BootError;
use super::etc;
use super::holder::Holder;
use super::launched::Specification;
use super::options::{HostFiles, Options};
use tree::Stamp;

pub use error::HostFileError;
pub use tree::{Node, ShownTree};

/// How many compositions have a holder; the least recently used one is ended first.
const HELD: usize = 4;

/// What is shown by all VMs that request nothing else.
struct Base {
    tree: ShownTree,
    /// Changes when packages were installed or files were generated.
    signs: [(PathBuf, Option<Stamp>); 5],
    user: (Uid, Gid, Vec<Gid>),
    generation: u64,
}

/// The user whose rights decide; a server may change its user at any time.
fn user() -> (Uid, Gid, Vec<Gid>) {
    (geteuid(), getegid(), getgroups().unwrap_or_default())
}

impl Base {
    fn look() -> Self {
        static GENERATIONS: AtomicU64 = AtomicU64::new(1);
        // First, so that a change meanwhile is noticed.
        let user = user();
        let signs = names::signs().map(|path| {
            let stamp = Stamp::at(&path);
            (path, stamp)
        });
        Self {
            signs,
            tree: look::look(),
            user,
            generation: GENERATIONS.fetch_add(1, Ordering::Relaxed),
        }
    }

    fn is_current(&self) -> bool {
        self.user == user() && self.signs.iter().all(|(path, stamp)| Stamp::at(path) == *stamp)
    }
}

static BASE: Mutex<Option<Arc<Base>>> = Mutex::new(None);

/// Checks the host's files on a separate thread, so that the first VM need not wait for it.
pub fn look_ahead() {
    let thread = std::thread::Builder::new().name("agent-vm-files".to_owned());
    // If there is no thread, the first VM does it.
    let _ = thread.spawn(|| drop(base(|_| true)));
}

fn base(is_current: impl Fn(&Base) -> bool) -> Arc<Base> {
    let mut base = BASE.lock();
    if let Some(base) = base.as_ref().filter(|base| base.is_current() && is_current(base)) {
        return Arc::clone(base);
    }
    Arc::clone(base.insert(Arc::new(Base::look())))
}

/// Changes when what all VMs show has changed.
pub fn generation() -> u64 {
    base(|_| true).generation
}

/// The tree of a VM that sees the host's files at their own paths. Files that have changed since they were checked are
/// checked again.
pub fn tree_in_place(wanted: &HostFiles) -> Result<ShownTree, BootError> {
    let base = base(|base| base.tree.is_current());
    let asked = asked(wanted)?;
    let mut tree = merged(&base.tree, &asked, wanted);
    tree.loose.extend(asked.loose);
    tree.remove_loose();
    Ok(tree)
}

/// The requested files, in their current state.
fn asked(wanted: &HostFiles) -> Result<ShownTree, BootError> {
    let mut tree = ShownTree::default();
    for path in &wanted.etc {
        let at = |source| HostFileError::Unreadable {
            path: path.clone(),
            source,
        };
        let denied = || HostFileError::Denied { path: path.clone() };
        if names::is_refused(Path::new(path)) {
            return Err(denied().into());
        }
        look::ask(&mut tree, path).map_err(at)?;
    }
    Ok(tree)
}

fn merged(base: &ShownTree, asked: &ShownTree, wanted: &HostFiles) -> ShownTree {
    let mut tree = base.clone();
    for (path, node) in &asked.nodes {
        let is_bound = tree::ancestors(path).any(|above| matches!(tree.nodes.get(above), Some(Node::Bind)));
        // Shows its current state instead of the state when everything was checked.
        if !is_bound && (*node != Node::Directory || !tree.shows(path)) {
            tree.nodes.insert(path.clone(), node.clone());
        }
    }
    tree.whole.extend(asked.whole.iter().cloned());
    for path in &wanted.hide {
        tree.hide(path);
    }
    tree
}

/// Everything that a holder's tree depends on.
#[derive(Debug, PartialEq)]
struct Key {
    launch: Specification,
    generation: u64,
    asked: BTreeMap<String, Node>,
    hide: Vec<String>,
    /// Where the VM mounts something: the path, and whether it is a directory.
    points: Vec<(String, bool)>,
}

struct HeldTree {
    key: Key,
    holder: Holder,
    /// The paths of which the holder sends mounts, in order.
    tops: Vec<String>,
    /// Links that are in no top.
    links: Vec<(String, String)>,
}

static HOLDERS: Mutex<Vec<HeldTree>> = Mutex::new(Vec::new());

/// The entries that show the host's files in a root; the descriptors that they name are added to `fds`.
pub fn entries(options: &Options, fds: &mut Vec<OwnedFd>) -> Result<Vec<RootEntry>, BootError> {
    let base = base(|_| true);
    let asked = asked(&options.host_files)?;
    let key = Key {
        launch: Specification::of_holder(options),
        generation: base.generation,
        points: points(options, &base.tree),
        asked: asked.nodes.clone(),
        hide: options.host_files.hide.clone(),
    };
    let mut holders = HOLDERS.lock();
    if let Some(at) = holders.iter().position(|held| held.key == key) {
        let held = holders.remove(at);
        match held.holder.hand_out() {
            Ok(handed) => {
                let entries = held.show(handed, fds);
                holders.push(held);
                return Ok(entries);
            }
            // Somebody has killed it.
            Err(error) => tracing::warn!(?error, "the holder of the host's files is lost"),
        }
    }
    let held = HeldTree::make(key, merged(&base.tree, &asked, &options.host_files))?;
    let entries = held.show(held.holder.hand_out()?, fds);
    // Holders of older generations are not needed any more.
    holders.retain(|other| other.key.generation >= held.key.generation);
    if holders.len() >= HELD {
        holders.remove(0);
    }
    holders.push(held);
    Ok(entries)
}

impl HeldTree {
    fn make(key: Key, mut tree: ShownTree) -> Result<Self, BootError> {
        for (path, node) in etc::own_files(&tree) {
            tree.replace(&path, node);
        }
        let (mut tops, mut links) = (Vec::new(), Vec::new());
        let mut entries = Vec::new();
        for (path, node) in tree.nodes {
            let top = top_of(&path);
            if let (true, Node::Link(target)) = (top == path, &node) {
                links.push((path, target.clone()));
                continue;
            }
            if tops.last() != Some(&top) {
                tops.push(top);
            }
            entries.push(match node {
                Node::Directory => HeldEntry::Directory { path },
                Node::File(file) => HeldEntry::File {
                    path,
                    content: file.content.to_vec().into(),
                    executable: file.is_executable,
                    modified: file.modified,
                },
                Node::Link(target) => HeldEntry::Symlink { path, target },
                Node::Bind => HeldEntry::Bind { path },
            });
        }
        for (path, is_directory) in &key.points {
            entries.push(if *is_directory {
                HeldEntry::Directory { path: path.clone() }
            } else {
                HeldEntry::File {
                    path: path.clone(),
                    content: Vec::new().into(),
                    executable: false,
                    modified: (0, 0),
                }
            });
        }
        let mut sorted: Vec<String> = tops
            .into_iter()
            .chain(key.points.iter().map(|(path, _)| top_of(path)))
            .collect();
        sorted.sort();
        sorted.dedup();
        Ok(Self {
            holder: Holder::start(&key.launch, entries, &sorted)?,
            key,
            tops: sorted,
            links,
        })
    }

    fn show(&self, handed: Vec<OwnedFd>, fds: &mut Vec<OwnedFd>) -> Vec<RootEntry> {
        let binds = self.tops.iter().zip(handed).map(|(top, fd)| {
            fds.push(fd);
            RootEntry::Bind {
                path: top.clone(),
                source: BindSource::Mount((fds.len() - 1) as Attached),
                read_only: true,
            }
        });
        let links = self.links.iter().map(|(path, target)| RootEntry::Symlink {
            path: path.clone(),
            target: target.clone(),
        });
        binds.collect::<Vec<_>>().into_iter().chain(links).collect()
    }
}

/// Paths below the host's files where the VM mounts something, because nothing can be made there later.
fn points(options: &Options, base: &ShownTree) -> Vec<(String, bool)> {
    let mounts = options.mounts.iter().filter(|mount| {
        let path = &mount.path;
        let top = top_of(path);
        top != *path
            && (!top.starts_with("/opt/") || base.nodes.contains_key(&top))
            && names::is_in_tops(path)
    });
    mounts
        .map(|mount| (mount.path.clone(), mount.host_path.is_dir()))
        .collect()
}

/// The directory of the root with which a path is shown: `/etc`, `/var/lib`, `/var/cache`, or one in `/opt`.
fn top_of(path: &str) -> String {
    let names = path
        .split('/')
        .take(if path.starts_with("/etc/") || path == "/etc" {
            2
        } else {
            3
        });
    names.collect::<Vec<_>>().join("/")
}
