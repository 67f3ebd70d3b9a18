//! The cgroups in which a program starts.

use std::os::fd::{AsFd, BorrowedFd};

use crate::family::FamilyCgroups;

/// The cgroups in which a program starts.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cgroup<'a> {
    /// A directory of version 2.
    pub into: Option<BorrowedFd<'a>>,
    /// The `tasks` file of a directory of version 1.
    pub join: Option<BorrowedFd<'a>>,
}

impl<'a> Cgroup<'a> {
    /// The cgroups of a family.
    pub fn of(cgroups: &'a FamilyCgroups) -> Self {
        Self {
            into: cgroups.leaf.as_ref().map(AsFd::as_fd),
            join: cgroups.memory.as_ref().map(AsFd::as_fd),
        }
    }
}
