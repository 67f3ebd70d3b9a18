//! Who init is, and what it may: the VM's user from early on, and in the end nothing that the user may not.

use agent_vm_protocol::message::Limits;
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};

use super::{At, BootError, sys};

/// Changes to the id that the host has mapped, keeping the capabilities that the rest of the boot needs.
pub fn take(id: Option<u32>) -> Result<(), BootError> {
    let Some(id) = id else { return Ok(()) };
    // Without this bit, leaving uid 0 of the namespace would clear them.
    sys::set_securebits(libc::SECBIT_NO_SETUID_FIXUP).at("keep capabilities over a change of user")?;
    change(id)
}

fn change(id: u32) -> Result<(), BootError> {
    setgroups(&[]).at("leave the host's groups")?;
    let (uid, gid) = (Uid::from_raw(id), Gid::from_raw(id));
    setresgid(gid, gid, gid).at("take the VM's group")?;
    setresuid(uid, uid, uid).at("take the VM's user")
}

/// Sets the bounds that init shares with its children. The one on open files is each child's own, because init holds
/// descriptors for all of them.
pub fn limit(limits: &Limits) -> Result<(), BootError> {
    // Not 0, at which the kernel still runs a handler that `core_pattern` names, as the host's root; 1 stops that too (core(5)).
    lower(Resource::RLIMIT_CORE, 1).at("forbid core dumps")?;
    // Counted per user namespace and user, so it bounds this VM alone.
    lower(Resource::RLIMIT_NPROC, limits.pids).at("limit the processes")
}

/// Raises init's own bound on open files as far as it goes.
pub fn raise_open_files() -> Result<(), BootError> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).at("read the limit on open files")?;
    if soft == hard {
        return Ok(());
    }
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).at("raise init's limit on open files")
}

/// Sets both limits to `value`, or to the hard limit where that is lower: raising it is the initial namespace's right.
fn lower(resource: Resource, value: u64) -> Result<(), Errno> {
    let (_, hard) = getrlimit(resource)?;
    let value = value.min(hard);
    setrlimit(resource, value, value)
}

/// Gives up every capability for good, for init and for all that it will start.
pub fn renounce() -> Result<(), BootError> {
    sys::clear_ambient().at("clear the ambient capabilities")?;
    sys::clear_bounding().at("empty the capability bounding set")?;
    let bits = libc::SECBIT_NOROOT
        | libc::SECBIT_NOROOT_LOCKED
        | libc::SECBIT_NO_SETUID_FIXUP
        | libc::SECBIT_NO_SETUID_FIXUP_LOCKED
        | libc::SECBIT_KEEP_CAPS_LOCKED
        | libc::SECBIT_NO_CAP_AMBIENT_RAISE
        | libc::SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;
    sys::set_securebits(bits).at("lock the secure bits")?;
    sys::clear_capabilities().at("drop the capabilities")?;
    prctl::set_no_new_privs().at("set no_new_privs")
}

/// Takes the given id, if any, and gives up every right for good, in the host's own namespaces. There init may be without
/// capabilities from the start, and then may not lock them away either; `no_new_privs` alone sees to it that no program
/// gains any (`capabilities(7)`).
pub fn step_down(id: Option<u32>) -> Result<(), BootError> {
    match sys::clear_bounding() {
        Ok(()) | Err(Errno::EPERM) => {}
        Err(errno) => return Err(errno).at("empty the capability bounding set"),
    }
    if let Some(id) = id {
        change(id)?;
    }
    sys::clear_ambient().at("clear the ambient capabilities")?;
    sys::clear_capabilities().at("drop the capabilities")?;
    prctl::set_no_new_privs().at("set no_new_privs")
}
