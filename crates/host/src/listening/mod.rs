//! The TCP ports that a VM's processes listen on, as the kernel shows them in the VM's `/proc`.

mod holders;
mod listeners;
mod port;
mod sight;
mod watch;

pub use listeners::Counts;
pub use port::ListeningPort;
pub use sight::{NetworkSight, Sight};
pub use watch::{Look, PortWatch};
