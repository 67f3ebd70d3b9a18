//! What host and init say to each other: the messages, and the channel that carries them with descriptors.
//!
//! Control messages only. Output, input, terminals and files travel through descriptors that are handed across, never
//! through here. Both sides are built from one source and start together, so the encoding (postcard) has no versions;
//! a message that does not decode is an error of the channel, after which the side that met it gives up the VM.

pub mod channel;
pub mod message;
mod sys;

pub use channel::{Channel, DecodeError, Frame, FrameError, ReceiveError};
