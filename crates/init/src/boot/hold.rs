//! A holder: a process that makes a tree of files once, in its own mount namespace, and sends mounts of it.
//!
//! It keeps the rights over its namespaces that cloning mounts needs, and runs no program.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use agent_vm_mount::{attach_mount, attr, clone_mount, new_mount, restrict_mount};
use agent_vm_protocol::message::{BindSource, BootStep, HeldEntry, Hold};
use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;
use nix::sys::prctl;
use nix::sys::stat::{Mode, SFlag, futimens, mkdirat};
use nix::sys::time::TimeSpec;
use nix::unistd::symlinkat;

use super::entry::source_mount;
use super::error::{At, BootError};
use super::identity;
use super::place::{FILE, RootPlace, SCRIPT, kind, new_file, open_path};
use crate::control::Attachments;

/// Options of the tmpfs, with room for copies of small files.
const OPTIONS: [(&CStr, &CStr); 3] = [(c"mode", c"0755"), (c"size", c"64m"), (c"nr_inodes", c"65536")];

const DIRECTORY: Mode = Mode::from_bits_truncate(0o755);

/// A directory of the tree.
struct Parent {
    path: String,
    fd: OwnedFd,
}

/// The tree, attached at a place where the kernel allows its mounts to be cloned.
#[derive(Debug)]
pub struct HeldFiles {
    tops: Vec<OwnedFd>,
}

impl HeldFiles {
    /// Makes the tree in this process's mount namespace.
    pub fn make(hold: &Hold) -> Result<Self, BootError> {
        identity::take(hold.take_id)?;
        nix::sys::stat::umask(Mode::empty());
        let stage_fd = new_mount(c"tmpfs", &OPTIONS, attr::NOSUID | attr::NODEV).at(BootStep::MountHeld)?;
        // Only an attached mount can be cloned. Nothing here needs /proc.
        let place_fd = open_path(AT_FDCWD, c"/proc").at(BootStep::OpenHostProc)?;
        attach_mount(&stage_fd, &place_fd).at(BootStep::AttachHeld)?;
        let mut last = None;
        for entry in &hold.entries {
            match make(stage_fd.as_fd(), &mut last, entry) {
                Ok(()) => {}
                Err(errno @ (Errno::ENOSPC | Errno::ENOMEM | Errno::EMFILE | Errno::ENFILE)) => {
                    return Err(errno).at(BootStep::CopyHeld);
                }
                // The file was removed meanwhile, or its parent is not a directory: a VM that needs to mount on it
                // reports that.
                Err(errno) => crate::sys::log(&BootError::of(BootStep::ShowHeld, errno)),
            }
        }
        let tops = hold.tops.iter().map(|path| top(stage_fd.as_fd(), path));
        let tops = tops.collect::<Result<_, Errno>>().at(BootStep::FindHeld)?;
        prctl::set_dumpable(false).at(BootStep::HideHolder)?;
        Ok(Self { tops })
    }

    /// Detached, read-only mounts of the tops.
    pub fn hand_out(&self) -> Result<Vec<OwnedFd>, BootError> {
        let clone = |top: &OwnedFd| {
            let mount_fd = clone_mount(top.as_fd(), c"", true)?;
            restrict_mount(mount_fd.as_fd(), attr::NOSUID | attr::NODEV | attr::RDONLY, true)?;
            Ok(mount_fd)
        };
        let mounts: Result<_, Errno> = self.tops.iter().map(clone).collect();
        mounts.at(BootStep::CloneHeld)
    }
}

fn top(stage_fd: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Errno> {
    let place = RootPlace::of(stage_fd, path, false)?;
    match open_path(place.parent_fd.as_fd(), &place.name) {
        Err(Errno::ENOENT) => place.directory(),
        other => other,
    }
}

/// Makes an entry. `last` is the directory of the previous entry, where the next one is likely to be.
fn make(stage_fd: BorrowedFd<'_>, last: &mut Option<Parent>, entry: &HeldEntry) -> Result<(), Errno> {
    let path = entry.path();
    let (parent, name) = path.rsplit_once('/').ok_or(Errno::EINVAL)?;
    let directory = match last.take() {
        Some(directory) if directory.path == parent => directory,
        _ => Parent {
            path: parent.to_owned(),
            fd: RootPlace::of(stage_fd, path, false)?.parent_fd,
        },
    };
    let fd = last.insert(directory).fd.as_fd();
    let name = CString::new(name).map_err(|_| Errno::EINVAL)?;
    match entry {
        HeldEntry::Directory { .. } => match mkdirat(fd, &*name, DIRECTORY) {
            Err(Errno::EEXIST) => Ok(()),
            other => other,
        },
        HeldEntry::File {
            content,
            executable,
            modified,
            ..
        } => {
            let mode = if *executable { SCRIPT } else { FILE };
            let fd = new_file(fd, &name, content.as_ref(), mode)?;
            let time = TimeSpec::new(modified.0, modified.1);
            futimens(&fd, &time, &time)
        }
        HeldEntry::Symlink { target, .. } => symlinkat(target.as_str(), fd, &*name),
        HeldEntry::Bind { .. } => {
            let source = BindSource::Path(path.to_owned());
            let mount_fd = source_mount(&source, true, &mut Attachments::new(Vec::new()))?;
            let place = RootPlace::of(stage_fd, path, false)?;
            let target_fd = match kind(mount_fd.as_fd())? {
                SFlag::S_IFDIR => place.directory()?,
                SFlag::S_IFREG => place.file()?,
                _ => return Err(Errno::EINVAL),
            };
            attach_mount(&mount_fd, &target_fd)
        }
    }
}
