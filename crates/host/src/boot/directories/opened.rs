//! A file or directory of the host: opens it, checks it, and makes a mount of it.

use std::ffi::OsString;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use agent_vm_mount::{attr, clone_mount, restrict_and_map, restrict_mount};
use agent_vm_protocol::message::{Attached, BindSource};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, stat};
use nix::sys::statfs::fstatfs;
use nix::unistd::{AccessFlags, faccessat};

use super::error::DirectoryError;
use super::rights::{Lack, is_in_first_namespace};
use super::sys;
use crate::boot::ids::{BLOCK, DISK_IDS};
use crate::boot::user::GuestIds;

/// What must be at a path.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// A directory that is writable.
    Home,
    /// A directory.
    Directory,
    /// A directory or a regular file.
    Anything,
    /// A directory whose path contains no link.
    Software,
}

/// The purpose of a mount.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Reading, including what is mounted below it.
    Read,
    /// Reading without the owner's rights: the VM's user counts as others for every file.
    ReadAsOthers,
    /// Reading and writing.
    Write,
    /// The lower layer of an overlay.
    Layer {
        /// Where the ids of its files are mapped to, all 65,536 of them; otherwise its owner is.
        first: Option<u32>,
    },
    /// Writing, by the VM's own files alone.
    Disk {
        /// Where the ids of its files are mapped to, all 65,536 of them; otherwise its owner is.
        first: Option<u32>,
    },
}

/// A checked host path.
pub(super) struct Opened<'a> {
    path: &'a Path,
    pub fd: OwnedFd,
    stat: FileStat,
}

impl<'a> Opened<'a> {
    /// Its device and inode.
    pub fn identity(&self) -> (libc::dev_t, libc::ino_t) {
        (self.stat.st_dev, self.stat.st_ino)
    }

    /// Opens and checks `path` with this process's rights.
    pub fn at(path: &'a Path, wanted: Wanted) -> Result<Self, DirectoryError> {
        let failed = |syscall, error: nix::Error| DirectoryError::Open {
            path: path.to_owned(),
            syscall,
            source: error.into(),
        };
        let mut flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
        if wanted != Wanted::Anything {
            flags |= OFlag::O_DIRECTORY;
        }
        let fd = if wanted == Wanted::Software {
            let resolve = ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS;
            openat2(AT_FDCWD, path, OpenHow::new().flags(flags).resolve(resolve))
        } else {
            open(path, flags, Mode::empty())
        };
        let fd = fd.map_err(|error| match error {
            nix::Error::ELOOP if wanted == Wanted::Software => DirectoryError::Link {
                path: path.to_owned(),
            },
            error => failed("open", error),
        })?;
        let stat = fstat(&fd).map_err(|error| failed("fstat", error))?;
        let access = match SFlag::from_bits_truncate(stat.st_mode & libc::S_IFMT) {
            SFlag::S_IFDIR => AccessFlags::R_OK | AccessFlags::X_OK,
            SFlag::S_IFREG => AccessFlags::R_OK,
            _ => {
                return Err(DirectoryError::Kind {
                    path: path.to_owned(),
                });
            }
        };
        if is_host(&fd, &stat).map_err(|error| failed("stat", error))? {
            return Err(DirectoryError::Host {
                path: path.to_owned(),
            });
        }
        let writing = match wanted {
            Wanted::Home => AccessFlags::W_OK,
            Wanted::Directory | Wanted::Anything | Wanted::Software => AccessFlags::empty(),
        };
        faccessat(
            AT_FDCWD,
            &*magic_link(fd.as_fd()),
            access | writing,
            AtFlags::AT_EACCESS,
        )
        .map_err(|error| failed("access", error))?;
        Ok(Self { path, fd, stat })
    }

    /// Converts it for init; the VM's default user has these `ids`, or the server's own. Adds the descriptors to attach to `fds`.
    pub fn into_source(
        self,
        ids: Option<GuestIds>,
        access: Access,
        fds: &mut Vec<OwnedFd>,
    ) -> Result<BindSource, DirectoryError> {
        let index = fds.len() as Attached;
        if let Some(ids) = ids {
            fds.push(self.mount(ids, access)?);
            Ok(BindSource::Mount(index))
        } else {
            let path = self.real_path()?;
            fds.push(self.fd);
            Ok(BindSource::Opened { path, fd: index })
        }
    }

    /// Another descriptor of it.
    pub fn duplicate(&self) -> Result<OwnedFd, DirectoryError> {
        self.fd.try_clone().map_err(|source| DirectoryError::Open {
            path: self.path.to_owned(),
            syscall: "dup",
            source,
        })
    }

    /// The uid and gid of its owner.
    pub fn owner(&self) -> (u32, u32) {
        (self.stat.st_uid, self.stat.st_gid)
    }

    /// Its path without links.
    fn real_path(&self) -> Result<Vec<u8>, DirectoryError> {
        match fs::read_link(magic_link(self.fd.as_fd())) {
            Ok(path) => Ok(path.into_os_string().into_vec()),
            Err(source) => Err(DirectoryError::Open {
                path: self.path.to_owned(),
                syscall: "readlink",
                source,
            }),
        }
    }

    /// Whether others may read it and, if it is a directory, search it.
    pub fn is_open_to_others(&self) -> bool {
        let needed = if self.stat.st_mode & libc::S_IFMT == libc::S_IFDIR {
            libc::S_IROTH | libc::S_IXOTH
        } else {
            libc::S_IROTH
        };
        self.stat.st_mode & needed == needed
    }

    /// Whether others may search all its parent directories.
    pub fn is_reached_by_others(&self) -> Result<bool, DirectoryError> {
        let path = PathBuf::from(OsString::from_vec(self.real_path()?));
        Ok(path.ancestors().skip(1).all(|directory| {
            stat(directory).is_ok_and(|found| found.st_mode & libc::S_IXOTH == libc::S_IXOTH)
        }))
    }

    /// A detached mount of it, including what is mounted below it if `recursive`.
    pub fn clone_mount(&self, recursive: bool) -> Result<OwnedFd, DirectoryError> {
        clone_mount(self.fd.as_fd(), c"", recursive).map_err(|errno| match errno {
            Errno::EPERM | Errno::ENOSYS => DirectoryError::Right {
                path: self.path.to_owned(),
                lack: Lack::now(),
            },
            _ => DirectoryError::Open {
                path: self.path.to_owned(),
                syscall: "open_tree",
                source: errno.into(),
            },
        })
    }

    /// A detached mount of it in which the owner has these `ids`.
    fn mount(&self, GuestIds { uid, gid }: GuestIds, access: Access) -> Result<OwnedFd, DirectoryError> {
        let cannot = |syscall| {
            move |source| DirectoryError::Open {
                path: self.path.to_owned(),
                syscall,
                source,
            }
        };
        if !is_in_first_namespace() {
            return Err(DirectoryError::Right {
                path: self.path.to_owned(),
                lack: Lack::FileSystems,
            });
        }
        let mount_fd = self.clone_mount(!matches!(access, Access::Layer { .. } | Access::Disk { .. }))?;
        // With `uid` mapped to itself, the VM's user owns nothing in the mount, because no file has that owner.
        let owner = match access {
            Access::ReadAsOthers => uid,
            Access::Read | Access::Write | Access::Layer { .. } | Access::Disk { .. } => self.stat.st_uid,
        };
        let mut uid_map = format!("{owner} {uid} 1\n");
        // The kernel lets nobody write to a file whose group is not mapped. In a read-only mount no group is mapped
        // (except `gid`, which no file has). So the host's FIFOs and sockets in it, for which a read-only mount has no
        // effect, cannot be written or connected to. A layer is covered by another file system, whose sockets and FIFOs
        // belong to it.
        let group = match access {
            Access::Read | Access::ReadAsOthers => gid,
            Access::Write | Access::Layer { .. } | Access::Disk { .. } => self.stat.st_gid,
        };
        let mut gid_map = format!("{group} {gid} 1\n");
        let all = match access {
            Access::Layer { first: Some(first) } => Some((0, first)),
            Access::Disk { first: Some(first) } => Some((DISK_IDS.start, first)),
            _ => None,
        };
        if let Some((on_disk, first)) = all {
            uid_map = format!("{on_disk} {first} {BLOCK}\n");
            uid_map.clone_into(&mut gid_map);
        }
        let namespace_fd = sys::user_namespace(&uid_map, &gid_map).map_err(cannot("clone"))?;
        let read_only = !matches!(access, Access::Write | Access::Disk { .. });
        let attributes = attr::NOSUID | attr::NODEV | if read_only { attr::RDONLY } else { 0 };
        match restrict_and_map(mount_fd.as_fd(), attributes, namespace_fd.as_fd()) {
            Ok(()) => {}
            // This file system, or one mounted below, cannot map owners, or does so already. A directory that is only
            // read, and that others may read, can do without a map: its files then look in the VM as they do to others.
            Err(Errno::EINVAL | Errno::EPERM) if read_only && self.is_open_to_others() => {
                restrict_mount(mount_fd.as_fd(), attributes, true)
                    .map_err(|errno| cannot("mount_setattr")(errno.into()))?;
            }
            Err(errno) => {
                return Err(DirectoryError::Owner {
                    path: self.path.to_owned(),
                    source: errno.into(),
                });
            }
        }
        Ok(mount_fd)
    }
}

/// Whether it is the host's root, or on a file system through which the kernel shows itself.
fn is_host(fd: &OwnedFd, found: &FileStat) -> nix::Result<bool> {
    /// `linux/magic.h`: proc, sysfs, cgroup, cgroup2, debugfs, tracefs, securityfs, bpf, devpts.
    const KERNELS: [u32; 9] = [
        0x9fa0,
        0x6265_6572,
        0x0027_e0eb,
        0x6367_7270,
        0x6462_6720,
        0x7472_6163,
        0x7363_6673,
        0xcafe_4a11,
        0x1cd1,
    ];
    let root = stat("/")?;
    // The type's width differs between architectures; the numbers have 32 bits.
    let magic = fstatfs(fd)?.filesystem_type().0 as u32;
    Ok((root.st_dev, root.st_ino) == (found.st_dev, found.st_ino) || KERNELS.contains(&magic))
}

fn magic_link(fd: BorrowedFd<'_>) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}
