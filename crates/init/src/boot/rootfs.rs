//! A root that the caller brought. A layer of the VM is mounted over the host directory, as an overlay. If the kernel
//! cannot do that, the entries of the directory are shown read-only in a root like that of any other VM.
//!
//! The layer is on the tmpfs of the private directories and counts towards its size. The VM's own files are put into
//! the layer before the overlay is mounted: the host directory may contain directories whose owner is not mapped, and
//! then nothing can be made in them.

use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use agent_vm_mount::{attach_mount, attr, clone_mount, new_mount, restrict_mount};
use agent_vm_protocol::message::{BindSource, BootStep, RootEntry};
use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2, readlinkat};
use nix::sys::stat::{Mode, SFlag, fchmod, fstat, futimens};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchdir, fchownat, symlinkat};

use super::entry::{make, refused};
use super::error::{At, BootError};
use super::place::{FILE, RootPlace, SCRIPT, c_string, directory, file_flags, kind, open_path};
use super::private::{Private, ROOT};
use crate::control::Attachments;

/// Directories on which the VM mounts, even if the host directory lacks them.
const MOUNT_POINTS: [&CStr; 3] = [c"dev", c"proc", c"sys"];

/// Attaches `lower_fd`, a detached mount, and mounts a writable layer over it. Entries that are not mounts are put into
/// the layer. Returns `None` if the kernel cannot make the overlay; then [`show`] makes a root.
pub fn layer(
    lower_fd: &OwnedFd,
    private: &mut Private,
    entries: &[RootEntry],
    attachments: &Attachments,
) -> Result<Option<OwnedFd>, BootError> {
    let attributes = attr::NOSUID | attr::NODEV | attr::RDONLY;
    restrict_mount(lower_fd.as_fd(), attributes, false).at(BootStep::RestrictRootfs)?;
    let layers_fd = private.roots_place()?;
    let lower_place_fd = directory(layers_fd.as_fd(), c"rootfs").at(BootStep::MakeLayer)?;
    let upper_fd = private.place(ROOT)?;
    private.place(c"root-work")?;
    // The kernel takes a layer by path, and only from this mount namespace.
    attach_mount(lower_fd, &lower_place_fd).at(BootStep::AttachRootfs)?;
    for name in MOUNT_POINTS {
        directory(upper_fd.as_fd(), name).at(BootStep::FillLayer)?;
    }
    // Such a directory is inside a private directory, which is mounted over the root.
    let is_prepared = |entry: &&RootEntry| !matches!(entry, RootEntry::Directory { .. });
    let earlier = private.earlier_roots();
    for entry in entries.iter().filter(is_prepared) {
        // What an earlier VM has made of it stays.
        let roots = earlier.iter().map(|(_, root_fd)| root_fd).chain([&upper_fd]);
        if roots
            .into_iter()
            .any(|root_fd| has(root_fd.as_fd(), entry.path()))
        {
            continue;
        }
        prepare(upper_fd.as_fd(), lower_fd.as_fd(), entry, attachments)
            .map_err(|errno| refused(entry, errno))?;
    }
    if let Some((_, newest_fd)) = private.earlier_roots().first() {
        // The overlay shows these of the topmost layer.
        copy_attributes(newest_fd.as_fd(), upper_fd.as_fd()).at(BootStep::FillLayer)?;
    }
    fchdir(&layers_fd).at(BootStep::ChangeToLayer)?;
    let earlier = private.earlier_roots().iter();
    let lower = earlier.map(|(name, _)| name.as_str()).chain(["rootfs"]);
    let lower = c_string(&lower.collect::<Vec<_>>().join(":")).at(BootStep::ChangeToLayer)?;
    let options = [
        (c"lowerdir", lower.as_c_str()),
        (c"upperdir", c"../root"),
        (c"workdir", c"../root-work"),
        // Overlays in a user namespace must use these attributes for whiteouts and the like.
        (c"userxattr", c""),
    ];
    // Where users are real, set-user-id programs work. The mount belongs to the VM's user namespace, so they have no
    // effect outside of it (`mnt_may_suid` in the kernel's `fs/namespace.c`).
    let attributes = if private.has_users() { 0 } else { attr::NOSUID };
    match new_mount(c"overlay", &options, attributes | attr::NODEV) {
        Ok(root_fd) => Ok(Some(root_fd)),
        Err(errno @ (Errno::ENOMEM | Errno::EMFILE | Errno::ENFILE)) => Err(errno).at(BootStep::MountLayer),
        // This kernel has no overlay, none for user namespaces (before 5.11), or none over this file system.
        Err(errno) => {
            crate::sys::log(&BootError::of(BootStep::MountLayer, errno));
            Ok(None)
        }
    }
}

/// Gives a directory the owner, mode and times of another one.
fn copy_attributes(from_fd: BorrowedFd<'_>, to_fd: BorrowedFd<'_>) -> Result<(), Errno> {
    let found = fstat(from_fd)?;
    let (uid, gid) = (Uid::from_raw(found.st_uid), Gid::from_raw(found.st_gid));
    fchownat(to_fd, c"", Some(uid), Some(gid), AtFlags::AT_EMPTY_PATH)?;
    let here_fd = openat(to_fd, c".", OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    fchmod(&here_fd, Mode::from_bits_truncate(found.st_mode))?;
    let times = [
        TimeSpec::new(found.st_atime, found.st_atime_nsec),
        TimeSpec::new(found.st_mtime, found.st_mtime_nsec),
    ];
    futimens(&here_fd, &times[0], &times[1])
}

/// Whether an earlier layer has something at `path`, if only a link on the way to it or a mark that it was removed.
fn has(root_fd: BorrowedFd<'_>, path: &str) -> bool {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_SYMLINKS);
    !matches!(openat2(root_fd, path, how), Err(Errno::ENOENT))
}

/// Puts the files that an entry needs into the layer.
fn prepare(
    upper_fd: BorrowedFd<'_>,
    lower_fd: BorrowedFd<'_>,
    entry: &RootEntry,
    attachments: &Attachments,
) -> Result<(), Errno> {
    let path = Path::new(entry.path());
    // A directory in the layer would hide a link with the same name, and everything that the link leads to.
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_SYMLINKS);
    match openat2(lower_fd, path.parent().ok_or(Errno::EINVAL)?, how) {
        Ok(_) | Err(Errno::ENOENT) => {}
        Err(errno) => return Err(errno),
    }
    let place = RootPlace::of(upper_fd, entry.path(), false)?;
    match entry {
        RootEntry::File { content, .. } | RootEntry::Cover { content, .. } => place.new_file(content, FILE),
        RootEntry::Script { content, .. } => place.new_file(content, SCRIPT),
        RootEntry::Symlink { target, .. } => symlinkat(target.as_str(), &place.parent_fd, &*place.name),
        RootEntry::Links { names, target, .. } => place.links(names, target),
        RootEntry::Directory { .. } | RootEntry::Private { .. } => place.directory().map(drop),
        RootEntry::Bind { source, .. } | RootEntry::Mount { source, .. } => {
            let is_directory = match source {
                BindSource::Path(path) => Path::new(path).is_dir(),
                BindSource::Mount(index) | BindSource::Opened { fd: index, .. } => {
                    kind(attachments.get(*index).ok_or(Errno::EBADF)?)? == SFlag::S_IFDIR
                }
            };
            if is_directory {
                place.directory().map(drop)
            } else {
                place.file().map(drop)
            }
        }
    }
}

/// Makes a root without a layer in `root_fd`: each entry of the host directory is mounted separately, except those that
/// the VM has itself. Both mounts are attached, because before Linux 6.15 a detached mount cannot be mounted on or
/// copied from.
pub fn show(
    root_fd: BorrowedFd<'_>,
    lower_fd: BorrowedFd<'_>,
    entries: &[RootEntry],
) -> Result<(), BootError> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut names = Dir::openat(lower_fd, ".", flags, Mode::empty()).at(BootStep::ShowRootfs)?;
    for found in names.iter() {
        let found = found.at(BootStep::ShowRootfs)?;
        let name = found.file_name();
        if name == c"." || name == c".." || is_own(name, entries) {
            continue;
        }
        let place_fd = match found.file_type() {
            Some(Type::Symlink) => {
                let target = readlinkat(lower_fd, name).at(BootStep::ShowRootfs)?;
                symlinkat(&*target, root_fd, name).at(BootStep::ShowRootfs)?;
                continue;
            }
            Some(Type::Directory) => directory(root_fd, name).at(BootStep::ShowRootfs)?,
            Some(Type::File) => {
                openat(root_fd, name, file_flags(), Mode::from_bits_truncate(0o644))
                    .at(BootStep::ShowRootfs)?;
                open_path(root_fd, name).at(BootStep::ShowRootfs)?
            }
            // A root does not need files of other types.
            _ => continue,
        };
        let mount_fd = clone_mount(lower_fd, name, false).at(BootStep::ShowRootfs)?;
        attach_mount(&mount_fd, &place_fd).at(BootStep::ShowRootfs)?;
    }
    Ok(())
}

/// Whether the VM has its own file or directory `name` in the root. /home contains only the user's home, and nothing
/// else is needed there.
fn is_own(name: &CStr, entries: &[RootEntry]) -> bool {
    let path = Path::new("/").join(OsStr::from_bytes(name.to_bytes()));
    let is_at = |entry: &RootEntry| {
        let own = Path::new(entry.path());
        own == path || (path == Path::new("/home") && own.starts_with(&path))
    };
    MOUNT_POINTS.contains(&name) || entries.iter().any(is_at)
}

/// Makes an entry in a root without a layer. If the host directory has no place for one of the VM's own files or
/// directories, the VM does without it.
pub fn make_in_plain(
    root_fd: BorrowedFd<'_>,
    private: &mut Private,
    entry: &RootEntry,
    attachments: &mut Attachments,
) -> Result<(), Errno> {
    let made = match entry {
        RootEntry::File { path, content } => RootPlace::of(root_fd, path, true).and_then(|place| {
            let target_fd = place.file()?;
            attach_mount(&private.file(content)?, &target_fd)
        }),
        _ => make(root_fd, private, entry, attachments),
    };
    match (entry, made) {
        (
            RootEntry::File { .. }
            | RootEntry::Script { .. }
            | RootEntry::Directory { .. }
            | RootEntry::Private { asked: false, .. },
            Err(Errno::EROFS | Errno::EACCES),
        ) => Ok(()),
        (_, made) => made,
    }
}
