//! The host's own directories in a VM: opened here, with the server's rights and no more, and handed to init as mounts.
//!
//! The owner of a directory is the VM's user inside. A root server maps the one onto the other with an idmapped mount,
//! and everything else in the directory belongs to nobody there: readable as it is for others, never written. An
//! ordinary user's server needs no map, its own id being the VM's user.
//!
//! Set-user-id bits and device nodes have no effect inside, and neither can be made there: that the filter refuses
//! (init's `seccomp`), since it would be the host where they have one.

mod rights;
mod rootfs;
mod sys;

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use agent_vm_protocol::message::{Attached, BindSource, RootEntry};
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, stat};
use nix::sys::statfs::fstatfs;
use nix::unistd::{AccessFlags, faccessat};

use super::{HOME, Options};
use crate::error::Error;
use sys::attr;

pub use rights::{Lack, Shown, probe};
pub use rootfs::Rootfs;

/// A file or directory of the host that the VM shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where, inside: absolute, of normal components.
    pub path: String,
    /// What. Links in it are resolved when the VM is made.
    pub host_path: PathBuf,
    /// Whether writing to it, and to whatever is mounted below it, is refused.
    pub read_only: bool,
    /// Whether it is installed packages: their path must have no link, and the VM's user reads them as others do.
    pub software: bool,
}

/// Why a host directory cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// Not there, or closed to the server.
    #[error("{} cannot be opened", path.display())]
    Open {
        /// The path as it was given.
        path: PathBuf,
        /// The call that failed.
        syscall: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A link on the way to installed packages, which had none when they were looked at.
    #[error("{} leads through a symbolic link", path.display())]
    Link {
        /// The path as it was given.
        path: PathBuf,
    },
    /// A device, a FIFO or a socket.
    #[error("{} is neither a directory nor a regular file", path.display())]
    Kind {
        /// The path as it was given.
        path: PathBuf,
    },
    /// The host's root, or files through which the kernel shows the host and takes settings.
    #[error("{} is the host itself", path.display())]
    Host {
        /// The path as it was given.
        path: PathBuf,
    },
    /// The server may show none of the host's.
    #[error("{} cannot be shown: {lack}", path.display())]
    Right {
        /// The path as it was given.
        path: PathBuf,
        /// What is missing.
        lack: Lack,
    },
    /// A root without the shell that commands run in.
    #[error("{} has no usable /bin/sh", path.display())]
    Shell {
        /// The path as it was given.
        path: PathBuf,
        /// What is wrong with it.
        lack: &'static str,
    },
    /// The file system cannot map owners.
    #[error("the file system of {} cannot show its owner as the VM's user", path.display())]
    Owner {
        /// The path as it was given.
        path: PathBuf,
        /// What the kernel answered.
        source: io::Error,
    },
}

impl DirectoryError {
    /// As users see it.
    pub fn to_public(&self) -> Error {
        match self {
            Self::Open { path, syscall, source } => Error::System {
                errno: source.raw_os_error().unwrap_or(libc::EIO),
                syscall: (*syscall).into(),
                path: Some(path.display().to_string()),
            },
            Self::Link { path } => Error::InvalidArgument(format!(
                "software must not lead through a symbolic link, as {} does now: install it where no VM can write",
                path.display()
            )),
            Self::Kind { path } => Error::InvalidArgument(format!(
                "{} is a device, a FIFO or a socket; a VM can show directories and regular files",
                path.display()
            )),
            Self::Host { path } => Error::InvalidArgument(format!(
                "{} is the host's root or one of the kernel's own file systems; a VM can show directories of files",
                path.display()
            )),
            Self::Shell { path, lack } => Error::InvalidArgument(format!(
                "rootfs must be a directory with a whole root file system, whose /bin/sh runs commands: {} has no usable \
                 /bin/sh, {lack}",
                path.display()
            )),
            Self::Right { lack, .. } => Error::IsolationUnavailable {
                cause: self.to_string(),
                remedy: lack.remedy(),
            },
            Self::Owner { source, .. } => Error::IsolationUnavailable {
                cause: format!("{self}: {source}"),
                remedy: "Use a directory on ext4, XFS, Btrfs or tmpfs, or one that others may read and show it read-only, or run the server as the ordinary \
                         user who owns it"
                    .into(),
            },
        }
    }
}

/// Opens what `options` asks for and gives the entries that show it, those further up first. The descriptors that they
/// name are added to `fds`. `id` is the host id of the VM's user where that is not the server's own.
pub fn entries(
    options: &Options,
    id: Option<u32>,
    fds: &mut Vec<OwnedFd>,
) -> Result<Vec<RootEntry>, DirectoryError> {
    let home = options.home.as_ref().map(|host_path| Mount {
        path: HOME.to_owned(),
        host_path: host_path.clone(),
        read_only: false,
        software: false,
    });
    let home = home.iter().map(|mount| (mount, Wanted::Home));
    let others = options.mounts.iter().map(|mount| {
        let wanted = if mount.software {
            Wanted::Software
        } else {
            Wanted::Anything
        };
        (mount, wanted)
    });
    let mut mounts: Vec<_> = home.chain(others).collect();
    // A mount below another stands on it.
    mounts.sort_by_key(|(mount, _)| depth(&mount.path));
    let mut entries = Vec::with_capacity(mounts.len());
    for (mount, wanted) in mounts {
        let opened = Opened::at(&mount.host_path, wanted)?;
        let access = if mount.software {
            Access::ReadAsOthers
        } else if mount.read_only {
            Access::Read
        } else {
            Access::Write
        };
        let source = opened.into_source(id, access, fds)?;
        entries.push(RootEntry::Mount {
            path: mount.path.clone(),
            source,
            read_only: mount.read_only || mount.software,
        });
    }
    Ok(entries)
}

/// A part of the server's installation, to show read-only. A root server hands it over, because it may be where init
/// could not search its way: version managers put Node.js into root's home. `id` and `fds` as with [`entries`].
pub fn installed(path: &Path, id: Option<u32>, fds: &mut Vec<OwnedFd>) -> Result<BindSource, DirectoryError> {
    let opened = Opened::at(path, Wanted::Anything)?;
    if id.is_none() || !opened.is_open_to_others() {
        return opened.into_source(id, Access::Read, fds);
    }
    // Whose it is does not matter then, and a map of owners costs a user namespace.
    match opened.clone_mount(true) {
        Ok(mount_fd) => {
            let index = fds.len() as Attached;
            fds.push(mount_fd);
            Ok(BindSource::Mount(index))
        }
        // Init does it with the rights that it has in its own namespace, if it finds its way.
        Err(DirectoryError::Right { .. }) if opened.is_reached_by_others()? => {
            opened.into_source(None, Access::Read, fds)
        }
        Err(error) => Err(error),
    }
}

/// A directory that init keeps, as a mount of that directory alone, in which `..` ends there. Where this process may clone no
/// mounts, init does so in its own mount namespace. `path` has no links; the descriptors to attach are added to `fds`.
pub fn confined(path: &Path, fd: BorrowedFd<'_>, fds: &mut Vec<OwnedFd>) -> io::Result<BindSource> {
    let index = fds.len() as Attached;
    match sys::clone_mount(fd, false) {
        Ok(mount_fd) => {
            fds.push(mount_fd);
            Ok(BindSource::Mount(index))
        }
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM)
            ) =>
        {
            Err(error)
        }
        // No right to, or the mount is one of another mount namespace's.
        Err(_) => {
            fds.push(fd.try_clone_to_owned()?);
            let path = path.as_os_str().as_bytes().to_vec();
            Ok(BindSource::Opened { path, fd: index })
        }
    }
}

/// How many names a path has.
pub fn depth(path: &str) -> usize {
    path.split('/').filter(|name| !name.is_empty()).count()
}

/// Checks that a home exists and is one, where it is used as it is.
pub fn check_home(path: &Path) -> Result<(), DirectoryError> {
    Opened::at(path, Wanted::Home).map(drop)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
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
enum Access {
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
struct Opened<'a> {
    path: &'a Path,
    fd: OwnedFd,
    stat: FileStat,
}

impl<'a> Opened<'a> {
    fn at(path: &'a Path, wanted: Wanted) -> Result<Self, DirectoryError> {
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
    fn into_source(
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

    fn is_open_to_others(&self) -> bool {
        let needed = if self.stat.st_mode & libc::S_IFMT == libc::S_IFDIR {
            libc::S_IROTH | libc::S_IXOTH
        } else {
            libc::S_IROTH
        };
        self.stat.st_mode & needed == needed
    }

    /// Whether others may search all its parent directories.
    fn is_reached_by_others(&self) -> Result<bool, DirectoryError> {
        let path = PathBuf::from(OsString::from_vec(self.real_path()?));
        Ok(path.ancestors().skip(1).all(|directory| {
            stat(directory).is_ok_and(|found| found.st_mode & libc::S_IXOTH == libc::S_IXOTH)
        }))
    }

    /// As a detached mount, with what is mounted below it if `recursive`.
    fn clone_mount(&self, recursive: bool) -> Result<OwnedFd, DirectoryError> {
        sys::clone_mount(self.fd.as_fd(), recursive).map_err(|source| match source.raw_os_error() {
            Some(libc::EPERM | libc::ENOSYS) => DirectoryError::Right {
                path: self.path.to_owned(),
                lack: Lack::now(),
            },
            _ => DirectoryError::Open {
                path: self.path.to_owned(),
                syscall: "open_tree",
                source,
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
        if !rights::is_in_first_namespace() {
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
        match sys::restrict_mount(mount_fd.as_fd(), attributes, Some(namespace_fd.as_fd())) {
            Ok(()) => {}
            // This file system, or one mounted below, cannot map owners, or does so already. What is only read, and may be
            // read by others, can do without: then it is inside what it is to others.
            Err(error)
                if read_only
                    && self.is_open_to_others()
                    && matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EPERM)) =>
            {
                sys::restrict_mount(mount_fd.as_fd(), attributes, None).map_err(cannot("mount_setattr"))?;
            }
            Err(source) => {
                return Err(DirectoryError::Owner {
                    path: self.path.to_owned(),
                    source,
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
