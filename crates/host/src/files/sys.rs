//! Changes the rights of a single thread by direct system calls, because the C library's functions change those of all
//! threads.
#![allow(unsafe_code)]

use std::io;
use std::marker::PhantomData;
use std::ptr;

use parking_lot::Mutex;

use crate::boot::GuestIds;

/// The header that `capget(2)` takes.
#[repr(C)]
struct Header {
    version: u32,
    pid: libc::c_int,
}

/// `_LINUX_CAPABILITY_VERSION_3`: two words for each set.
const VERSION: u32 = 0x2008_0522;

#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Capabilities {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// While it lives, this thread reads and writes files as the VM's user would: with that user's file-system ids, without
/// supplementary groups, and without effective capabilities. [`restore`](Self::restore) ends it.
#[derive(Debug)]
pub struct AsGuest {
    capabilities: [Capabilities; 2],
    owner: Option<Owner>,
    #[allow(dead_code, reason = "dropping it is its work")]
    dumpable: Option<Dumpable>,
    _this_thread: PhantomData<*const ()>,
}

/// The thread's rights before the change.
#[derive(Debug)]
struct Owner {
    uid: u32,
    gid: u32,
    groups: Vec<libc::gid_t>,
}

impl AsGuest {
    /// Changes this thread. `ids` are those of the VM's user on the host, if they differ from the server's.
    pub fn enter(ids: Option<GuestIds>) -> io::Result<Self> {
        let capabilities = capabilities()?;
        let mut guest = Self {
            capabilities,
            owner: None,
            dumpable: None,
            _this_thread: PhantomData,
        };
        match guest.change(ids) {
            Ok(()) => Ok(guest),
            Err(error) => {
                guest.restore();
                Err(error)
            }
        }
    }

    fn change(&mut self, ids: Option<GuestIds>) -> io::Result<()> {
        if let Some(GuestIds { uid, gid }) = ids {
            self.dumpable = Some(Dumpable::keep());
            let owner = self.owner.insert(Owner {
                uid: fsuid(u32::MAX),
                gid: fsgid(u32::MAX),
                groups: groups()?,
            });
            // A user namespace may forbid setgroups(7); then there are no other groups whose rights could matter.
            match set_groups(&[]) {
                Err(error) if error.raw_os_error() == Some(libc::EPERM) => owner.groups.clear(),
                other => other?,
            }
            fsgid(gid);
            fsuid(uid);
            if fsuid(u32::MAX) != uid || fsgid(u32::MAX) != gid {
                return Err(io::Error::from_raw_os_error(libc::EPERM));
            }
        }
        if self.capabilities.iter().all(|set| set.effective == 0) {
            return Ok(());
        }
        set_capabilities(&self.capabilities.map(|set| Capabilities { effective: 0, ..set }))
    }

    /// Restores the thread's rights as far as possible. If it returns false, the thread must do nothing more.
    #[must_use = "a thread that is not what it was must not be used"]
    fn undo(&self) -> bool {
        let had_none = self.capabilities.iter().all(|set| set.effective == 0);
        if had_none && self.owner.is_none() {
            return true;
        }
        // First, because the other calls need the capabilities; and again last, because a change of the id changes
        // them.
        let mut restored = set_capabilities(&self.capabilities).is_ok();
        if let Some(owner) = &self.owner {
            fsuid(owner.uid);
            fsgid(owner.gid);
            restored &= fsuid(u32::MAX) == owner.uid && fsgid(u32::MAX) == owner.gid;
            restored &= owner.groups.is_empty() || set_groups(&owner.groups).is_ok();
            restored &= set_capabilities(&self.capabilities).is_ok();
        }
        restored && capabilities().is_ok_and(|now| now == self.capabilities)
    }

    /// Ends it. Does not return in a thread whose rights could not be restored.
    pub fn restore(self) {
        drop(self);
    }
}

impl Drop for AsGuest {
    fn drop(&mut self) {
        if !self.undo() {
            tracing::error!("a thread could not take its rights back; it does nothing more");
            loop {
                std::thread::park();
            }
        }
    }
}

/// Keeps core dumps of the server possible: when one thread's ids change, the kernel disables core dumps for the whole
/// process (`PR_SET_DUMPABLE(2const)`).
#[derive(Debug)]
struct Dumpable;

/// The number of changed threads, and whether the process was dumpable before the first change.
static CHANGED: Mutex<(usize, bool)> = Mutex::new((0, false));

impl Dumpable {
    fn keep() -> Self {
        let mut changed = CHANGED.lock();
        if changed.0 == 0 {
            // SAFETY: passes no pointers.
            changed.1 = unsafe { libc::prctl(libc::PR_GET_DUMPABLE) } == 1;
        }
        changed.0 += 1;
        Self
    }
}

impl Drop for Dumpable {
    fn drop(&mut self) {
        let mut changed = CHANGED.lock();
        changed.0 -= 1;
        if *changed == (0, true) {
            // SAFETY: passes no pointers. It cannot fail; if it did, only core dumps would be missing.
            let _ = unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1) };
        }
    }
}

/// Sets this thread's file-system user id and returns the previous one; an invalid id changes nothing.
fn fsuid(id: u32) -> u32 {
    // SAFETY: passes no pointers, and affects only this thread.
    unsafe { libc::syscall(libc::SYS_setfsuid, id) as u32 }
}

/// Like [`fsuid`], for the group id.
fn fsgid(id: u32) -> u32 {
    // SAFETY: passes no pointers, and affects only this thread.
    unsafe { libc::syscall(libc::SYS_setfsgid, id) as u32 }
}

fn groups() -> io::Result<Vec<libc::gid_t>> {
    // SAFETY: with a size of 0 the kernel writes nothing.
    let count = check(unsafe { libc::getgroups(0, ptr::null_mut()) }.into())?;
    let mut groups = vec![0; count as usize];
    // SAFETY: the vector has room for `count` ids.
    let count = check(unsafe { libc::getgroups(count as libc::c_int, groups.as_mut_ptr()) }.into())?;
    groups.truncate(count as usize);
    Ok(groups)
}

fn set_groups(groups: &[libc::gid_t]) -> io::Result<()> {
    // SAFETY: the kernel reads as many ids as the slice has. The C library's function would change all threads.
    check(unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) }).map(drop)
}

fn capabilities() -> io::Result<[Capabilities; 2]> {
    let mut header = Header {
        version: VERSION,
        pid: 0,
    };
    let mut sets = [Capabilities::default(); 2];
    // SAFETY: this version writes two sets, and the array has two.
    check(unsafe { libc::syscall(libc::SYS_capget, &raw mut header, sets.as_mut_ptr()) })?;
    Ok(sets)
}

fn set_capabilities(sets: &[Capabilities; 2]) -> io::Result<()> {
    let mut header = Header {
        version: VERSION,
        pid: 0,
    };
    // SAFETY: this version reads two sets. Pid 0 means this thread.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw mut header, sets.as_ptr()) }).map(drop)
}

fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may end with a panic")]
mod tests {
    use super::*;

    fn status() -> Vec<String> {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let of_rights = |line: &&str| {
            ["Uid", "Gid", "Groups", "Cap"]
                .iter()
                .any(|name| line.starts_with(name))
        };
        status.lines().filter(of_rights).map(str::to_owned).collect()
    }

    #[test]
    fn a_thread_has_the_guests_rights_and_then_its_own_again() {
        let before = status();
        // SAFETY: passes no pointers.
        let is_root = unsafe { libc::geteuid() } == 0;
        let id = is_root.then_some(GuestIds::same(1_999_999_999));
        let guest = AsGuest::enter(id).unwrap();
        let meanwhile = status();
        assert!(meanwhile.iter().any(|line| line == "CapEff:\t0000000000000000"));
        if is_root {
            assert_eq!(meanwhile[0], "Uid:\t0\t0\t0\t1999999999");
            assert_eq!(meanwhile[1], "Gid:\t0\t0\t0\t1999999999");
        }
        guest.restore();
        assert_eq!(status(), before);
        // A panic also restores the rights.
        drop(std::panic::catch_unwind(|| {
            let _guest = AsGuest::enter(id).unwrap();
            std::panic::resume_unwind(Box::new(()));
        }));
        assert_eq!(status(), before);
    }
}
