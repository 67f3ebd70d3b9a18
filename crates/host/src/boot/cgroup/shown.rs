//! What a VM with limits sees of its cgroups, so that runtimes find their limits.
//!
//! In version 2 that is the VM's directory. In version 1 it is the VM's directories of memory, cpu, cpuacct and cpuset:
//! Java uses none of them unless it finds all four. Init is in each of them when it takes its cgroup namespace, so
//! `/proc/self/cgroup` and `/proc/self/mountinfo` name them by the same paths. The cpuset directory limits and counts
//! nothing, so all VMs of a server share one, which is made for the first VM and removed with the last.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::chown;
use std::path::Path;
use std::sync::{Arc, Weak};

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;
use parking_lot::Mutex;

use super::controller::Subsystem;
use super::directory::{CgroupDirectory, Directory};
use super::error::{AtCgroupStep, CgroupError, CgroupStep};
use super::file::{set, set_if_there, tasks};
use super::lease::Lease;
use super::place::CgroupPlaces;

/// The directory for cgroups below `/sys`, and the one for version 2 if version 1 is shown too.
const CGROUPS: &str = "fs/cgroup";
const UNIFIED: &str = "fs/cgroup/unified";

/// The directories of version 1 that limit something.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds<'a> {
    /// For memory, if it is limited.
    pub memory: Option<&'a Directory>,
    /// For processor time, of which each VM has a share.
    pub cpu: Option<&'a Directory>,
}

/// Directories that are made only to be shown.
#[derive(Debug, Default)]
pub struct Shown {
    /// For memory, if it is not limited.
    memory: Option<Directory>,
    /// For cpuacct, if it is not in the cpu directory.
    accounting: Option<Directory>,
    processors: Option<Arc<Directory>>,
    /// Where init moves when it has its cgroup namespace: out of the memory limit.
    outside_memory: Option<OwnedFd>,
}

impl Shown {
    /// Makes the directories that version 1 needs in addition to `bounds`, for a VM whose user is `owner`.
    pub(super) fn legacy(places: &CgroupPlaces, owner: u32, bounds: Bounds<'_>) -> Result<Self, CgroupError> {
        let parent = |subsystem| places.legacy(subsystem).at(CgroupStep::Find);
        let own = |parent: &Path| {
            let made = Directory::make(parent, || places.lease.name()).at(CgroupStep::MakeShown)?;
            chown(made.path(), Some(owner), None).at(CgroupStep::Give)?;
            Ok::<_, CgroupError>(made)
        };
        let mut shown = Self::default();
        if let Some(memory) = parent(Subsystem::Memory)? {
            if bounds.memory.is_none() {
                shown.memory = Some(own(memory)?);
            } else {
                // An ordinary user may have a directory below a cgroup that belongs to others.
                shown.outside_memory = tasks(memory).ok();
            }
        }
        if let Some(cpu) = bounds.cpu {
            chown(cpu.path(), Some(owner), None).at(CgroupStep::Give)?;
        }
        if let Some(accounting) = parent(Subsystem::Accounting)?
            && parent(Subsystem::Cpu)? != Some(accounting)
        {
            shown.accounting = Some(own(accounting)?);
        }
        if let Some(processors) = parent(Subsystem::Processors)? {
            shown.processors = Some(shared_processors(processors, &places.lease)?);
        }
        Ok(shown)
    }

    /// The directories that init joins before it takes its cgroup namespace.
    pub(super) fn joins<'a>(&'a self, bounds: Bounds<'a>) -> impl Iterator<Item = &'a Directory> {
        let bounded = bounds
            .memory
            .into_iter()
            .filter(|_| self.outside_memory.is_some());
        let shared = self.processors.iter().map(AsRef::as_ref);
        bounded.chain(&self.memory).chain(&self.accounting).chain(shared)
    }

    /// The files through which init joins cgroups after that.
    pub(super) fn joins_after(&self) -> impl Iterator<Item = &OwnedFd> {
        self.outside_memory.iter()
    }

    /// The directories, with their paths below `/sys`.
    pub(super) fn directories<'a>(
        &'a self,
        bounds: Bounds<'a>,
    ) -> impl Iterator<Item = (&'static str, CgroupDirectory<'a>)> {
        let bounded = bounds.memory.filter(|_| self.outside_memory.is_some());
        let accounting = self.accounting.as_ref().or(bounds.cpu);
        [
            (Subsystem::Memory, bounded.or(self.memory.as_ref())),
            (Subsystem::Cpu, bounds.cpu),
            (Subsystem::Accounting, accounting),
            (Subsystem::Processors, self.processors.as_deref()),
        ]
        .into_iter()
        .filter_map(|(subsystem, directory)| Some((subsystem.shown_at(), CgroupDirectory::of(directory?))))
    }
}

/// The path of version 2 below `/sys`.
pub(super) fn unified_at(beside_legacy: bool) -> &'static str {
    if beside_legacy { UNIFIED } else { CGROUPS }
}

/// The paths below `/sys` at which cgroups are shown.
pub fn shown_at() -> Vec<String> {
    let legacy = CgroupPlaces::get().is_ok_and(CgroupPlaces::has_legacy);
    if !legacy {
        return Vec::new();
    }
    Subsystem::ALL
        .into_iter()
        .map(Subsystem::shown_at)
        .chain([UNIFIED])
        .map(str::to_owned)
        .collect()
}

/// The cpuset directory that all VMs of this server share.
fn shared_processors(parent: &Path, lease: &Lease) -> Result<Arc<Directory>, CgroupError> {
    static SHARED: Mutex<Weak<Directory>> = Mutex::new(Weak::new());
    let step = CgroupStep::MakeProcessors;
    let mut shared = SHARED.lock();
    if let Some(directory) = shared.upgrade().filter(|shared| shared.path().exists()) {
        return Ok(directory);
    }
    let directory = Directory::make(parent, || lease.name()).at(step)?;
    // Otherwise the host's scheduler would rebuild its domains.
    set_if_there(directory.path(), "cpuset.sched_load_balance", "0").at(step)?;
    let read = |name: &str| fs::read_to_string(parent.join(name));
    // A process that joins a cpuset may use all of its processors, so it gets those that this process may use.
    let processors = match own_processors() {
        Some(own) => own,
        None => read("cpuset.effective_cpus").at(step)?.trim().to_owned(),
    };
    let nodes = read("cpuset.effective_mems").at(step)?;
    set(directory.path(), "cpuset.cpus", &processors).at(step)?;
    set(directory.path(), "cpuset.mems", nodes.trim()).at(step)?;
    let directory = Arc::new(directory);
    *shared = Arc::downgrade(&directory);
    Ok(directory)
}

/// The processors that this thread may use, in the kernel's list format; `None` on a machine with more than the C
/// library's set holds.
fn own_processors() -> Option<String> {
    let set = sched_getaffinity(Pid::from_raw(0)).ok()?;
    let usable = (0..CpuSet::count()).filter(|&number| set.is_set(number).unwrap_or(false));
    let list: Vec<String> = usable.map(|number| number.to_string()).collect();
    Some(list.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_2_stands_where_runtimes_look_unless_version_1_does() {
        assert_eq!(unified_at(false), "fs/cgroup");
        assert_eq!(unified_at(true), "fs/cgroup/unified");
    }

    #[test]
    fn a_thread_may_use_some_processor() {
        let own = own_processors().expect("a list");
        assert!(
            own.split(',').all(|number| number.parse::<u32>().is_ok()),
            "{own}"
        );
    }
}
