//! Opens the server's own Node.js to show it.

use std::os::fd::OwnedFd;
use std::path::Path;

use agent_vm_protocol::message::{Attached, BindSource, RootEntry};

use super::error::DirectoryError;
use super::opened::{Access, Opened, Wanted};
use crate::boot::own_paths::NODE;
use crate::boot::server_node::ServerNode;
use crate::boot::user::GuestIds;

/// The root's entries for it: links if `/usr` contains it, otherwise read-only binds. `ids` and `fds` are as for
/// [`entries`](super::entries).
pub fn node_entries(
    node: &ServerNode,
    ids: Option<GuestIds>,
    fds: &mut Vec<OwnedFd>,
) -> Result<Vec<RootEntry>, DirectoryError> {
    let mut entries = vec![show(&node.executable, &format!("{NODE}/bin/node"), ids, fds)?];
    if let Some(npm) = &node.npm {
        entries.push(show(npm, &format!("{NODE}/lib/node_modules/npm"), ids, fds)?);
        for (command, script) in [("npm", "npm-cli.js"), ("npx", "npx-cli.js")] {
            entries.push(RootEntry::Symlink {
                path: format!("{NODE}/bin/{command}"),
                target: format!("../lib/node_modules/npm/bin/{script}"),
            });
        }
    }
    Ok(entries)
}

fn show(
    source: &Path,
    path: &str,
    ids: Option<GuestIds>,
    fds: &mut Vec<OwnedFd>,
) -> Result<RootEntry, DirectoryError> {
    let path = path.to_owned();
    if source.starts_with("/usr") {
        let target = source.to_string_lossy().into_owned();
        Ok(RootEntry::Symlink { path, target })
    } else {
        Ok(RootEntry::Bind {
            path,
            source: installed(source, ids, fds)?,
            read_only: true,
        })
    }
}

/// A part of the server's installation, to show read-only. A root server opens it for init, because init may not be
/// allowed to search the directories above it: version managers put Node.js into root's home. `ids` and `fds` are as for
/// [`node_entries`].
fn installed(
    path: &Path,
    ids: Option<GuestIds>,
    fds: &mut Vec<OwnedFd>,
) -> Result<BindSource, DirectoryError> {
    let opened = Opened::at(path, Wanted::Anything)?;
    if ids.is_none() || !opened.is_open_to_others() {
        return opened.into_source(ids, Access::Read, fds);
    }
    // Then the owner does not matter, and mapping owners would cost a user namespace.
    match opened.clone_mount(true) {
        Ok(mount_fd) => {
            let index = fds.len() as Attached;
            fds.push(mount_fd);
            Ok(BindSource::Mount(index))
        }
        // Init opens it with the rights in its own namespace, if it can search the path.
        Err(DirectoryError::Right { .. }) if opened.is_reached_by_others()? => {
            opened.into_source(None, Access::Read, fds)
        }
        Err(error) => Err(error),
    }
}
