//! What the filter answers to which call: data only, which `compile.rs` turns into a program. `src/seccomp/mod.rs` says
//! why, and adds `clone3` and `openat2` for programs.

pub mod arguments;
pub mod calls;
pub mod check;
pub mod modes;
mod refused;

use calls::Call;
use check::Check;
use modes::Modes;
use refused::{NOT_CARRIED_OUT, NOT_PERMITTED, NOT_THERE};

/// The call returns 0, and the kernel does nothing.
pub const SUCCESS: u32 = 0;
/// Errors that the filter answers with; the numbers are the same on both architectures.
pub const EPERM: u32 = 1;
pub const EINVAL: u32 = 22;
pub const ENOSYS: u32 = 38;
pub const EPROTONOSUPPORT: u32 = 93;
pub const EOPNOTSUPP: u32 = 95;
pub const EAFNOSUPPORT: u32 = 97;

/// The answers of one filter: what is in neither list is allowed, and a number without a meaning is ENOSYS.
#[derive(Clone, Debug)]
pub struct Table {
    /// Refused whatever the arguments, and with which error.
    pub refused: Vec<(&'static [Call], u32)>,
    /// Refused unless the arguments pass.
    pub checks: Vec<Check>,
}

/// For init and all that runs in a VM of that kind.
pub fn for_all(modes: Modes) -> Table {
    Table {
        refused: vec![
            (NOT_PERMITTED, EPERM),
            (NOT_THERE, ENOSYS),
            (NOT_CARRIED_OUT, SUCCESS),
        ],
        checks: arguments::checks().into_iter().chain(modes.checks()).collect(),
    }
}
