//! Where on this host the cgroups of VMs can be made.
//!
//! Directories are made in the server's own cgroup, so that every limit of the server also applies to its VMs. In
//! version 2 a directory that contains processes cannot give controllers to its children (`cgroups-v2`, "no internal
//! process constraint"). So when a limit is first requested, and the server may arrange its cgroup, the processes in it
//! are moved one level down.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use parking_lot::Mutex;

use super::controller::{Controller, Subsystem, Version};
use super::directory::Directory;
use super::error::Unavailable;
use super::file::set;
use super::hierarchy::{Hierarchy, own_directory};
use super::lease::Lease;
use crate::boot::sys;

/// The name of the directory to which a server moves the processes in its cgroup. It outlives the server, as these
/// processes may.
const SERVERS: &str = "agent-vm-servers";

/// How often a cgroup that is being emptied is searched for new processes.
const MOVE_TRIES: u32 = 8;

/// Where a controller's limit can be set.
#[derive(Debug, Clone, Copy)]
pub enum LimitPlace<'a> {
    /// In the VM's directory of version 2.
    Unified,
    /// In a new directory below this one.
    Legacy(&'a Path),
}

/// What was found on this host, determined once in a server's life.
#[derive(Debug)]
pub struct CgroupPlaces {
    /// Makes the names of this server's directories.
    pub lease: Lease,
    /// Where directories of version 2 can be made.
    pub unified: Option<PathBuf>,
    legacy: [OnceLock<Option<PathBuf>>; 4],
    /// Whether a VM may have a directory in any hierarchy of version 1.
    has_legacy: bool,
    /// Where dead servers may have left directories.
    swept: Vec<PathBuf>,
    enabled: Mutex<[bool; 2]>,
}

impl CgroupPlaces {
    /// Searches the host at the first call.
    pub fn get() -> io::Result<&'static Self> {
        static PLACES: OnceLock<CgroupPlaces> = OnceLock::new();
        // If it fails, for example because no descriptor is free, the next VM tries again.
        if let Some(places) = PLACES.get() {
            return Ok(places);
        }
        let lease = Lease::take()?;
        let unified = match own_directory(Hierarchy::Unified)? {
            Some(own) => {
                let parent = arranged(&own);
                // `cgroup.kill` exists since Linux 5.14; without it a directory can identify a family but not end it.
                let usable = sys::has_clone3() && can_make(&parent, &lease, "cgroup.kill")?;
                usable.then_some(parent)
            }
            None => None,
        };
        let mut swept: Vec<PathBuf> = unified.iter().cloned().collect();
        let mut has_legacy = false;
        for subsystem in Subsystem::ALL {
            if let Some(own) = own_directory(Hierarchy::Legacy(subsystem.name()))? {
                has_legacy = true;
                // Some controllers share a hierarchy.
                if !swept.contains(&own) {
                    swept.push(own);
                }
            }
        }
        let found = Self {
            lease,
            unified,
            swept,
            legacy: [const { OnceLock::new() }; 4],
            has_legacy,
            enabled: Mutex::new([false; 2]),
        };
        Ok(PLACES.get_or_init(|| found))
    }

    /// Removes dead servers' directories from time to time.
    pub fn sweep(&self) {
        self.lease.sweep(self.swept.iter().map(PathBuf::as_path));
    }

    /// Whether a VM may have a directory in any hierarchy of version 1.
    pub(super) fn has_legacy(&self) -> bool {
        self.has_legacy
    }

    /// Where directories of a version 1 controller can be made.
    pub(super) fn legacy(&self, subsystem: Subsystem) -> io::Result<Option<&Path>> {
        let place = &self.legacy[subsystem as usize];
        if let Some(found) = place.get() {
            return Ok(found.as_deref());
        }
        let found = match own_directory(Hierarchy::Legacy(subsystem.name()))? {
            Some(own) => can_make(&own, &self.lease, subsystem.file())?.then_some(own),
            None => None,
        };
        Ok(place.get_or_init(|| found).as_deref())
    }
}

/// Where a limit can be set. In version 2, also enables the controller there.
pub fn find(places: &CgroupPlaces, controller: Controller) -> Result<LimitPlace<'_>, Unavailable> {
    let unavailable = |cause: String| Unavailable { controller, cause };
    let unified = match &places.unified {
        Some(parent) => {
            let mut enabled = places.enabled.lock();
            if enabled[controller as usize] {
                return Ok(LimitPlace::Unified);
            }
            match enable(parent, controller) {
                Ok(()) => {
                    enabled[controller as usize] = true;
                    return Ok(LimitPlace::Unified);
                }
                Err(cause) => cause,
            }
        }
        None => "there is no cgroup v2 directory that the server may make others in".into(),
    };
    match places.legacy(controller.subsystem()) {
        Ok(Some(parent)) => Ok(LimitPlace::Legacy(parent)),
        Ok(None) => Err(unavailable(format!(
            "{unified}, and no {} cgroup of version 1 either",
            controller.name()
        ))),
        Err(error) => Err(unavailable(format!(
            "the server's cgroups cannot be read: {error}"
        ))),
    }
}

/// What would enforce a limit, for a caller that only asks. Moves and enables nothing.
pub fn serves(controller: Controller) -> Result<Version, Unavailable> {
    let unavailable = |cause: String| Unavailable { controller, cause };
    let places = CgroupPlaces::get().map_err(|error| unavailable(error.to_string()))?;
    if let Some(parent) = &places.unified
        && lists(parent, "cgroup.controllers", controller)
        && (lists(parent, "cgroup.subtree_control", controller) || is_arrangeable(parent))
    {
        return Ok(Version::Two);
    }
    match places.legacy(controller.subsystem()) {
        Ok(Some(_)) => Ok(Version::One),
        Ok(None) => Err(unavailable(format!(
            "no {} controller in a cgroup that the server may arrange",
            controller.name()
        ))),
        Err(error) => Err(unavailable(error.to_string())),
    }
}

/// The directory that holds what belongs to this server: its own, or the one above if an earlier server or systemd
/// (`DelegateSubgroup=`) has moved the server down already.
fn arranged(own: &Path) -> PathBuf {
    match own.parent() {
        Some(parent) if own.ends_with(SERVERS) || (is_delegated(parent) && !is_delegated(own)) => {
            parent.to_owned()
        }
        _ => own.to_owned(),
    }
}

/// Whether systemd allows the directory's user to arrange it (`Delegate=`).
fn is_delegated(path: &Path) -> bool {
    [c"user.delegate", c"trusted.delegate"]
        .into_iter()
        .any(|name| sys::has_attribute(path, name, b"1"))
}

/// Whether this server may move the processes in the directory. Root could do so anywhere, so permission is not enough:
/// either systemd has marked the directory, or nothing else of the hierarchy is visible, as in a container.
fn is_arrangeable(path: &Path) -> bool {
    if !nix::unistd::geteuid().is_root() {
        return nix::unistd::access(
            &path.join("cgroup.subtree_control"),
            nix::unistd::AccessFlags::W_OK,
        )
        .is_ok();
    }
    is_delegated(path)
        || !path
            .parent()
            .is_some_and(|above| above.join("cgroup.procs").exists())
}

/// Whether the list in `file` contains the controller.
fn lists(directory: &Path, file: &str, controller: Controller) -> bool {
    fs::read_to_string(directory.join(file))
        .is_ok_and(|list| list.split_whitespace().any(|name| name == controller.name()))
}

/// Enables a controller for the children of `parent`; otherwise returns the reason why not.
fn enable(parent: &Path, controller: Controller) -> Result<(), String> {
    let name = controller.name();
    if !lists(parent, "cgroup.controllers", controller) {
        return Err(format!("the server's cgroup v2 has no {name} controller"));
    }
    if lists(parent, "cgroup.subtree_control", controller) {
        return Ok(());
    }
    let write = || set(parent, "cgroup.subtree_control", &format!("+{name}"));
    let failed = |error: &io::Error| format!("the {name} controller cannot be enabled: {error}");
    match write() {
        Ok(()) => return Ok(()),
        Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {}
        Err(error) => return Err(failed(&error)),
    }
    if !is_arrangeable(parent) {
        return Err("the server's cgroup v2 is not delegated to it".into());
    }
    // A process may fork into the directory while it is being emptied.
    for _ in 0..MOVE_TRIES {
        move_down(parent)
            .map_err(|error| format!("the server cannot be moved to a cgroup of its own: {error}"))?;
        match write() {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {}
            other => return other.map_err(|error| failed(&error)),
        }
    }
    Err(failed(&io::Error::from_raw_os_error(libc::EBUSY)))
}

/// Moves all processes in `parent` to a directory below.
fn move_down(parent: &Path) -> io::Result<()> {
    let below = parent.join(SERVERS);
    match fs::create_dir(&below) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        other => other?,
    }
    for pid in fs::read_to_string(parent.join("cgroup.procs"))?.lines() {
        match set(&below, "cgroup.procs", pid) {
            // It has ended.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
            other => other?,
        }
    }
    Ok(())
}

/// Whether directories with that file can be made in `parent`. Lack of descriptors or memory is an error, not an
/// answer.
fn can_make(parent: &Path, lease: &Lease, file: &str) -> io::Result<bool> {
    match Directory::make(parent, || lease.name()) {
        Ok(probe) => Ok(probe.path().join(file).exists()),
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM)
            ) =>
        {
            Err(error)
        }
        Err(_) => Ok(false),
    }
}
