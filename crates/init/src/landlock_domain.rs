//! The Landlock domain of a VM without namespaces (`landlock(7)`).
//!
//! A domain is inherited, can only be narrowed, and applies to all descendants of the process that entered it.
//! [`Deputy`](crate::deputy)s enter it. Init stays outside, where no program can signal or trace it.
//!
//! The seccomp filters cover what Landlock does not: [`confine_without_namespaces`](crate::seccomp) and
//! [`mediate`](crate::mediate).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use agent_vm_protocol::message::{self, BootStep};
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, SFlag, fstat};

use crate::mediate::Replaced;
use crate::sys::errno_of;

/// The required version: it introduced the scopes that confine signals and abstract sockets (Linux 6.12).
const NEEDED: ABI = ABI::V6;

/// Also restricted if the kernel supports it; no rule ever allows any of it.
const WANTED: ABI = ABI::V9;

const DEVICES: [&str; 5] = [
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
];

/// Files about the machine that programs may read. No process's directory is included: if one process could be read
/// there, so could all processes of the host's users.
const MACHINE: [&str; 19] = [
    "/proc/cpuinfo",
    "/proc/filesystems",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/uptime",
    "/proc/version",
    "/proc/sys/fs/pipe-max-size",
    "/proc/sys/kernel/cap_last_cap",
    "/proc/sys/kernel/ngroups_max",
    "/proc/sys/kernel/osrelease",
    "/proc/sys/kernel/ostype",
    "/proc/sys/kernel/pid_max",
    "/proc/sys/kernel/random",
    "/proc/sys/kernel/threads-max",
    "/proc/sys/vm/max_map_count",
    "/proc/sys/vm/overcommit_memory",
    "/sys/devices/system/cpu/online",
    "/sys/devices/system/cpu/possible",
];

/// Why no domain could be made.
#[derive(Debug, thiserror::Error)]
#[error("{step}")]
pub struct DomainError {
    /// The step that failed.
    pub step: BootStep,
    /// The kernel's error.
    pub errno: Errno,
}

/// A domain that no process has entered yet.
#[derive(Debug)]
pub struct LandlockDomain {
    ruleset: RulesetCreated,
    directory_fd: OwnedFd,
    replaced: Replaced,
    /// Kept open because a rule is for a file itself, not for its name, and `/proc` makes a new file once the old one
    /// is closed.
    _held: Vec<OwnedFd>,
}

impl LandlockDomain {
    /// Builds the domain from the request. It needs the caller's rights to search directories, so it runs before those
    /// are given up.
    pub fn build(wish: &message::LandlockFiles) -> Result<Self, DomainError> {
        let refused = |error: RulesetError| DomainError {
            step: BootStep::MakeRuleset,
            errno: ruleset_errno(&error),
        };
        let directory_fd = open_path(&wish.directory).map_err(|errno| DomainError {
            step: BootStep::OpenFiles,
            errno,
        })?;
        let replaced = Replaced::make(&wish.replaced, &wish.path_offsets).map_err(|errno| DomainError {
            step: BootStep::MakeTables,
            errno,
        })?;
        let mut ruleset = Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(AccessFs::from_all(NEEDED))
            .and_then(|ruleset| ruleset.handle_access(AccessNet::from_all(NEEDED)))
            .and_then(|ruleset| ruleset.scope(Scope::from_all(NEEDED)))
            .and_then(|ruleset| {
                ruleset
                    .set_compatibility(CompatLevel::BestEffort)
                    .handle_access(AccessFs::from_all(WANTED))
            })
            .and_then(Ruleset::create)
            .map_err(refused)?;

        let read = AccessFs::Execute | AccessFs::ReadFile | AccessFs::ReadDir;
        let device = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::Truncate;
        let own =
            AccessFs::from_all(NEEDED) & !(AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev);
        let readable = wish.readable.iter().map(|path| (path.as_str(), read));
        let devices = DEVICES.iter().map(|path| (*path, device));
        // The terminal of the process that opens it.
        let terminal = ("/dev/tty", device | AccessFs::IoctlDev);
        let machine = MACHINE
            .iter()
            .map(|path| (*path, AccessFs::ReadFile | AccessFs::ReadDir));
        let mut held = Vec::new();
        for (path, access) in readable.chain(devices).chain([terminal]).chain(machine) {
            let fd = match open_path(path) {
                Ok(fd) => fd,
                // The file does not exist on this host, or this user may not open it.
                Err(Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES | Errno::ENXIO | Errno::ELOOP) => continue,
                Err(errno) => {
                    return Err(DomainError {
                        step: BootStep::OpenReadable,
                        errno,
                    });
                }
            };
            ruleset = allow(ruleset, fd.as_fd(), access).map_err(refused)?;
            if path.starts_with("/proc/") || path.starts_with("/sys/") {
                held.push(fd);
            }
        }
        ruleset = allow(ruleset, directory_fd.as_fd(), own).map_err(refused)?;
        Ok(Self {
            ruleset,
            directory_fd,
            replaced,
            _held: held,
        })
    }

    /// The directory for the VM's own files.
    pub fn directory(&self) -> BorrowedFd<'_> {
        self.directory_fd.as_fd()
    }

    /// The files whose content differs from the host's.
    pub fn replaced(&self) -> &Replaced {
        &self.replaced
    }

    /// Moves the calling thread, and everything that it will start, into a new domain.
    pub fn enter(&self) -> Result<(), DomainError> {
        let failed = |errno| DomainError {
            step: BootStep::EnterDomain,
            errno,
        };
        let ruleset = self
            .ruleset
            .try_clone()
            .map_err(|error| failed(errno_of(&error)))?;
        let status = ruleset
            .restrict_self()
            .map_err(|error| failed(ruleset_errno(&error)))?;
        // "Partially enforced" means that the kernel lacks optional features; the required ones were checked above.
        if status.ruleset == RulesetStatus::NotEnforced {
            return Err(failed(Errno::EOPNOTSUPP));
        }
        Ok(())
    }
}

fn allow(
    ruleset: RulesetCreated,
    fd: BorrowedFd<'_>,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    let is_directory = fstat(fd)
        .is_ok_and(|found| SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR);
    let access = if is_directory {
        access
    } else {
        access & AccessFs::from_file(NEEDED)
    };
    ruleset.add_rule(PathBeneath::new(fd, access))
}

fn open_path(path: &str) -> Result<OwnedFd, Errno> {
    open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
}

/// The kernel's error inside an error of the landlock crate; a ruleset that the kernel does not support is EOPNOTSUPP.
pub fn ruleset_errno(error: &RulesetError) -> Errno {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::raw_os_error)
        {
            return Errno::from_raw(found);
        }
        cause = error.source();
    }
    Errno::EOPNOTSUPP
}
