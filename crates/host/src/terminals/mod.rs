//! Whether the program in the foreground of a terminal waits for what a person types, as the kernel shows it in the VM's `/proc`.

mod descriptors;
mod look;
mod system_call;
mod watch;

pub use look::{LookAt, TerminalState, look};
pub use watch::{IdleLook, IdleWatch, ShellLook};
