//! The ways to a file through the mounts of a mount namespace, as `/proc/self/mountinfo` lists them (`proc_pid_mountinfo(5)`).

use std::ffi::OsString;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use agent_vm_remove_tree::statx;
use nix::errno::Errno;

/// A mount.
#[derive(Debug, PartialEq, Eq)]
pub struct Mounted {
    /// The device of its file system.
    device: Vec<u8>,
    /// The directory or file of the file system that it shows.
    shows: PathBuf,
    /// Its path in the root.
    at: PathBuf,
    is_read_only: bool,
}

/// The number of the mount on which a file is; `None` before Linux 5.8.
pub fn number(fd: BorrowedFd<'_>) -> Result<Option<u64>, Errno> {
    let found = statx(fd, libc::STATX_MNT_ID)?;
    Ok((found.stx_mask & libc::STATX_MNT_ID != 0).then_some(found.stx_mnt_id))
}

/// The mounts in a list; `None` if the list has another form.
pub fn parse(listed: &[u8]) -> Option<Vec<Mounted>> {
    let lines = listed.split(|byte| *byte == b'\n');
    lines
        .filter(|line| !line.is_empty())
        .map(|line| {
            let mut fields = line.split(|byte| *byte == b' ').skip(2);
            Some(Mounted {
                device: fields.next()?.to_vec(),
                shows: path(fields.next()?)?,
                at: path(fields.next()?)?,
                is_read_only: fields
                    .next()?
                    .split(|byte| *byte == b',')
                    .any(|option| option == b"ro"),
            })
        })
        .collect()
}

/// A path in which some bytes are escaped: three octal digits after a backslash.
fn path(escaped: &[u8]) -> Option<PathBuf> {
    let mut bytes = Vec::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first == b'\\' {
            let (digits, after) = rest.split_at_checked(3)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()?);
            rest = after;
        } else {
            bytes.push(first);
        }
    }
    Some(OsString::from_vec(bytes).into())
}

/// Whether a writable mount shows what the read-only mount at `place` shows, or a part of it, at a path that no such
/// read-only mount covers.
pub fn is_open_elsewhere(mounts: &[Mounted], place: &Path) -> bool {
    let is_at = |mounted: &&Mounted| mounted.is_read_only && mounted.at == place;
    // Several mounts can be at one path. Each must be closed elsewhere.
    let mut closed = mounts.iter().filter(is_at).peekable();
    closed.peek().is_none() || closed.any(|closed| mounts.iter().any(|open| leads_to(mounts, open, closed)))
}

fn leads_to(mounts: &[Mounted], open: &Mounted, closed: &Mounted) -> bool {
    if open.is_read_only || open.device != closed.device {
        return false;
    }
    let (at, shows) = if let Ok(below) = closed.shows.strip_prefix(&open.shows) {
        (open.at.join(below), &closed.shows)
    } else if open.shows.starts_with(&closed.shows) {
        (open.at.clone(), &open.shows)
    } else {
        return false;
    };
    // `join` with an empty path leaves a slash at the end, which a comparison of paths ignores.
    let covers = |other: &Mounted| {
        other.is_read_only && other.device == closed.device && other.at == at && other.shows == *shows
    };
    !mounts.iter().any(covers)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A VM with `/host/dir` at `/work`, of which `.git` is pinned and `.git/hooks` protected.
    const PINNED: &str = "\
        1 0 0:9 / / rw - tmpfs none rw\n\
        2 1 8:1 /host/dir /work rw - ext4 /dev/sda rw\n\
        3 2 8:1 /host/dir/.git /work/.git rw,nosuid - ext4 /dev/sda rw\n\
        4 3 8:1 /host/dir/.git/hooks /work/.git/hooks ro,nosuid - ext4 /dev/sda rw\n";

    fn is_open(more: &str) -> bool {
        let mounts = parse(format!("{PINNED}{more}").as_bytes()).expect("the form of the list");
        is_open_elsewhere(&mounts, Path::new("/work/.git/hooks"))
    }

    #[test]
    fn the_mounts_of_the_place_itself_are_no_other_way() {
        assert!(!is_open(""));
        assert!(!is_open("5 1 8:2 /host/dir /other rw - ext4 /dev/sdb rw\n"));
        assert!(!is_open("5 1 8:1 /host/dir /other ro - ext4 /dev/sda rw\n"));
        assert!(!is_open(
            "5 1 8:1 /host/dir/.git/hooks2 /other rw - ext4 /dev/sda rw\n"
        ));
        assert!(!is_open(
            "5 1 8:1 /host/dir/src /work/src rw - ext4 /dev/sda rw\n"
        ));
    }

    #[test]
    fn a_writable_mount_of_it_of_what_is_above_or_of_what_is_below_is_one() {
        for shown in [
            "/",
            "/host",
            "/host/dir",
            "/host/dir/.git",
            "/host/dir/.git/hooks",
            "/host/dir/.git/hooks/x",
        ] {
            assert!(
                is_open(&format!("5 1 8:1 {shown} /other rw - ext4 /dev/sda rw\n")),
                "{shown}"
            );
        }
    }

    #[test]
    fn a_place_that_is_not_mounted_read_only_is_open() {
        let mounts = parse(PINNED.as_bytes()).expect("the form of the list");
        assert!(is_open_elsewhere(&mounts, Path::new("/work/.git")));
        assert!(is_open_elsewhere(&mounts, Path::new("/work/none")));
    }

    #[test]
    fn escaped_bytes_are_part_of_a_path() {
        let mounts = parse(b"1 0 8:1 /a\\040b\\134 /c\\011d ro - ext4 x rw\n").expect("the form of the list");
        assert_eq!(mounts[0].shows, Path::new("/a b\\"));
        assert_eq!(mounts[0].at, Path::new("/c\td"));
        assert_eq!(parse(b"1 0 8:1 /a\\04 /c ro"), None);
        assert_eq!(parse(b"1 0 8:1"), None);
    }
}
