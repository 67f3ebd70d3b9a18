//! The cgroup v2 directory that names a VM's processes.
//!
//! Where the host has one to give, each VM gets a directory of the cgroup v2 hierarchy, owned by the VM's user, in which
//! init makes one for every command: `cgroup.kill` then takes all that the command started, whatever it did to hide. The
//! hierarchy needs no controllers for that, so it serves on hosts that keep those in v1 as well.
//!
//! The guest has no path to the hierarchy: it is not mounted inside.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// A VM's directory; removed with all below it when dropped, which must be after the VM's last process is gone.
#[derive(Debug)]
pub struct VmCgroup {
    path: PathBuf,
    fd: OwnedFd,
}

impl VmCgroup {
    /// Makes a directory for a VM whose user is `owner`, or gives none where the host has no place for it.
    pub fn make(owner: u32) -> Option<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let parent = parent()?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("agent-vm-{}-{number}", std::process::id()));
        match Self::make_at(&path, owner) {
            Ok(cgroup) => Some(cgroup),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "no cgroup for the VM");
                None
            }
        }
    }

    fn make_at(path: &Path, owner: u32) -> io::Result<Self> {
        match fs::create_dir(path) {
            // A server of this pid died and left it; whatever it held died with that server's VM.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                remove_tree(path)?;
                fs::create_dir(path)?;
            }
            other => other?,
        }
        let made = (|| {
            // The kernel wants write permission on both ends of a move, and on what they have in common.
            for file in ["", "cgroup.procs"] {
                chown(path.join(file), Some(owner), Some(owner))?;
            }
            Ok(File::open(path)?.into())
        })();
        match made {
            Ok(fd) => Ok(Self {
                path: path.to_owned(),
                fd,
            }),
            Err(error) => {
                fs::remove_dir(path)?;
                Err(error)
            }
        }
    }
}

impl AsFd for VmCgroup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for VmCgroup {
    fn drop(&mut self) {
        if let Err(error) = remove_tree(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "a VM's cgroup was left behind");
        }
    }
}

/// Removes a cgroup and those below it. The files in it are the kernel's and go with it.
fn remove_tree(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    fs::remove_dir(path)
}

/// Where VMs' directories go: this process's own cgroup if it may make children there, found once.
pub fn parent() -> Option<&'static Path> {
    static PARENT: OnceLock<Option<PathBuf>> = OnceLock::new();
    PARENT.get_or_init(find_parent).as_deref()
}

fn find_parent() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let mount = cgroup2_mount(&mounts)?;
    let own = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    let path = Path::new(&mount).join(own.trim_start_matches('/'));
    // `cgroup.kill` came with Linux 5.14; without it the directory names a family but cannot end it.
    let probe = path.join(format!("agent-vm-probe-{}", std::process::id()));
    fs::create_dir(&probe).ok()?;
    let usable = probe.join("cgroup.kill").exists();
    fs::remove_dir(&probe).ok()?;
    usable.then_some(path)
}

/// The mount point of the cgroup v2 hierarchy (`proc_pid_mountinfo(5)`).
fn cgroup2_mount(mountinfo: &str) -> Option<String> {
    mountinfo.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        after
            .starts_with("cgroup2 ")
            .then(|| before.split(' ').nth(4).map(str::to_owned))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unified_hierarchy_is_found_beside_version_one() {
        let table = "30 25 0:26 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro\n\
                     31 30 0:27 / /sys/fs/cgroup/unified rw,nosuid shared:10 - cgroup2 cgroup2 rw\n\
                     32 30 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n";
        assert_eq!(cgroup2_mount(table).as_deref(), Some("/sys/fs/cgroup/unified"));
        assert_eq!(
            cgroup2_mount("32 30 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"),
            None
        );
    }
}
