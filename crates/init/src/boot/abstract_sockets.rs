//! Unix sockets with abstract names belong to the network namespace: a VM in the host's network could reach those of
//! the host's services (desktop buses, container runtimes). The names are in memory, where seccomp cannot read them,
//! but Landlock can.

use agent_vm_protocol::message::BootStep;
use landlock::{CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr, Scope};

use super::error::BootError;
use crate::landlock_domain::ruleset_errno;

/// Puts this process, and everything that it will start, into a Landlock domain that connects only to its own abstract
/// sockets. Needs `no_new_privs`, or `CAP_SYS_ADMIN` where set-user-id programs are to keep their effect.
///
/// Does nothing on kernels before 6.12 (`landlock(7)`, ABI 6) and on kernels without Landlock; the documentation of the
/// network option says so.
pub fn fence(no_new_privs: bool) -> Result<(), BootError> {
    Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .scope(Scope::AbstractUnixSocket)
        .and_then(Ruleset::create)
        .and_then(|ruleset| ruleset.no_new_privs(no_new_privs).restrict_self())
        .map(drop)
        .map_err(|error| BootError::of(BootStep::FenceAbstractSockets, ruleset_errno(&error)))
}
