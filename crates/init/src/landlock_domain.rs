//! The Landlock domain of a VM without namespaces (`landlock(7)`).
//!
//! A domain is inherited, can only be narrowed, and is the same for all that descends from the process that entered it.
//! [`Deputy`](crate::deputy)s enter it; init stays outside, where no signal and no debugger of a program's reaches it.
//!
//! What Landlock does not hold is left to the seccomp filters: [`confine_without_namespaces`](crate::seccomp) and
//! [`mediate`](crate::mediate).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use agent_vm_protocol::message;
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, SFlag, fstat};

use crate::mediate::Replaced;

/// What is needed at least: with it came the scopes that keep signals and abstract sockets inside (Linux 6.12).
const NEEDED: ABI = ABI::V6;

/// What is taken too where the kernel has it; nothing of it is ever granted.
const WANTED: ABI = ABI::V9;

const DEVICES: [&str; 5] = [
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
];

/// What programs ask about the machine. No process's directory is among them: what one process may see there, all of the
/// host's users' may be seen by.
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

/// Why there is no domain.
#[derive(Debug, thiserror::Error)]
#[error("{step}")]
pub struct DomainError {
    /// What was being done.
    pub step: &'static str,
    /// What the kernel answered.
    pub errno: Errno,
}

/// The domain, before anybody is in it.
#[derive(Debug)]
pub struct LandlockDomain {
    ruleset: RulesetCreated,
    directory_fd: OwnedFd,
    replaced: Replaced,
    /// A rule holds on to a file itself, not to its name, and `/proc` makes a new file when its name is not held.
    _held: Vec<OwnedFd>,
}

impl LandlockDomain {
    /// Reads the wish. Rights to search directories are the caller's, so this is done before they are given up.
    pub fn build(wish: &message::LandlockFiles) -> Result<Self, DomainError> {
        let refused = |error: RulesetError| DomainError {
            step: "make a Landlock ruleset",
            errno: errno_of(&error),
        };
        let directory_fd = open_path(&wish.directory).map_err(|errno| DomainError {
            step: "open the directory for the VM's files",
            errno,
        })?;
        let replaced = Replaced::make(&wish.replaced, &wish.path_offsets).map_err(|errno| DomainError {
            step: "make the tables of users and groups",
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
                // Not on this host, or not for this user.
                Err(Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES | Errno::ENXIO | Errno::ELOOP) => continue,
                Err(errno) => {
                    return Err(DomainError {
                        step: "open what the VM may read",
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

    /// The directory of the VM's own files.
    pub fn directory(&self) -> BorrowedFd<'_> {
        self.directory_fd.as_fd()
    }

    /// The files that read otherwise than the host's.
    pub fn replaced(&self) -> &Replaced {
        &self.replaced
    }

    /// Takes the calling thread, and all that it will start, into the domain. Each call makes a domain of its own.
    pub fn enter(&self) -> Result<(), DomainError> {
        let failed = |errno| DomainError {
            step: "enter the Landlock domain",
            errno,
        };
        let ruleset = self
            .ruleset
            .try_clone()
            .map_err(|error| failed(error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)))?;
        let status = ruleset
            .restrict_self()
            .map_err(|error| failed(errno_of(&error)))?;
        // Partly is what a kernel answers that lacks what is only wanted; what is needed was required above.
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

/// The kernel's answer below one of the crate's errors; a ruleset that the kernel cannot have is not supported.
fn errno_of(error: &RulesetError) -> Errno {
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
