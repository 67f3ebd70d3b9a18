//! The shell of a context: one process that runs command after command and keeps its state between them.
//!
//! **Control.** The shell's standard input is a socket. A small text (`drivers/`) reads commands from it and runs each with `eval`, in
//! the shell's own process and with standard input at end-of-file. A shell saves a descriptor that it redirects at a number from 10
//! on and closes it when it executes a program, so no program has the socket.
//!
//! **The end of a command** is what the kernel says: the shell's process waits in a read of the socket ([`ShellLook`]). Before it does,
//! it reports the status, on the same socket, where the kernel names the process that wrote (`SCM_CREDENTIALS`): what anybody else
//! writes is dropped. So nothing that a command prints, and no other process, can end it.
//! Where the kernel does not let the server look, the shell's own report counts.
//!
//! **The exported variables** outlive the shell, so the server knows them before each command. bash writes each of them by itself; it
//! is asked when a command has ended, and answers while its caller has the result, before it reads the next command. The other
//! shells write them at once, with each status.
//!
//! **Output** goes through two pipes that live as long as the shell. A command that leaves processes running may leave them these
//! pipes; then the host drops what they bring from then on, and before the next command the shell opens two new ones, through the
//! `/proc` of a program that holds their other ends.
//!
//! **What a command has started** descends from the shell, which is the parent of its orphans (`PR_SET_CHILD_SUBREAPER`). What
//! was there before the command is known from the end of the last one, and is spared when a timeout ends the command.

mod command_end;
mod contexts;
mod control_socket;
mod descendants;
mod environment;
mod exports;
mod id;
mod interrupt;
mod look;
mod session;
mod shell;
mod shell_kind;
mod sys;
mod view;
mod vm_side;

pub use contexts::{Context, Contexts, MOST_COMMANDS, SavedContexts};
pub use descendants::below_all;
pub use id::ContextId;
pub use interrupt::{CommandBounds, Why};
pub use session::{ContextStart, EndOutcome, Origin, Session};
pub use shell::Begun;
pub use vm_side::VmSide;
