//! The cgroups of a VM: they identify its commands, and limit its memory and its processor time.
//!
//! **Identifying commands.** Where the host has a directory of the version 2 hierarchy to give, each VM gets one, in
//! which init makes one for every command: `cgroup.kill` then kills everything that the command started, however it
//! hides. This needs no controllers in the hierarchy, so it works on hosts that have those in version 1 as well.
//!
//! **A share.** In version 1 each VM is a cpu cgroup, so the scheduler gives all its processes together one share.
//!
//! **Limits** are made only when requested. In version 2 the VM's directory is split: init has one part, and all
//! programs share the other, which has the limits. In version 1 each controller has a separate directory. In both
//! versions init is outside of the memory limit, so the kernel can never choose init as its victim, and the VM
//! continues. Each command has a directory that counts the processes which the kernel killed in it because memory ran
//! out.
//!
//! [`shown`] describes what a VM sees of its cgroups.

mod controller;
mod directory;
mod error;
mod file;
mod hierarchy;
mod lease;
mod meters;
mod place;
mod quota;
mod settings;
mod shown;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::options::Resources;
use controller::Subsystem;
use directory::{Directory, give};
use error::AtCgroupStep;
use file::{set, set_if_there, tasks};
use lease::Lease;
use place::{CgroupPlaces, LimitPlace};
use quota::{PERIOD_US, quota_us};
use shown::{Bounds, Shown};

pub use controller::{Controller, Version};
pub use directory::CgroupDirectory;
pub use error::{CgroupError, CgroupStep, Unavailable};
pub use meters::{CgroupMeters, CgroupReading, CpuReading, MemoryReading};
pub use place::serves;
pub use shown::shown_at;

/// A VM's directories. Dropping them removes them with everything below, which must happen after the end of the VM's
/// last process.
#[derive(Debug, Default)]
pub struct VmCgroups {
    unified: Option<Unified>,
    memory: Option<Directory>,
    cpu: Option<Directory>,
    /// The directories of version 1 that programs see.
    shown: Option<Shown>,
    /// Whether programs see the limits.
    shows: bool,
    limits: Resources,
    /// What limits the memory, if requested.
    pub memory_by: Option<Version>,
    /// What limits the processor time, if requested.
    pub cpu_by: Option<Version>,
}

/// The VM's directories in the version 2 hierarchy.
#[derive(Debug)]
struct Unified {
    base: Directory,
    /// The part to which init moves once it has its cgroup namespace, and the part for programs. Without limits both
    /// are the base.
    split: Option<Split>,
}

#[derive(Debug)]
struct Split {
    init: PathBuf,
    programs: PathBuf,
    programs_fd: OwnedFd,
}

impl VmCgroups {
    /// Makes the cgroups of a VM whose user is `owner`, and what the VM is to see of them if it `shows` any. Commands
    /// get cgroups if the host has a place for them; a limit that cannot be enforced is an error.
    pub fn make(owner: u32, resources: &Resources, shows: bool) -> Result<Self, CgroupError> {
        let places = CgroupPlaces::get().at(CgroupStep::Find)?;
        places.sweep();
        let serving = |controller: Controller| place::find(places, controller);
        let memory = resources
            .memory_bytes
            .map(|bytes| serving(Controller::Memory).map(|place| (place, bytes)))
            .transpose()?;
        let cpu = resources
            .cpus
            .map(|cpus| serving(Controller::Cpu).map(|place| (place, cpus)))
            .transpose()?;

        let mut made = Self {
            shows,
            limits: resources.clone(),
            ..Self::default()
        };
        let mut in_unified = UnifiedLimits::default();
        match memory {
            Some((LimitPlace::Unified, bytes)) => {
                made.memory_by = Some(Version::Two);
                in_unified.memory = Some(bytes);
            }
            Some((LimitPlace::Legacy(parent), bytes)) => {
                made.memory_by = Some(Version::One);
                made.memory = Some(legacy_memory(parent, &places.lease, owner, bytes)?);
            }
            None => {}
        }
        match cpu {
            Some((LimitPlace::Unified, cpus)) => {
                made.cpu_by = Some(Version::Two);
                in_unified.cpus = Some(cpus);
            }
            Some((LimitPlace::Legacy(parent), cpus)) => {
                made.cpu_by = Some(Version::One);
                made.cpu = Some(legacy_cpu(parent, &places.lease, cpus)?);
            }
            None => made.cpu = one_share(places),
        }
        if let Some(parent) = &places.unified {
            made.unified = Some(Unified::make(parent, &places.lease, owner, &in_unified)?);
        }
        if shows && [made.memory_by, made.cpu_by].contains(&Some(Version::One)) {
            made.shown = Some(Shown::legacy(places, owner, made.bounds())?);
        }
        Ok(made)
    }

    /// The directories of version 1 that limit something.
    fn bounds(&self) -> Bounds<'_> {
        Bounds {
            memory: self.memory.as_ref(),
            cpu: self.cpu.as_ref(),
        }
    }

    /// The cgroup in which init starts.
    pub fn start_fd(&self) -> Option<BorrowedFd<'_>> {
        self.unified.as_ref().map(|unified| unified.base.as_fd())
    }

    /// The directory in which init makes one for each command.
    pub fn families(&self) -> Option<CgroupDirectory<'_>> {
        let unified = self.unified.as_ref()?;
        Some(match &unified.split {
            Some(split) => CgroupDirectory {
                path: &split.programs,
                fd: split.programs_fd.as_fd(),
            },
            None => CgroupDirectory::of(&unified.base),
        })
    }

    /// The directory in which init makes one for each command's memory, if that is in a separate hierarchy.
    pub fn memory(&self) -> Option<CgroupDirectory<'_>> {
        self.memory.as_ref().map(CgroupDirectory::of)
    }

    /// The files through which init joins cgroups by writing 0 to each. If the host moved init instead, that would take
    /// milliseconds.
    pub fn joins(&self) -> Result<Vec<OwnedFd>, CgroupError> {
        let shown = self.shown.iter().flat_map(|shown| shown.joins(self.bounds()));
        let all = self.cpu.iter().chain(shown);
        all.map(|directory| tasks(directory.path()).at(CgroupStep::Open))
            .collect()
    }

    /// The files through which init joins cgroups once it has its cgroup namespace.
    pub fn joins_after(&self) -> Result<Vec<OwnedFd>, CgroupError> {
        let after = self.shown.iter().flat_map(Shown::joins_after);
        after.map(|fd| fd.try_clone().at(CgroupStep::Share)).collect()
    }

    /// The directories that programs see, and their paths below `/sys`.
    pub fn shown(&self) -> Vec<(&'static str, CgroupDirectory<'_>)> {
        let unified = self
            .unified
            .as_ref()
            .filter(|unified| self.shows && unified.split.is_some());
        let unified = unified.map(|unified| {
            let place = shown::unified_at(self.shown.is_some());
            (place, CgroupDirectory::of(&unified.base))
        });
        let legacy = self
            .shown
            .iter()
            .flat_map(|shown| shown.directories(self.bounds()));
        unified.into_iter().chain(legacy).collect()
    }

    /// Whether [`confine`](Self::confine) moves init.
    pub fn moves_init(&self) -> bool {
        self.unified
            .as_ref()
            .is_some_and(|unified| unified.split.is_some())
    }

    /// Applies the limits. Init runs in the base, and its cgroup namespace begins there.
    pub fn confine(&self, init: i32, owner: u32) -> Result<(), CgroupError> {
        let resources = &self.limits;
        let Some(Unified {
            base,
            split: Some(split),
        }) = &self.unified
        else {
            return Ok(());
        };
        // The kernel gives controllers only to children of a directory that contains no processes itself.
        set(&split.init, "cgroup.procs", &init.to_string()).at(CgroupStep::MoveInit)?;
        let limits = UnifiedLimits {
            memory: resources
                .memory_bytes
                .filter(|_| self.memory_by == Some(Version::Two)),
            cpus: resources.cpus.filter(|_| self.cpu_by == Some(Version::Two)),
        };
        let wanted = limits.controllers();
        set(base.path(), "cgroup.subtree_control", &wanted).at(CgroupStep::Enable)?;
        let programs = &split.programs;
        if let Some(bytes) = limits.memory {
            set(programs, "memory.max", &bytes.to_string()).at(CgroupStep::LimitMemory)?;
            // Otherwise only memory would be limited, and the excess would be swapped to disk. A kernel without swap
            // lacks this file.
            set_if_there(programs, "memory.swap.max", "0").at(CgroupStep::LimitSwap)?;
            // The kernel kills one process, not everything in the VM.
            set_if_there(programs, "memory.oom.group", "0").at(CgroupStep::OutliveOom)?;
            // Each command counts its own kills.
            set(programs, "cgroup.subtree_control", "+memory").at(CgroupStep::CountOom)?;
        }
        if let Some(cpus) = limits.cpus {
            let value = format!("{} {PERIOD_US}", quota_us(cpus));
            set(programs, "cpu.max", &value).at(CgroupStep::LimitCpu)?;
            if self.shows {
                // Most runtimes look for a limit only in their own directory.
                set(programs, "cgroup.subtree_control", "+cpu").at(CgroupStep::ShowLimit)?;
            }
        }
        give(programs, owner).at(CgroupStep::Give)
    }
}

/// The limits in the version 2 hierarchy.
#[derive(Debug, Default)]
struct UnifiedLimits {
    memory: Option<u64>,
    cpus: Option<f64>,
}

impl UnifiedLimits {
    fn controllers(&self) -> String {
        let names = [self.memory.map(|_| "+memory"), self.cpus.map(|_| "+cpu")];
        names.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }
}

/// The part of a split directory for init, and the part for all programs.
const INIT: &str = "init";
const PROGRAMS: &str = "programs";

impl Unified {
    fn make(parent: &Path, lease: &Lease, owner: u32, limits: &UnifiedLimits) -> Result<Self, CgroupError> {
        let base = Directory::make(parent, || lease.name()).at(CgroupStep::Make)?;
        give(base.path(), owner).at(CgroupStep::Give)?;
        let split = if limits.controllers().is_empty() {
            None
        } else {
            let (init, _) = base.child(INIT).at(CgroupStep::MakeInit)?;
            give(&init, owner).at(CgroupStep::GiveInit)?;
            let (programs, programs_fd) = base.child(PROGRAMS).at(CgroupStep::MakePrograms)?;
            Some(Split {
                init,
                programs,
                programs_fd,
            })
        };
        Ok(Self { base, split })
    }
}

fn legacy_memory(parent: &Path, lease: &Lease, owner: u32, bytes: u64) -> Result<Directory, CgroupError> {
    let directory = Directory::make(parent, || lease.name()).at(CgroupStep::MakeMemory)?;
    let bytes = bytes.to_string();
    set(directory.path(), "memory.limit_in_bytes", &bytes).at(CgroupStep::LimitMemory)?;
    // The limit for memory and swap together; without swap accounting the file does not exist.
    set_if_there(directory.path(), "memory.memsw.limit_in_bytes", &bytes).at(CgroupStep::LimitSwap)?;
    give(directory.path(), owner).at(CgroupStep::GiveMemory)?;
    Ok(directory)
}

/// A cpu cgroup without a limit, if version 1 has a place for it, so that the VM as a whole has one share of the
/// processors. Otherwise the kernel would give every session a share (`sched(7)`, autogroup), and a program that makes
/// a hundred sessions would leave the server a hundredth.
fn one_share(places: &CgroupPlaces) -> Option<Directory> {
    let parent = places.legacy(Subsystem::Cpu).ok()??;
    Directory::make(parent, || places.lease.name()).ok()
}

fn legacy_cpu(parent: &Path, lease: &Lease, cpus: f64) -> Result<Directory, CgroupError> {
    let directory = Directory::make(parent, || lease.name()).at(CgroupStep::MakeCpu)?;
    set(directory.path(), "cpu.cfs_period_us", &PERIOD_US.to_string()).at(CgroupStep::LimitCpu)?;
    set(directory.path(), "cpu.cfs_quota_us", &quota_us(cpus).to_string()).at(CgroupStep::LimitCpu)?;
    Ok(directory)
}

/// Whether commands get cgroups on this host.
#[must_use]
pub fn names_commands() -> bool {
    CgroupPlaces::get().is_ok_and(|places| places.unified.is_some())
}
