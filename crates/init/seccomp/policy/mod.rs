//! The filter's answer to each call. This is only data, which `compile.rs` compiles into a program.
//! `src/seccomp/mod.rs` gives the reasons, and adds `clone3` and `openat2` for programs.

pub mod arguments;
pub mod calls;
pub mod check;
pub mod errno;
pub mod modes;
mod refused;

use calls::Call;
use check::Check;
use errno::{ENOSYS, EPERM, SUCCESS};
use modes::Modes;
use refused::{NOT_CARRIED_OUT, NOT_PERMITTED, NOT_THERE};

/// The answers of one filter: a call in neither list is allowed, and an unassigned number is ENOSYS.
#[derive(Clone, Debug)]
pub struct Table {
    /// Calls that are always refused, and the errors.
    pub refused: Vec<(&'static [Call], u32)>,
    /// Calls that are refused unless their arguments pass.
    pub checks: Vec<Check>,
}

/// The table for init and for everything that runs in a VM of that kind.
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
