//! The rights of the program that makes a call, in a VM whose users are real. The helper takes them to look the file up and to
//! change it, so that the kernel decides as it would for the program.
//!
//! For that the helper is in the VM's inner user namespace, with every capability there. No program can read or trace it: for that
//! a program would need the same capabilities, or `CAP_SYS_PTRACE`.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::unistd::{Gid, Uid, setfsgid, setfsuid, setgroups};

use super::caller::Caller;
use crate::spawn::capabilities::{Capability, of_root};
use crate::sys::{enter_user_namespace, set_capabilities};

/// All capabilities.
const ALL: u64 = u64::MAX;

/// Puts this process into the inner user namespace, with all capabilities there.
pub fn enter(users_fd: BorrowedFd<'_>) -> Result<(), Errno> {
    enter_user_namespace(users_fd)?;
    prctl::set_dumpable(false)
}

/// What decides about a program's rights to files.
#[derive(Debug, PartialEq, Eq)]
pub struct CallerRights {
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
    capabilities: u64,
}

impl CallerRights {
    /// Those of the thread that makes the call.
    pub fn read(caller: &Caller) -> Result<Self, Errno> {
        Self::parse(&caller.status()?).ok_or(Errno::EPERM)
    }

    /// From the thread's `status` (`proc_pid_status(5)`).
    fn parse(status: &str) -> Option<Self> {
        let field = |name: &str| {
            status
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"))
        };
        // Real, effective, saved, and for files.
        let for_files = |name| field(name)?.split('\t').nth(3)?.parse::<u32>().ok();
        let groups = field("Groups")?.split_ascii_whitespace();
        Some(Self {
            uid: Uid::from_raw(for_files("Uid")?),
            gid: Gid::from_raw(for_files("Gid")?),
            groups: groups
                .map(|group| group.parse().map(Gid::from_raw).ok())
                .collect::<Option<_>>()?,
            capabilities: u64::from_str_radix(field("CapEff")?, 16).ok()?,
        })
    }
}

/// While it lives, this process has the rights of a caller.
pub struct AsCaller(CallerRights);

impl AsCaller {
    /// Takes the rights of a caller.
    pub fn begin(mut rights: CallerRights) -> Result<Self, Errno> {
        // No program has more.
        rights.capabilities &= u64::from(of_root(false));
        let taken = Self(rights);
        taken.take()?;
        Ok(taken)
    }

    fn take(&self) -> Result<(), Errno> {
        let Self(rights) = self;
        setgroups(&rights.groups)?;
        setfsgid(rights.gid);
        setfsuid(rights.uid);
        // These calls return the id before, and no error. An invalid id changes nothing.
        if setfsgid(Gid::from_raw(u32::MAX)) != rights.gid || setfsuid(Uid::from_raw(u32::MAX)) != rights.uid
        {
            return Err(Errno::EPERM);
        }
        // A change of the ids resets it (`fs.suid_dumpable`).
        prctl::set_dumpable(false)?;
        set_capabilities(rights.capabilities, ALL)
    }

    /// Lets a mode keep its set-group-id bit for root, as it would with `CAP_FSETID`, which programs lack in a VM that can have files of the host.
    /// Only for a file that may have such a mode.
    pub fn keep_set_ids(&self) -> Result<(), Errno> {
        let is_roots = self.0.capabilities & (1 << Capability::Fowner as u32) != 0;
        if is_roots {
            set_capabilities(self.0.capabilities | 1 << Capability::Fsetid as u32, ALL)?;
        }
        Ok(())
    }
}

impl Drop for AsCaller {
    fn drop(&mut self) {
        // The ids stay those of the last caller: with all capabilities they decide nothing.
        if let Err(errno) = set_capabilities(ALL, ALL) {
            crate::sys::log(&errno);
            std::process::exit(1);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may end with a panic")]
mod tests {
    use super::*;

    #[test]
    fn the_rights_of_a_thread_are_in_its_status() {
        let status =
            "Name:\tx\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t9 10 \nCapEff:\t00000000000000ff\n";
        let found = CallerRights::parse(status).unwrap();
        let expected = CallerRights {
            uid: Uid::from_raw(4),
            gid: Gid::from_raw(8),
            groups: vec![Gid::from_raw(9), Gid::from_raw(10)],
            capabilities: 0xff,
        };
        assert_eq!(found, expected);
        let none = CallerRights::parse(&status.replace("9 10 ", "")).unwrap();
        assert_eq!(none.groups, []);
    }

    #[test]
    fn a_status_without_all_of_them_gives_no_rights() {
        for status in [
            "",
            "Uid:\t1\t2\t3\t4\n",
            "Uid:\t1\nGid:\t5\t6\t7\t8\nGroups:\t\nCapEff:\t0\n",
        ] {
            assert_eq!(CallerRights::parse(status), None);
        }
    }
}
