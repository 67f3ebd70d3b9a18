//! Which processes of a VM hold sockets.

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use crate::process_table::Member;

/// The maximum number of descriptors that one search looks at. A VM can have millions.
const MOST_DESCRIPTORS: usize = 65_536;

/// The result of a search.
#[derive(Debug, Default)]
pub struct Holders {
    /// For each socket's inode, the process that holds it; of several, the one that started first.
    pub pids: HashMap<u64, u32>,
    /// Whether the kernel let this process look at no process at all, although there are some.
    pub hidden: bool,
}

/// Finds the holders of the sockets with these inodes. `members` are in the order of their starts. Fails if the server has no
/// free descriptor.
pub fn holders(proc_fd: &OwnedFd, members: &[Member], mut wanted: HashSet<u64>) -> io::Result<Holders> {
    let mut found = Holders::default();
    let (mut seen, mut refused) = (false, false);
    let mut left = MOST_DESCRIPTORS;
    for member in members {
        if wanted.is_empty() || left == 0 {
            break;
        }
        let Some(directory) = member.directory(proc_fd)? else {
            continue;
        };
        let descriptors = match directory.descriptors() {
            Ok(descriptors) => descriptors,
            Err(error) => {
                match error.raw_os_error() {
                    Some(libc::EMFILE | libc::ENFILE) => return Err(error),
                    Some(libc::EACCES | libc::EPERM) => refused = true,
                    _ => {}
                }
                continue;
            }
        };
        seen = true;
        for descriptor in descriptors.into_iter().take(left) {
            left -= 1;
            let link = directory.link(&format!("fd/{descriptor}"));
            if let Some(inode) = link.and_then(|link| socket_inode(link.as_bytes()))
                && wanted.remove(&inode)
            {
                found.pids.insert(inode, member.pid as u32);
            }
        }
    }
    found.hidden = refused && !seen;
    Ok(found)
}

/// The inode in `socket:[1234]`.
fn socket_inode(link: &[u8]) -> Option<u64> {
    let digits = link.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_socket_has_an_inode() {
        assert_eq!(socket_inode(b"socket:[17]"), Some(17));
        for link in [
            &b"pipe:[17]"[..],
            b"/tmp/socket:[17]",
            b"socket:[17] (deleted)",
            b"socket:[x]",
        ] {
            assert_eq!(socket_inode(link), None);
        }
    }
}
