//! The root file system: a small tmpfs with the entries that the host asked for; in the end it is read-only.
//!
//! It is mounted over the host's root, filled through its descriptor, and then becomes the root by `pivot_root`. Every
//! target is resolved with `RESOLVE_IN_ROOT`, so that a link in a directory that an earlier VM wrote to cannot lead a
//! mount elsewhere.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use agent_vm_mount::{attach_mount, attr, new_mount, restrict_mount};
use agent_vm_protocol::message::{Boot, BootStep, InnerIds, ProgramUser, RootEntry};
use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;
use nix::mount::{MntFlags, umount2};
use nix::sys::stat::stat;
use nix::unistd::{chdir, fchdir, pivot_root};

use super::entry::{make, refused, source_mount};
use super::error::{At, BootError};
use super::place::open_path;
use super::private::{OwnLayer, Private};
use super::{cgroups, devices, identity, protect, rootfs};
use crate::control::Attachments;
use crate::family::Cgrouping;
use crate::mediate::OwnMounts;

/// Options of the tmpfs, with room for the entries themselves: small files, directories and links.
const ROOT_OPTIONS: [(&CStr, &CStr); 3] = [(c"mode", c"0755"), (c"size", c"16m"), (c"nr_inodes", c"16384")];

/// A root that is mounted over the host's and is not the root yet.
pub struct Root {
    /// Its mount.
    pub fd: OwnedFd,
    /// Whether it is writable, in a layer of the VM.
    layered: bool,
    /// The writable mounts in it that belong to the VM.
    pub own_mounts: OwnMounts,
    /// A directory of the file system that all its private directories share.
    pub private_fd: OwnedFd,
    /// That file system as a layer for other VMs; `None` before Linux 6.15.
    pub layer: Option<OwnLayer>,
    /// The places in writable mounts that are read-only.
    pub protected: protect::Places,
}

/// Whether the root shows host directories or files that the caller named.
pub fn shows_host(boot: &Boot) -> bool {
    boot.root
        .iter()
        .any(|entry| matches!(entry, RootEntry::Mount { .. }))
}

/// Builds the root over the host's root, and attaches `cgrouping`'s directories where they are detached together with
/// it.
pub fn build(boot: &Boot, attachments: &mut Attachments, cgrouping: &Cgrouping) -> Result<Root, BootError> {
    let host_root_fd = open_path(AT_FDCWD, c"/").at(BootStep::OpenHostRoot)?;
    // The tmpfs must be attached so that its directories can be bound. It is attached on the host's /proc, which
    // nothing below needs any more, and is detached with the host's root. Unmounting it separately would make the
    // kernel wait for all processors again.
    let disk_fd = match &boot.disk {
        Some(disk) => Some(source_mount(&disk.files, false, attachments).at(BootStep::OpenDisk)?),
        None => None,
    };
    let has_users = boot.inner_ids == Some(InnerIds::Range);
    let mut private = Private::mount(boot.limits.disk_bytes, disk_fd, has_users)?;
    let host_proc_fd = open_path(AT_FDCWD, c"/proc").at(BootStep::OpenHostProc)?;
    private.attach(&host_proc_fd, &boot.layers, attachments)?;
    for directory_fd in cgroups::directories(cgrouping) {
        let place_fd = private.stage(0o700).at(BootStep::AttachCgroup)?;
        attach_mount(directory_fd, &place_fd).at(BootStep::AttachCgroup)?;
    }
    let lower_fd = match &boot.rootfs {
        Some(source) => Some(source_mount(source, false, attachments).at(BootStep::OpenRootfs)?),
        None => None,
    };
    let layered_fd = match &lower_fd {
        Some(lower_fd) => rootfs::layer(lower_fd, &mut private, &boot.root, attachments)?,
        None => None,
    };
    let layered = layered_fd.is_some();
    let root_fd = match layered_fd {
        Some(fd) => fd,
        None => empty()?,
    };
    attach_mount(&root_fd, &host_root_fd).at(BootStep::AttachRoot)?;
    // The directory that is shown without a layer.
    let plain_fd = lower_fd.filter(|_| !layered);
    if let Some(plain_fd) = &plain_fd {
        rootfs::show(root_fd.as_fd(), plain_fd.as_fd(), &boot.root)?;
    }

    for entry in &boot.root {
        // A directory may be inside a private one, which is mounted.
        let is_mount = !matches!(
            entry,
            RootEntry::File { .. }
                | RootEntry::Script { .. }
                | RootEntry::Symlink { .. }
                | RootEntry::Links { .. }
        );
        // In a directory of the host nobody but its owner makes anything.
        let as_owner = owner(boot).filter(|_| is_below_mount(entry, &boot.root));
        if let Some(owner) = as_owner {
            identity::use_files_as(owner)?;
        }
        let made = if plain_fd.is_some() {
            rootfs::make_in_plain(root_fd.as_fd(), &mut private, entry, attachments)
        } else if is_mount || !layered {
            make(root_fd.as_fd(), &mut private, entry, attachments)
        } else {
            Ok(())
        };
        made.map_err(|errno| refused(entry, errno))?;
        if as_owner.is_some() {
            identity::use_files_as(identity::ROOT)?;
        }
    }
    let protected = protect::protect(root_fd.as_fd(), &mut private, &boot.root)?;
    let shm_fd = private.directory(0o1777).at(BootStep::MakePrivateShm)?;
    if layered {
        // The directory has a /dev of its own, whose nodes are not usable devices here.
        let dev_fd = private.directory(0o755).at(BootStep::MakePrivateDev)?;
        attach_mount(
            &dev_fd,
            open_path(root_fd.as_fd(), c"dev").at(BootStep::MakePrivateDev)?,
        )
        .at(BootStep::MakePrivateDev)?;
        devices::make(root_fd.as_fd(), shm_fd.as_fd(), boot.limits.terminals)?;
        restrict_mount(dev_fd.as_fd(), attr::RDONLY, false).at(BootStep::RestrictDev)?;
    } else {
        devices::make(root_fd.as_fd(), shm_fd.as_fd(), boot.limits.terminals)?;
    }
    let (mut own_mounts, layer) = private.into_parts().at(BootStep::LookAtPrivate)?;
    if layered {
        own_mounts.add(root_fd.as_fd()).at(BootStep::LookAtRoot)?;
    }
    Ok(Root {
        fd: root_fd,
        layered,
        own_mounts,
        private_fd: shm_fd,
        layer,
        protected,
    })
}

/// The uid and gid of who owns shown directories, where users are real.
fn owner(boot: &Boot) -> Option<(u32, u32)> {
    match &boot.user {
        ProgramUser::Numbers(user) => Some((user.uid, user.gid)),
        ProgramUser::User | ProgramUser::Root => None,
    }
}

/// Whether the entry is in a directory of the host that another entry shows.
fn is_below_mount(entry: &RootEntry, entries: &[RootEntry]) -> bool {
    let path = Path::new(entry.path());
    entries.iter().any(|other| {
        let above = Path::new(other.path());
        matches!(other, RootEntry::Mount { .. }) && path != above && path.starts_with(above)
    })
}

/// A new, empty root.
fn empty() -> Result<OwnedFd, BootError> {
    new_mount(c"tmpfs", &ROOT_OPTIONS, attr::NOSUID | attr::NODEV).at(BootStep::MountRoot)
}

/// Makes it the root, read-only unless it has a layer for writes, and detaches the host's root.
pub fn enter(root: &Root) -> Result<(), BootError> {
    fchdir(&root.fd).at(BootStep::ChangeToRoot)?;
    // Both paths are the same: the old root is then mounted over the new one, and "." names the old one.
    pivot_root(".", ".").at(BootStep::PivotRoot)?;
    umount2(".", MntFlags::MNT_DETACH).at(BootStep::DetachHostRoot)?;
    if !root.layered {
        restrict_mount(root.fd.as_fd(), attr::RDONLY, false).at(BootStep::RestrictRoot)?;
    }
    chdir("/").at(BootStep::ChangeToSlash)?;
    // If anything of the host had stayed below or above the root, this check would find it.
    let (here, above) = (
        stat("/").at(BootStep::LookAtRoot)?,
        stat("/..").at(BootStep::LookAboveRoot)?,
    );
    if (here.st_dev, here.st_ino) != (above.st_dev, above.st_ino) {
        return Err(Errno::EXDEV).at(BootStep::LeaveHostRoot);
    }
    Ok(())
}
