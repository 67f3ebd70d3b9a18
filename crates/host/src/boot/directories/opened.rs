//! A file or directory of the host: opened, checked, and made a mount of.

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

/// What has to be at a path.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// A directory that can be written to.
    Home,
    /// A directory.
    Directory,
    /// A directory or a regular file.
    Anything,
    /// A directory whose path has no link.
    Software,
}

/// What a mount is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Reading, and of what is mounted below it too.
    Read,
    /// The same, without the owner's rights: for the VM's user is none of those who have any.
    ReadAsOthers,
    /// Writing as well.
    Write,
    /// To be the layer below one that is written to.
    Layer,
}

/// A checked host path.
pub(super) struct Opened<'a> {
    path: &'a Path,
    pub fd: OwnedFd,
    stat: FileStat,
}

impl<'a> Opened<'a> {
    /// Opens and checks `path`, with this process's rights.
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

    /// As init can use it, where the VM's user is `id` or the server's own. The descriptors to attach are added to `fds`.
    pub fn into_source(
        self,
        id: Option<u32>,
        access: Access,
        fds: &mut Vec<OwnedFd>,
    ) -> Result<BindSource, DirectoryError> {
        let index = fds.len() as Attached;
        if let Some(id) = id {
            fds.push(self.mount(id, access)?);
            Ok(BindSource::Mount(index))
        } else {
            let path = self.real_path()?;
            fds.push(self.fd);
            Ok(BindSource::Opened { path, fd: index })
        }
    }

    /// Where it lies, without links.
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

    /// Whether others may read it, and search it if it is a directory.
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

    /// As a detached mount, with what is mounted below it if `recursive`.
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

    /// As a detached mount in which the owner is `id`.
    fn mount(&self, id: u32, access: Access) -> Result<OwnedFd, DirectoryError> {
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
        let mount_fd = self.clone_mount(access != Access::Layer)?;
        // As its own owner, `id` owns nothing in the mount, for no file has it.
        let owner = match access {
            Access::ReadAsOthers => id,
            Access::Read | Access::Write | Access::Layer => self.stat.st_uid,
        };
        let uid_map = format!("{owner} {id} 1\n");
        // The kernel lets nobody write to what has a group that is not mapped. In a read-only mount none is (of `id`, which
        // belongs to nobody, there are no files): so neither the FIFOs nor the sockets of the host that lie there, which
        // are no files and heed no read-only mount, can be written or connected to. A layer is covered by another file
        // system, whose sockets and FIFOs are its own.
        let group = match access {
            Access::Read | Access::ReadAsOthers => id,
            Access::Write | Access::Layer => self.stat.st_gid,
        };
        let gid_map = format!("{group} {id} 1\n");
        let namespace_fd = sys::user_namespace(&uid_map, &gid_map).map_err(cannot("clone"))?;
        let read_only = access != Access::Write;
        let attributes = attr::NOSUID | attr::NODEV | if read_only { attr::RDONLY } else { 0 };
        match restrict_and_map(mount_fd.as_fd(), attributes, namespace_fd.as_fd()) {
            Ok(()) => {}
            // This file system, or one mounted below, cannot map owners, or does so already. What is only read, and may be
            // read by others, can do without: then it is inside what it is to others.
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

/// Whether it is the host's root, or of a file system in which the kernel shows itself.
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
