//! The VM's files that are not in the root's own file system: a tmpfs for all private directories.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use agent_vm_mount::{attr, clone_mount, new_mount};
use agent_vm_protocol::message::BootStep;
use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{Gid, Uid, fchownat};

use super::error::{At, BootError};
use super::identity::USER;
use super::place::{FILE, c_string, new_file, open_path};
use crate::mediate::OwnMounts;

/// The tmpfs that contains every private directory, so that they share its size.
pub struct Private {
    stage_fd: OwnedFd,
    made: u32,
    /// Whether the VM's users are real, so that most of its directories are root's.
    users: bool,
    /// The directories of it that programs see.
    shown: OwnMounts,
}

impl Private {
    /// Makes it, with room for `bytes`.
    pub fn mount(bytes: u64, users: bool) -> Result<Self, BootError> {
        let size = c_string(&bytes.to_string()).at(BootStep::SizePrivate)?;
        // An empty file costs the kernel about 1 KiB that `size` does not count; this limits that too.
        let inodes = c_string(&(bytes / 4096).clamp(1024, 1 << 20).to_string()).at(BootStep::SizePrivate)?;
        let options = [
            (c"mode", c"0755"),
            (c"size", size.as_c_str()),
            (c"nr_inodes", inodes.as_c_str()),
        ];
        let stage_fd =
            new_mount(c"tmpfs", &options, attr::NOSUID | attr::NODEV).at(BootStep::MountPrivate)?;
        Ok(Self {
            stage_fd,
            made: 0,
            users,
            shown: OwnMounts::default(),
        })
    }

    /// Whether the VM's users are real.
    pub fn has_users(&self) -> bool {
        self.users
    }

    /// Its mount, still detached.
    pub fn stage_fd(&self) -> &OwnedFd {
        &self.stage_fd
    }

    /// The directories of it that programs see.
    pub fn into_shown(self) -> OwnMounts {
        self.shown
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

    /// Makes a new directory in it, as a detached mount.
    pub fn directory(&mut self, mode: u32) -> Result<OwnedFd, Errno> {
        let name = self.next_name()?;
        mkdirat(&self.stage_fd, &*name, Mode::from_bits_truncate(mode))?;
        let mount_fd = clone_mount(self.stage_fd.as_fd(), &name, false)?;
        self.shown.add(mount_fd.as_fd())?;
        Ok(mount_fd)
    }

    /// The same, for a directory that belongs to the VM's `user`.
    pub fn directory_of_user(&mut self, mode: u32) -> Result<OwnedFd, Errno> {
        let mount_fd = self.directory(mode)?;
        if self.users {
            let (uid, gid) = (Uid::from_raw(USER), Gid::from_raw(USER));
            fchownat(&mount_fd, c"", Some(uid), Some(gid), AtFlags::AT_EMPTY_PATH)?;
        }
        Ok(mount_fd)
    }

    /// Makes a new file in it, as a detached mount.
    pub fn file(&mut self, content: &str) -> Result<OwnedFd, Errno> {
        let name = self.next_name()?;
        new_file(self.stage_fd.as_fd(), &name, content.as_bytes(), FILE)?;
        clone_mount(self.stage_fd.as_fd(), &name, false)
    }
}
