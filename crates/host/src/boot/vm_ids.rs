//! The ids of a VM on the host, and how they are mapped.

use std::fs;

use agent_vm_protocol::message::{Launch, MapIds, OwnMap, Reply, Request};

use super::error::BootError;
use super::exchange::{await_reply, send, unasked};
use super::id_count::IdCount;
use super::ids::{BLOCK, IdError, IdLease, Subordinate};
use super::user::USER_ID;
use super::zygote::{self, Program};

/// The ids of a VM. Dropping them gives back what was leased.
#[derive(Debug)]
pub enum VmIds {
    /// The server's own.
    Own,
    /// Leased: the server is root.
    Leased(IdLease),
    /// Those of an ordinary user's subordinate range, and the server's own.
    Subordinate(Subordinate),
}

impl VmIds {
    /// The ids for a VM of a server with this uid and gid.
    pub fn take((uid, gid): (u32, u32), count: IdCount) -> Result<Self, IdError> {
        match (uid, count) {
            (0, IdCount::One) => IdLease::take().map(Self::Leased),
            (0, IdCount::Block | IdCount::Best) => IdLease::take_block().map(Self::Leased),
            (_, IdCount::One) => Ok(Self::Own),
            (_, IdCount::Block | IdCount::Best) => Ok(Self::Subordinate(Subordinate::of(uid, gid)?)),
        }
    }

    /// Whether they are 65,536.
    pub fn are_many(&self) -> bool {
        match self {
            Self::Own => false,
            Self::Leased(lease) => lease.first().is_some(),
            Self::Subordinate(_) => true,
        }
    }

    /// The first of 65,536 leased ids.
    pub fn first_leased(&self) -> Option<u32> {
        match self {
            Self::Leased(lease) => lease.first(),
            Self::Own | Self::Subordinate(_) => None,
        }
    }

    /// The host id of the VM's user, if it is not the server's own.
    pub fn of_user(&self) -> Option<u32> {
        match self {
            Self::Leased(lease) => Some(lease.id),
            Self::Own | Self::Subordinate(_) => None,
        }
    }

    /// The map of the VM's user, for a server with this uid and gid.
    pub fn own_map(&self, (uid, gid): (u32, u32)) -> OwnMap {
        let (id, is_part) = match self {
            Self::Leased(lease) => (Some(lease.id), lease.first().is_some()),
            Self::Own => (None, false),
            Self::Subordinate(_) => (None, true),
        };
        OwnMap {
            inside: USER_ID,
            uid: id.unwrap_or(uid),
            gid: id.unwrap_or(gid),
            is_part,
        }
    }

    /// Maps the ids of a process in a user namespace that has none yet, unless it maps its only one itself.
    pub fn map(&self, program: &Program, pid: i32) -> Result<(), BootError> {
        match self {
            Self::Own => Ok(()),
            Self::Leased(lease) => match lease.first() {
                None => Ok(()),
                Some(first) => ["uid_map", "gid_map"]
                    .into_iter()
                    .try_for_each(|map| {
                        fs::write(format!("/proc/{pid}/{map}"), format!("0 {first} {BLOCK}\n"))
                    })
                    .map_err(BootError::Maps),
            },
            Self::Subordinate(subordinate) => map_by_programs(program, pid, subordinate),
        }
    }
}

/// Has a copy of the zygote run the programs that may make such maps.
fn map_by_programs(program: &Program, pid: i32, subordinate: &Subordinate) -> Result<(), BootError> {
    let launch = Launch {
        namespaces: 0,
        cgroup: false,
        joins: 0,
        joins_after: 0,
        reports: false,
        own_map: None,
        take_ids: false,
    };
    let (_process, channel) = zygote::launch(program, &launch, &[])?;
    let programs = subordinate.programs();
    send(&channel, &Request::MapIds(MapIds { pid, programs }), Vec::new())?;
    match await_reply(&channel)? {
        (Reply::IdsMapped, _) => Ok(()),
        (Reply::IdsNotMapped { program, why }, _) => {
            Err(IdError::from(Subordinate::refused(program, why)).into())
        }
        _ => Err(unasked()),
    }
}
