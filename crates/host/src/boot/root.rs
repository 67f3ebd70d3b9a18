//! The contents of a VM's root file system.
//!
//! The root shows the host's programs read-only: `/usr` and what belongs with it, and the settings and data of
//! installed programs ([`host_files`](super::host_files)). It has its own files where the host's would reveal something
//! about the host ([`etc`]).

use std::fs;
use std::sync::OnceLock;

use agent_vm_protocol::message::{BindSource, RootEntry};

use super::directories::{Rootfs, depth};
use super::host_files::ShownTree;
use super::options::Options;
use super::own_paths::{HOME, PRIVATE_DIRECTORIES, PROGRAM_DIRECTORIES, ROOT_HOME, RUN, SOFTWARE_BINS, USR};
use super::server_node::ServerNode;
use super::{etc, explain, packages};

/// The directory for lock files, in a private directory; `/var/lock` links to it.
const LOCKS: &str = "/run/lock";

const VAR_LINKS: [(&str, &str); 2] = [("/var/run", "../run"), ("/var/lock", "../run/lock")];

/// The entries of the root, in the order in which they are made. `rootfs` is the directory to which they are added,
/// `files` are the settings and data of installed programs, `node` is the server's Node.js, `shown` are host
/// directories.
pub fn entries(
    options: &Options,
    rootfs: Option<&Rootfs>,
    files: Vec<RootEntry>,
    node: Vec<RootEntry>,
    shown: Vec<RootEntry>,
) -> Vec<RootEntry> {
    let mut entries = match rootfs {
        Some(rootfs) => {
            let mut entries: Vec<_> = etc::tables(options, rootfs).into();
            entries.extend(packages::entries(options, rootfs));
            entries
        }
        None => host_programs_once().to_vec(),
    };
    entries.extend(files);
    entries.extend(etc::names(options, rootfs));
    if rootfs.is_none() {
        entries.extend(VAR_LINKS.map(|(path, target)| RootEntry::Symlink {
            path: path.to_owned(),
            target: target.to_owned(),
        }));
        entries.extend(node);
        entries.extend(explain::entries(options));
    }
    entries.extend(options.bins.iter().map(|(name, target)| RootEntry::Symlink {
        path: format!("{SOFTWARE_BINS}/{name}"),
        target: target.clone(),
    }));
    let mut last: Vec<_> = PRIVATE_DIRECTORIES
        .iter()
        .filter(|(path, _)| *path != HOME || options.home.is_none())
        .map(|&(path, mode)| RootEntry::Private {
            path: path.to_owned(),
            mode,
            asked: false,
            of_user: path == HOME,
            kept: path != RUN,
        })
        .chain(roots_home(options, rootfs))
        .chain(locks(options))
        .chain(options.directories.iter().map(|path| RootEntry::Private {
            path: path.clone(),
            mode: 0o755,
            asked: true,
            of_user: true,
            kept: true,
        }))
        .chain(shown)
        .collect();
    // A mount below another one is made after it, so that it is not hidden.
    last.sort_by_key(|entry| depth(entry.path()));
    entries.extend(last);
    entries
}

/// The host's files and directories that a VM may read and execute if it sees them at their own paths.
pub fn readable(options: &Options, files: &ShownTree) -> Vec<String> {
    let mut paths: Vec<String> = host_programs_once()
        .iter()
        // A link can always be followed; whether its target can be read is a separate question.
        .filter(|entry| matches!(entry, RootEntry::Bind { .. } | RootEntry::File { .. }))
        .map(|entry| entry.path().to_owned())
        .collect();
    paths.extend(files.readable());
    paths.extend(options.node.iter().flat_map(ServerNode::paths));
    paths
}

fn host_programs_once() -> &'static [RootEntry] {
    static HOST: OnceLock<Vec<RootEntry>> = OnceLock::new();
    HOST.get_or_init(host_programs)
}

/// `/usr` and what belongs with it; the host is read once.
fn host_programs() -> Vec<RootEntry> {
    let mut entries = vec![bind(USR)];
    for path in PROGRAM_DIRECTORIES {
        match fs::symlink_metadata(path) {
            Ok(found) if found.is_symlink() => {
                if let Ok(target) = fs::read_link(path) {
                    entries.push(RootEntry::Symlink {
                        path: path.to_owned(),
                        target: target.to_string_lossy().into_owned(),
                    });
                }
            }
            Ok(found) if found.is_dir() => entries.push(bind(path)),
            _ => {}
        }
    }
    entries
}

/// A home for root, unless the VM has no root or the root file system has the directory.
fn roots_home(options: &Options, rootfs: Option<&Rootfs>) -> Option<RootEntry> {
    let has_one = rootfs.is_some_and(|rootfs| rootfs.has_roots_home);
    (options.ids.is_some() && !has_one).then(|| RootEntry::Private {
        path: ROOT_HOME.to_owned(),
        mode: 0o700,
        asked: false,
        of_user: false,
        kept: true,
    })
}

/// `None` if the caller shows another /run.
fn locks(options: &Options) -> Option<RootEntry> {
    let is_shown = options
        .mounts
        .iter()
        .any(|mount| ["/run", LOCKS].contains(&mount.path.as_str()));
    (!is_shown).then(|| RootEntry::Directory {
        path: LOCKS.to_owned(),
    })
}

fn bind(path: &str) -> RootEntry {
    RootEntry::Bind {
        path: path.to_owned(),
        source: BindSource::Path(path.to_owned()),
        read_only: true,
    }
}
