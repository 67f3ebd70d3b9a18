//! The cgroups of families, in both versions.

use std::os::fd::OwnedFd;

use agent_vm_protocol::message::CgroupSetting;
use nix::errno::Errno;

use super::cgroup::{Leaf, LeafCgroups};
use super::memory::{MemoryCgroups, MemoryLeaf};

/// The cgroups of one family, as far as the host has a place for them.
#[derive(Debug, Default)]
pub struct FamilyCgroups {
    /// Identifies the family's processes.
    pub leaf: Option<Leaf>,
    /// Counts the processes that the kernel kills because memory runs out, if `leaf` does not.
    pub memory: Option<MemoryLeaf>,
}

impl FamilyCgroups {
    /// Whether a directory of it was removed on the host. Any host process with the permission can do that while
    /// nothing runs in it.
    pub fn was_removed(&self) -> bool {
        self.leaf.as_ref().is_some_and(|leaf| !leaf.exists())
            || self.memory.as_ref().is_some_and(|leaf| !leaf.exists())
    }

    /// How many of the family's processes the kernel has killed because memory ran out, if that is counted.
    pub fn kills(&self) -> Result<u64, Errno> {
        match (&self.memory, &self.leaf) {
            (Some(memory), _) => memory.kills(),
            (None, Some(leaf)) => leaf.kills(),
            (None, None) => Ok(0),
        }
    }
}

/// Where and how the cgroups of families are made.
#[derive(Debug, Default)]
pub struct Cgrouping {
    /// The directory in which their directories are made.
    pub families_fd: Option<OwnedFd>,
    /// The settings of each of them.
    pub family_settings: Vec<CgroupSetting>,
    /// Whether they count the processes that the kernel kills because memory runs out.
    pub counts_kills: bool,
    /// Otherwise, the directory for directories that do.
    pub memory_fd: Option<OwnedFd>,
    /// The settings of each of those.
    pub memory_settings: Vec<CgroupSetting>,
}

/// Gives families their cgroups.
#[derive(Debug)]
pub struct CgroupPools {
    families: Option<LeafCgroups>,
    memory: Option<MemoryCgroups>,
}

impl CgroupPools {
    /// No cgroup is made yet.
    pub fn new(cgrouping: Cgrouping) -> Self {
        let counts_kills = cgrouping.counts_kills;
        Self {
            families: cgrouping
                .families_fd
                .map(|fd| LeafCgroups::new(fd, counts_kills, cgrouping.family_settings)),
            memory: cgrouping
                .memory_fd
                .map(|fd| MemoryCgroups::new(fd, cgrouping.memory_settings)),
        }
    }

    /// Whether a cgroup identifies each family.
    pub fn name_families(&self) -> bool {
        self.families.is_some()
    }

    /// The cgroups for a family that is about to start.
    pub fn take(&mut self) -> Result<FamilyCgroups, Errno> {
        let mut taken = FamilyCgroups {
            leaf: self.families.as_mut().map(LeafCgroups::take).transpose()?,
            memory: None,
        };
        match self.memory.as_mut().map(MemoryCgroups::take).transpose() {
            Ok(memory) => {
                taken.memory = memory;
                Ok(taken)
            }
            Err(errno) => {
                self.give_back(taken)?;
                Err(errno)
            }
        }
    }

    /// Takes back the cgroups of a family that did not start, or has ended.
    pub fn give_back(&mut self, cgroups: FamilyCgroups) -> Result<(), Errno> {
        if let (Some(memory), Some(leaf)) = (&mut self.memory, cgroups.memory) {
            memory.give_back(leaf);
        }
        match (&mut self.families, cgroups.leaf) {
            (Some(families), Some(leaf)) => families.give_back(leaf),
            _ => Ok(()),
        }
    }

    /// Forgets idle directories that somebody on the host has removed.
    pub fn forget_removed(&mut self) {
        self.families.iter_mut().for_each(LeafCgroups::forget_removed);
        self.memory.iter_mut().for_each(MemoryCgroups::forget_removed);
    }

    /// Makes what the next family will need.
    pub fn prepare(&mut self) -> Result<(), Errno> {
        self.families.as_mut().map_or(Ok(()), LeafCgroups::prepare)
    }
}
