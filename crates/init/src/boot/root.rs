//! The root file system: a small tmpfs that holds the entries the host asked for, and in the end is read-only.
//!
//! It is mounted over the host's root, filled through its descriptor, and then becomes the root by `pivot_root`.
//! Every target is looked up with `RESOLVE_IN_ROOT`, so a link in a directory that an earlier VM wrote to cannot lead a
//! mount anywhere else.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use agent_vm_protocol::message::{BindSource, Boot, RootEntry};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::mount::{MntFlags, umount2};
use nix::sys::stat::{Mode, SFlag, fstat, mkdirat, stat};
use nix::unistd::{chdir, fchdir, pivot_root, symlinkat, write};

use super::rootfs;
use super::sys::{self, attr};
use super::{At, BootError, cgroups, devices};
use crate::control::Attachments;
use crate::family::Cgrouping;
use crate::mediate::OwnMounts;

/// Room for the entries themselves: small files, directories and links.
const ROOT_OPTIONS: [(&CStr, &CStr); 3] = [(c"mode", c"0755"), (c"size", c"16m"), (c"nr_inodes", c"16384")];

/// The permission bits of files, and of those that can be executed.
pub(super) const FILE: Mode = Mode::from_bits_truncate(0o644);
pub(super) const SCRIPT: Mode = Mode::from_bits_truncate(0o755);

/// A root that stands over the host's, and is not yet the root.
pub struct Root {
    /// Its mount.
    pub fd: OwnedFd,
    /// Whether it takes writes, in a layer of the VM's own.
    layered: bool,
    /// The mounts in it that take writes and are the VM's own.
    pub own_mounts: OwnMounts,
}

/// Whether the root shows directories or files of the host's that the VM's owner named.
pub fn shows_host(boot: &Boot) -> bool {
    boot.root
        .iter()
        .any(|entry| matches!(entry, RootEntry::Mount { .. }))
}

/// Builds the root over the host's, and attaches `cgrouping`'s directories where they go with the host's.
pub fn build(boot: &Boot, attachments: &mut Attachments, cgrouping: &Cgrouping) -> Result<Root, BootError> {
    let host_root_fd = open_path(AT_FDCWD, c"/").at("open the host's root")?;
    // It must be somewhere for its directories to be bound. On the host's /proc, which nothing below needs any more, it goes
    // when the host's root goes; to unmount it by itself would cost another wait for all processors.
    let mut private = Private::mount(boot.limits.disk_bytes)?;
    let host_proc_fd = open_path(AT_FDCWD, c"/proc").at("open the host's /proc")?;
    sys::attach_mount(&private.stage_fd, &host_proc_fd).at("attach the private files")?;
    for directory_fd in cgroups::directories(cgrouping) {
        let step = "attach a cgroup directory";
        let place_fd = private.stage(0o700).at(step)?;
        sys::attach_mount(directory_fd, &place_fd).at(step)?;
    }
    let lower_fd = match &boot.rootfs {
        Some(source) => Some(source_mount(source, false, attachments).at("open the rootfs")?),
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
    sys::attach_mount(&root_fd, &host_root_fd).at("attach the root")?;
    // What is shown without a layer.
    let plain_fd = lower_fd.filter(|_| !layered);
    if let Some(plain_fd) = &plain_fd {
        rootfs::show(root_fd.as_fd(), plain_fd.as_fd(), &boot.root)?;
    }

    for entry in &boot.root {
        // A directory may be in a private one, which is mounted.
        let is_mount = !matches!(
            entry,
            RootEntry::File { .. }
                | RootEntry::Script { .. }
                | RootEntry::Symlink { .. }
                | RootEntry::Links { .. }
        );
        let made = if plain_fd.is_some() {
            rootfs::make_in_plain(root_fd.as_fd(), &mut private, entry, attachments)
        } else if is_mount || !layered {
            make(root_fd.as_fd(), &mut private, entry, attachments)
        } else {
            Ok(())
        };
        made.map_err(|errno| refused(entry, errno))?;
    }
    let shm_fd = private.directory(0o1777).at("make a directory for /dev/shm")?;
    if layered {
        // The directory has a /dev of its own, whose nodes are no devices here.
        let step = "make a directory for /dev";
        let dev_fd = private.directory(0o755).at(step)?;
        sys::attach_mount(&dev_fd, open_path(root_fd.as_fd(), c"dev").at(step)?).at(step)?;
        devices::make(root_fd.as_fd(), shm_fd.as_fd(), boot.limits.terminals)?;
        sys::restrict_mount(dev_fd.as_fd(), attr::RDONLY, false).at("make /dev read-only")?;
    } else {
        devices::make(root_fd.as_fd(), shm_fd.as_fd(), boot.limits.terminals)?;
    }
    let mut own_mounts = private.shown;
    if layered {
        own_mounts.add(root_fd.as_fd()).at("look at the root")?;
    }
    Ok(Root {
        fd: root_fd,
        layered,
        own_mounts,
    })
}

/// A root with nothing in it.
pub(super) fn empty() -> Result<OwnedFd, BootError> {
    sys::new_mount(c"tmpfs", &ROOT_OPTIONS, attr::NOSUID | attr::NODEV).at("mount a tmpfs for the root")
}

/// Makes it the root, read-only unless it has a layer for writes, and lets go of the host's.
pub fn enter(root: &Root) -> Result<(), BootError> {
    fchdir(&root.fd).at("change to the root")?;
    // Both the same: the old root ends up over the new one, and is then the one that "." names.
    pivot_root(".", ".").at("pivot_root")?;
    umount2(".", MntFlags::MNT_DETACH).at("detach the host's root")?;
    if !root.layered {
        sys::restrict_mount(root.fd.as_fd(), attr::RDONLY, false).at("make the root read-only")?;
    }
    chdir("/").at("change to /")?;
    // Had anything of the host stayed below or above the root, this is where it would show.
    let (here, above) = (
        stat("/").at("look at the root")?,
        stat("/..").at("look above the root")?,
    );
    if (here.st_dev, here.st_ino) != (above.st_dev, above.st_ino) {
        return Err(Errno::EXDEV).at("leave the host's root behind");
    }
    Ok(())
}

pub(super) fn refused(entry: &RootEntry, errno: Errno) -> BootError {
    let path = entry.path();
    BootError {
        step: format!("make {path} in the root").into(),
        errno,
        path: is_asked(entry).then(|| path.to_owned()),
    }
}

/// Whether the VM's owner named the place.
pub(super) fn is_asked(entry: &RootEntry) -> bool {
    matches!(
        entry,
        RootEntry::Mount { .. } | RootEntry::Private { asked: true, .. }
    )
}

/// Makes an entry in the root.
pub(super) fn make(
    root_fd: BorrowedFd<'_>,
    private: &mut Private,
    entry: &RootEntry,
    attachments: &mut Attachments,
) -> Result<(), Errno> {
    let place = Place::of(root_fd, entry.path(), !is_asked(entry))?;
    match entry {
        RootEntry::Directory { .. } => place.directory().map(drop),
        RootEntry::File { content, .. } => place.new_file(content, FILE),
        RootEntry::Script { content, .. } => place.new_file(content, SCRIPT),
        RootEntry::Symlink { target, .. } => symlinkat(target.as_str(), &place.parent_fd, &*place.name),
        RootEntry::Links { names, target, .. } => place.links(names, target),
        RootEntry::Cover { content, .. } => {
            let mount_fd = private.file(content)?;
            sys::restrict_mount(mount_fd.as_fd(), attr::RDONLY, false)?;
            sys::attach_mount(&mount_fd, &place.file()?)
        }
        RootEntry::Bind {
            source, read_only, ..
        }
        | RootEntry::Mount {
            source, read_only, ..
        } => {
            let mount_fd = source_mount(source, true, attachments)?;
            let attributes = attr::NOSUID | attr::NODEV | if *read_only { attr::RDONLY } else { 0 };
            sys::restrict_mount(mount_fd.as_fd(), attributes, true)?;
            let target_fd = if kind(mount_fd.as_fd())? == SFlag::S_IFDIR {
                place.directory()?
            } else {
                place.file()?
            };
            // What is there already may be anything that an earlier VM left.
            if kind(target_fd.as_fd())? == SFlag::S_IFLNK {
                return Err(Errno::ELOOP);
            }
            sys::attach_mount(&mount_fd, &target_fd)
        }
        RootEntry::Private { mode, .. } => {
            let mount_fd = private.directory(*mode)?;
            let target_fd = place.directory()?;
            // A root that was brought may have anything there.
            if kind(target_fd.as_fd())? != SFlag::S_IFDIR {
                return Err(Errno::ENOTDIR);
            }
            sys::attach_mount(&mount_fd, &target_fd)
        }
    }
}

/// What a bind shows, as a detached mount; with what the host has mounted below it if `recursive`.
pub(super) fn source_mount(
    source: &BindSource,
    recursive: bool,
    attachments: &mut Attachments,
) -> Result<OwnedFd, Errno> {
    match source {
        BindSource::Path(path) => sys::clone_mount(AT_FDCWD, &c_string(path)?, recursive),
        BindSource::Mount(index) => attachments.take(*index).ok_or(Errno::EBADF),
        BindSource::Opened { path, fd } => {
            let seen_fd = attachments.take(*fd).ok_or(Errno::EBADF)?;
            let how = OpenHow::new()
                .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
                .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
            let found_fd = openat2(AT_FDCWD, OsStr::from_bytes(path), how)?;
            // The descriptor is of the host's mounts, of which this namespace has a copy: only by path can it be found here.
            let (seen, found) = (fstat(&seen_fd)?, fstat(&found_fd)?);
            if (seen.st_dev, seen.st_ino) != (found.st_dev, found.st_ino) {
                return Err(Errno::ESTALE);
            }
            sys::clone_mount(found_fd.as_fd(), c"", recursive)
        }
    }
}

/// A name in a directory of the root that exists.
pub(super) struct Place {
    pub(super) parent_fd: OwnedFd,
    pub(super) name: CString,
}

impl Place {
    /// Makes the directories on the way to `path`. ELOOP if one of them is a link, unless `links` are followed.
    pub(super) fn of(root_fd: BorrowedFd<'_>, path: &str, links: bool) -> Result<Self, Errno> {
        let path = Path::new(path);
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Errno::EINVAL);
        };
        let mut components = path.components();
        if components.next() != Some(Component::RootDir)
            || !components.all(|c| matches!(c, Component::Normal(_)))
        {
            return Err(Errno::EINVAL);
        }
        let name = CString::new(name.as_encoded_bytes()).map_err(|_| Errno::EINVAL)?;
        let open_directory = |path: &Path| open_directory(root_fd, path, links);
        let parent_fd = match open_directory(parent) {
            Err(Errno::ENOENT) => {
                let mut fd = open_directory(Path::new("/"))?;
                for end in parent.ancestors().collect::<Vec<_>>().into_iter().rev().skip(1) {
                    fd = match open_directory(end) {
                        Err(Errno::ENOENT) => {
                            let name = end.file_name().ok_or(Errno::EINVAL)?;
                            mkdirat(&fd, Path::new(name), Mode::from_bits_truncate(0o755))?;
                            open_directory(end)?
                        }
                        other => other?,
                    };
                }
                fd
            }
            other => other?,
        };
        Ok(Self { parent_fd, name })
    }

    /// The directory of that name, made if it is missing.
    pub(super) fn directory(&self) -> Result<OwnedFd, Errno> {
        directory(self.parent_fd.as_fd(), &self.name)
    }

    /// New links in the directory of that name, which is made if it is missing.
    pub(super) fn links(&self, names: &[String], target: &str) -> Result<(), Errno> {
        let directory_fd = self.directory()?;
        names
            .iter()
            .try_for_each(|name| symlinkat(target, &directory_fd, name.as_str()))
    }

    /// A new file of that name.
    pub(super) fn new_file(&self, content: &str, mode: Mode) -> Result<(), Errno> {
        new_file(self.parent_fd.as_fd(), &self.name, content, mode)
    }

    /// The file of that name, made if it is missing.
    pub(super) fn file(&self) -> Result<OwnedFd, Errno> {
        // First looked for: to make what exists fails with EACCES where the directory is somebody else's.
        match open_path(self.parent_fd.as_fd(), &self.name) {
            Err(Errno::ENOENT) => {
                self.new_file("", FILE)?;
                open_path(self.parent_fd.as_fd(), &self.name)
            }
            other => other,
        }
    }
}

/// The one tmpfs that every private directory is a part of, so that they share its size.
pub(super) struct Private {
    stage_fd: OwnedFd,
    made: u32,
    /// The directories of it that programs see.
    shown: OwnMounts,
}

impl Private {
    fn mount(bytes: u64) -> Result<Self, BootError> {
        let size = c_string(&bytes.to_string()).at("size the private files")?;
        // A file of no bytes costs the kernel about 1 KiB that `size` does not count; this bounds that too.
        let inodes =
            c_string(&(bytes / 4096).clamp(1024, 1 << 20).to_string()).at("size the private files")?;
        let options = [
            (c"mode", c"0755"),
            (c"size", size.as_c_str()),
            (c"nr_inodes", inodes.as_c_str()),
        ];
        let stage_fd = sys::new_mount(c"tmpfs", &options, attr::NOSUID | attr::NODEV)
            .at("mount a tmpfs for private files")?;
        Ok(Self {
            stage_fd,
            made: 0,
            shown: OwnMounts::default(),
        })
    }

    fn next_name(&mut self) -> Result<CString, Errno> {
        let name = c_string(&self.made.to_string())?;
        self.made += 1;
        Ok(name)
    }

    /// A new directory of it, where it stands.
    pub(super) fn stage(&mut self, mode: u32) -> Result<OwnedFd, Errno> {
        let name = self.next_name()?;
        mkdirat(&self.stage_fd, &*name, Mode::from_bits_truncate(mode))?;
        open_path(self.stage_fd.as_fd(), &name)
    }

    /// A new directory of it, as a detached mount.
    fn directory(&mut self, mode: u32) -> Result<OwnedFd, Errno> {
        let name = self.next_name()?;
        mkdirat(&self.stage_fd, &*name, Mode::from_bits_truncate(mode))?;
        let mount_fd = sys::clone_mount(self.stage_fd.as_fd(), &name, false)?;
        self.shown.add(mount_fd.as_fd())?;
        Ok(mount_fd)
    }

    /// A new file of it, as a detached mount.
    pub(super) fn file(&mut self, content: &str) -> Result<OwnedFd, Errno> {
        let name = self.next_name()?;
        new_file(self.stage_fd.as_fd(), &name, content, FILE)?;
        sys::clone_mount(self.stage_fd.as_fd(), &name, false)
    }
}

fn new_file(parent_fd: BorrowedFd<'_>, name: &CStr, content: &str, mode: Mode) -> Result<(), Errno> {
    let fd = openat(parent_fd, name, file_flags(), mode)?;
    let mut rest = content.as_bytes();
    while !rest.is_empty() {
        rest = &rest[write(&fd, rest)?..];
    }
    Ok(())
}

/// The directory `name` of `parent_fd`, made if it is missing.
pub(super) fn directory(parent_fd: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    match mkdirat(parent_fd, name, Mode::from_bits_truncate(0o755)) {
        Ok(()) | Err(Errno::EEXIST) => open_path(parent_fd, name),
        Err(errno) => Err(errno),
    }
}

/// A place to mount on: the name itself, whatever it is, but no link.
pub(super) fn open_path(parent_fd: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    openat(
        parent_fd,
        name,
        OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC,
        Mode::empty(),
    )
}

/// To make a file that does not exist.
pub(super) fn file_flags() -> OFlag {
    OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC
}

fn open_directory(root_fd: BorrowedFd<'_>, path: &Path, links: bool) -> Result<OwnedFd, Errno> {
    let links = if links {
        ResolveFlag::RESOLVE_NO_MAGICLINKS
    } else {
        ResolveFlag::RESOLVE_NO_SYMLINKS
    };
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | links);
    openat2(root_fd, path, how)
}

/// The type of what a descriptor refers to.
pub(super) fn kind(fd: BorrowedFd<'_>) -> Result<SFlag, Errno> {
    Ok(SFlag::from_bits_truncate(fstat(fd)?.st_mode) & SFlag::S_IFMT)
}

fn c_string(text: &str) -> Result<CString, Errno> {
    CString::new(text).map_err(|_| Errno::EINVAL)
}
