//! The capabilities of root in a VM whose users are real: those that act on the VM's own ids, and no others.
//!
//! Root has them in the VM's inner user namespace. Mounts, the network, the host name and init belong to the outer one, where
//! root has none.
//!
//! `CAP_SETFCAP` is not among them: packages give programs such as `ping` capabilities that root lacks, and the kernel then refuses to
//! run these. Where that fails, the packages make the programs set-user-id instead, or leave them as they are.

/// The capabilities, each with its reason.
pub const OF_ROOT: [(Capability, &str); 11] = [
    (
        Capability::Chown,
        "package managers give files to the users of packages",
    ),
    (
        Capability::DacOverride,
        "root reads and writes the files of the VM's users",
    ),
    (
        Capability::Fowner,
        "root changes the modes of the VM's users' files",
    ),
    (
        Capability::Fsetid,
        "set-id bits survive when root writes or changes the group",
    ),
    (Capability::Kill, "root ends processes of the VM's users"),
    (Capability::Setgid, "services and `su` take the groups of users"),
    (Capability::Setuid, "services, `su` and `sudo` become other users"),
    (Capability::Setpcap, "services give up what they do not need"),
    (
        Capability::NetBindService,
        "services that check for it before they listen; every port is free anyway",
    ),
    (
        Capability::SysChroot,
        "services that check for it; the filter refuses `chroot(2)`",
    ),
    (
        Capability::AuditWrite,
        "programs that log in users check for it; the filter refuses audit sockets",
    ),
];

/// `CAP_*` of `linux/capability.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Capability {
    Chown = 0,
    DacOverride = 1,
    Fowner = 3,
    Fsetid = 4,
    Kill = 5,
    Setgid = 6,
    Setuid = 7,
    Setpcap = 8,
    NetBindService = 10,
    SysChroot = 18,
    AuditWrite = 29,
}

/// All of them as the kernel's mask; each is below 32.
const ALL: u32 = mask();

/// What root lacks in a VM that can have a file of the host: with it, a set-id file of the host would keep its mode when root writes
/// into it.
const NOT_WITH_HOST_FILES: u32 = 1 << Capability::Fsetid as u32;

/// The capabilities of root as the kernel's mask, in a VM that `has_host_files` or not.
pub const fn of_root(has_host_files: bool) -> u32 {
    if has_host_files {
        ALL & !NOT_WITH_HOST_FILES
    } else {
        ALL
    }
}

const fn mask() -> u32 {
    let mut mask = 0;
    let mut at = 0;
    while at < OF_ROOT.len() {
        mask |= 1 << (OF_ROOT[at].0 as u8);
        at += 1;
    }
    mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_has_eleven_capabilities_each_with_a_reason() {
        assert_eq!(of_root(false), 0x2004_05fb);
        assert_eq!(of_root(true), 0x2004_05eb);
        assert_eq!(of_root(false).count_ones() as usize, OF_ROOT.len());
        assert!(OF_ROOT.iter().all(|(_, why)| why.len() > 20));
    }
}
