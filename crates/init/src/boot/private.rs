//! The VM's files that are not in the root's own file system: a tmpfs for all private directories.
//!
//! What is kept when the VM becomes a layer below other VMs is in two of its directories, at the same paths as in the VM:
//! [`KEPT`] has the private directories, [`ROOT`] what was written to a root that the caller brought.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};

use agent_vm_mount::{attach_mount, attr, clone_mount, new_mount, restrict_mount};
use agent_vm_protocol::message::{BootStep, Layers};
use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{Mode, SFlag, fstatat, mkdirat};
use nix::sys::statfs::fstatfs;
use nix::unistd::{Gid, Uid, fchdir, fchownat};

use super::error::{At, BootError};
use super::identity::USER;
use super::place::{FILE, RootPlace, c_string, directory, kind, new_file, open_path};
use crate::control::Attachments;
use crate::mediate::OwnMounts;

/// Private directories that are kept.
const KEPT: &CStr = c"kept";

/// What was written to a root that the caller brought.
pub const ROOT: &CStr = c"root";

/// The directories of a layer.
pub const PARTS: [&CStr; 2] = [KEPT, ROOT];

/// For the overlay over the [`KEPT`] of earlier layers.
const WORK: &CStr = c"work";

/// Where the [`ROOT`] of each earlier layer is attached.
const ROOTS: &CStr = c"roots";

/// The tmpfs as a layer for other VMs.
#[derive(Debug)]
pub struct OwnLayer {
    /// Its mount, which was never attached.
    fd: OwnedFd,
    /// What it was when the root was complete, if changes show.
    at_first: Option<State>,
}

/// What shows changes of a file system: its blocks, its files, and when [`ROOT`] was changed.
#[derive(Debug, PartialEq, Eq)]
struct State {
    blocks: u64,
    files: u64,
    root: Option<(i64, i64)>,
}

impl OwnLayer {
    /// A copy of its mount.
    pub fn share(&self) -> Result<OwnedFd, Errno> {
        self.fd.try_clone().map_err(|error| crate::sys::errno_of(&error))
    }

    /// Whether it is certain that nothing was written to it.
    pub fn is_unchanged(&self) -> bool {
        self.at_first.is_some() && State::of(&self.fd).ok() == self.at_first
    }
}

impl State {
    fn of(fd: &OwnedFd) -> Result<Self, Errno> {
        let found = fstatfs(fd)?;
        let root = match fstatat(fd, ROOT, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(root) => Some((root.st_ctime, root.st_ctime_nsec)),
            Err(Errno::ENOENT) => None,
            Err(errno) => return Err(errno),
        };
        Ok(Self {
            blocks: found.blocks().saturating_sub(found.blocks_free()),
            files: found.files().saturating_sub(found.files_free()),
            root,
        })
    }
}

/// The tmpfs that contains every private directory, so that they share its size; those that are kept are on the host's disk where the
/// VM has one.
pub struct Private {
    /// The tmpfs, which is attached while the root is made.
    stage_fd: OwnedFd,
    /// The directory on the disk, which is attached then, too.
    disk_fd: Option<OwnedFd>,
    /// The same tmpfs as a mount that was never attached, which other VMs can clone; `None` before Linux 6.15.
    layer_fd: Option<OwnedFd>,
    /// The private directories that are kept: [`KEPT`], or an overlay of it over those of earlier layers.
    kept_fd: Option<OwnedFd>,
    /// The [`ROOT`] of each earlier layer that has one, the newest first: the name at which it is attached in [`ROOTS`], and
    /// the mount.
    roots: Vec<(String, OwnedFd)>,
    made: u32,
    /// Whether every change makes a file in it: a copy of what is changed, or a mark that it is removed. So it is above other
    /// layers, if it has no directory for programs that none of them has.
    shows_changes: bool,
    /// Whether the VM's users are real, so that most of its directories are root's.
    users: bool,
    /// The directories of it that programs see.
    shown: OwnMounts,
}

impl Private {
    /// Makes it, with room for `bytes`. What is kept is in the directory `disk_fd`, a detached mount, if there is one.
    pub fn mount(bytes: u64, disk_fd: Option<OwnedFd>, users: bool) -> Result<Self, BootError> {
        let size = c_string(&bytes.to_string()).at(BootStep::SizePrivate)?;
        // An empty file costs the kernel about 1 KiB that `size` does not count; this limits that too.
        let inodes = c_string(&(bytes / 4096).clamp(1024, 1 << 20).to_string()).at(BootStep::SizePrivate)?;
        let options = [
            (c"mode", c"0755"),
            (c"size", size.as_c_str()),
            (c"nr_inodes", inodes.as_c_str()),
        ];
        let mount_fd =
            new_mount(c"tmpfs", &options, attr::NOSUID | attr::NODEV).at(BootStep::MountPrivate)?;
        let (stage_fd, layer_fd) = match clone_mount(mount_fd.as_fd(), c"", false) {
            Ok(stage_fd) => (stage_fd, Some(mount_fd)),
            Err(_) => (mount_fd, None),
        };
        if let Some(disk_fd) = &disk_fd {
            restrict_mount(disk_fd.as_fd(), attr::NOSUID | attr::NODEV, false).at(BootStep::MountPrivate)?;
        }
        Ok(Self {
            stage_fd,
            // Nothing that is kept is in the tmpfs then.
            layer_fd: layer_fd.filter(|_| disk_fd.is_none()),
            disk_fd,
            kept_fd: None,
            roots: Vec::new(),
            made: 0,
            shows_changes: false,
            users,
            shown: OwnMounts::default(),
        })
    }

    /// Attaches it at a place where nothing sees it, and lays it over `layers`.
    pub fn attach(
        &mut self,
        place_fd: &OwnedFd,
        layers: &Layers,
        attachments: &mut Attachments,
    ) -> Result<(), BootError> {
        attach_mount(&self.stage_fd, place_fd).at(BootStep::AttachPrivate)?;
        if let Some(disk_fd) = &self.disk_fd {
            let place_fd = directory(self.stage_fd.as_fd(), c"disk").at(BootStep::AttachPrivate)?;
            attach_mount(disk_fd, &place_fd).at(BootStep::AttachPrivate)?;
        }
        let kept_fd = self.place(KEPT)?;
        let mut lower = Vec::new();
        if !layers.mounts.is_empty() {
            self.shows_changes = true;
            let (below_fd, earlier_fd) = (self.place(c"below")?, self.place(ROOTS)?);
            for (number, &index) in layers.mounts.iter().enumerate() {
                let mount_fd = attachments
                    .take(index)
                    .ok_or(Errno::EBADF)
                    .at(BootStep::AttachLayers)?;
                let name = c_string(&number.to_string()).at(BootStep::AttachLayers)?;
                // A clone of a part of it, with the owners that the host has mapped.
                let attach = |part: &CStr, below_fd: &OwnedFd| {
                    let part_fd = match clone_mount(mount_fd.as_fd(), part, false) {
                        Err(Errno::ENOENT) => return Ok(None),
                        part_fd => part_fd?,
                    };
                    restrict_mount(part_fd.as_fd(), attr::RDONLY | attr::NOSUID | attr::NODEV, false)?;
                    attach_mount(&part_fd, &directory(below_fd.as_fd(), &name)?)?;
                    Ok(Some(part_fd))
                };
                if attach(KEPT, &below_fd).at(BootStep::AttachLayers)?.is_some() {
                    lower.push(number.to_string());
                }
                let root_fd = attach(ROOT, &earlier_fd).at(BootStep::AttachLayers)?;
                self.roots
                    .extend(root_fd.map(|root_fd| (number.to_string(), root_fd)));
            }
            if !lower.is_empty() {
                self.kept_fd = Some(self.stack(&below_fd, &lower)?);
                return Ok(());
            }
        }
        self.kept_fd = Some(kept_fd);
        Ok(())
    }

    /// Mounts its [`KEPT`] over the earlier ones in `below_fd`, where programs do not see it.
    fn stack(&self, below_fd: &OwnedFd, lower: &[String]) -> Result<OwnedFd, BootError> {
        self.place(WORK)?;
        let place_fd = self.place(c"stacked")?;
        fchdir(below_fd).at(BootStep::StackLayers)?;
        let lower = c_string(&lower.join(":")).at(BootStep::StackLayers)?;
        let options = [
            (c"lowerdir", lower.as_c_str()),
            (c"upperdir", c"../kept"),
            (c"workdir", c"../work"),
            (c"userxattr", c""),
        ];
        let stacked_fd =
            new_mount(c"overlay", &options, attr::NOSUID | attr::NODEV).at(BootStep::StackLayers)?;
        attach_mount(&stacked_fd, &place_fd).at(BootStep::StackLayers)?;
        Ok(stacked_fd)
    }

    /// Whether the VM's users are real.
    pub fn has_users(&self) -> bool {
        self.users
    }

    /// What was written to the root in earlier layers, the newest first: the name at which each is attached in the
    /// directory [`roots_place`](Self::roots_place), and its mount.
    pub fn earlier_roots(&self) -> &[(String, OwnedFd)] {
        &self.roots
    }

    /// The directory beside [`ROOT`] for the layers below it.
    pub fn roots_place(&self) -> Result<OwnedFd, BootError> {
        self.place(ROOTS)
    }

    /// A directory for what is kept, or beside it, made if it is missing.
    pub fn place(&self, name: &CStr) -> Result<OwnedFd, BootError> {
        let fd = self.disk_fd.as_ref().unwrap_or(&self.stage_fd);
        directory(fd.as_fd(), name).at(BootStep::MakePrivatePlaces)
    }

    /// The directories of it that programs see, and the layer that other VMs can begin with. Nothing is put into it by
    /// init from now on.
    pub fn into_parts(self) -> Result<(OwnMounts, Option<OwnLayer>), Errno> {
        let layer = match self.layer_fd {
            Some(fd) => Some(OwnLayer {
                at_first: self.shows_changes.then(|| State::of(&fd)).transpose()?,
                fd,
            }),
            None => None,
        };
        Ok((self.shown, layer))
    }

    /// Something for programs is in it that no earlier layer has.
    pub fn hide_changes(&mut self) {
        self.shows_changes = false;
    }

    fn next_name(&mut self) -> Result<CString, Errno> {
        let name = c_string(&self.made.to_string())?;
        self.made += 1;
        Ok(name)
    }

    /// Makes a new directory in it, at a path of the tmpfs.
    pub fn stage(&mut self, mode: u32) -> Result<OwnedFd, Errno> {
        let name = self.next_name()?;
        mkdirat(&self.stage_fd, &*name, Mode::from_bits_truncate(mode))?;
        open_path(self.stage_fd.as_fd(), &name)
    }

    /// Makes a new directory in it that is not kept, as a detached mount.
    pub fn directory(&mut self, mode: u32) -> Result<OwnedFd, Errno> {
        let name = self.next_name()?;
        mkdirat(&self.stage_fd, &*name, Mode::from_bits_truncate(mode))?;
        let mount_fd = clone_mount(self.stage_fd.as_fd(), &name, false)?;
        self.shown.add(mount_fd.as_fd())?;
        Ok(mount_fd)
    }

    /// The directory for `path` in the VM, as a detached mount. It is kept, and made with `mode` if no earlier layer has
    /// it; then it belongs to the VM's user, if it is `of_user`.
    pub fn kept_directory(&mut self, path: &str, mode: u32, of_user: bool) -> Result<OwnedFd, Errno> {
        let kept_fd = self.kept_fd.as_ref().ok_or(Errno::EBADF)?;
        // An earlier VM may have left anything there.
        let place = RootPlace::of(kept_fd.as_fd(), path, false)?;
        let is_new = match mkdirat(&place.parent_fd, &*place.name, Mode::from_bits_truncate(mode)) {
            Ok(()) => true,
            Err(Errno::EEXIST) => false,
            Err(errno) => return Err(errno),
        };
        let found_fd = open_path(place.parent_fd.as_fd(), &place.name)?;
        if kind(found_fd.as_fd())? != SFlag::S_IFDIR {
            return Err(Errno::ENOTDIR);
        }
        let mount_fd = clone_mount(found_fd.as_fd(), c"", false)?;
        self.shown.add(mount_fd.as_fd())?;
        if is_new {
            self.hide_changes();
        }
        if is_new && of_user && self.users {
            let (uid, gid) = (Uid::from_raw(USER), Gid::from_raw(USER));
            fchownat(&mount_fd, c"", Some(uid), Some(gid), AtFlags::AT_EMPTY_PATH)?;
        }
        Ok(mount_fd)
    }

    /// Makes a new file in it that is not kept, as a detached mount.
    pub fn file(&mut self, content: &str) -> Result<OwnedFd, Errno> {
        let name = self.next_name()?;
        new_file(self.stage_fd.as_fd(), &name, content.as_bytes(), FILE)?;
        clone_mount(self.stage_fd.as_fd(), &name, false)
    }
}
