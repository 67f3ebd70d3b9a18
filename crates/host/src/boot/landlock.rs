//! Whether this kernel's Landlock is enough for a VM without namespaces.

use nix::errno::Errno;

use super::sys;

/// The first that keeps signals inside (`landlock(7)`): without that, programs of the server's own user could kill the
/// server. It came with Linux 6.12.
const NEEDED_ABI: u32 = 6;

/// Why Landlock cannot wall a VM off here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LandlockError {
    /// There is none, or it may not be used.
    #[error("the kernel refused Landlock: {}", .0.desc())]
    Refused(Errno),
    /// There is too little of it.
    #[error("the kernel's Landlock has ABI {0}, and {NEEDED_ABI} is the first that keeps signals inside")]
    TooOld(u32),
    /// Init could not make the walls.
    #[error("init could not {step}: {}", Errno::from_raw(*errno))]
    SetUp {
        /// The step.
        step: String,
        /// What the kernel answered.
        errno: i32,
    },
}

impl LandlockError {
    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Refused(Errno::EOPNOTSUPP) => {
                "Start the kernel with Landlock among its security modules: `lsm=landlock,...` on its command line, with \
                 what /sys/kernel/security/lsm lists now after it"
                    .into()
            }
            Self::Refused(Errno::ENOSYS) => {
                "Run on Linux 6.12 or later with Landlock built in (CONFIG_SECURITY_LANDLOCK); in a container, under a \
                 seccomp profile that lets landlock_create_ruleset, landlock_add_rule and landlock_restrict_self pass"
                    .into()
            }
            Self::Refused(_) => {
                "Let landlock_create_ruleset, landlock_add_rule and landlock_restrict_self pass in the container's seccomp \
                 profile"
                    .into()
            }
            Self::TooOld(_) => "Run on Linux 6.12 or later".into(),
            Self::SetUp { step, .. } if step.contains("take the VM's") || step.contains("leave the host's groups") => {
                "Leave the container CAP_SETUID, CAP_SETGID and CAP_CHOWN, or run the server as an ordinary user".into()
            }
            Self::SetUp { step, .. } if step.contains("directory") => {
                "Let TMPDIR of the server be a directory that everybody may search, such as /tmp".into()
            }
            Self::SetUp { .. } => "AgentVm.doctor() tells what this host lacks".into(),
        }
    }
}

/// The kernel's ABI, if it is enough.
pub fn check() -> Result<u32, LandlockError> {
    match sys::landlock_abi() {
        Err(errno) => Err(LandlockError::Refused(errno)),
        Ok(abi) if abi < NEEDED_ABI => Err(LandlockError::TooOld(abi)),
        Ok(abi) => Ok(abi),
    }
}
