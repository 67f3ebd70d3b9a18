//! The messages between host and init, and the channel that carries them with descriptors.
//!
//! These are control messages only. Output, input, terminals and files use descriptors that are sent once; their data
//! never passes through here. Both sides are built from the same source and start together, so the encoding (postcard)
//! has no versions. A message that does not decode is an error of the channel, and the side that receives it gives up
//! the VM.

pub mod channel;
pub mod message;
mod sys;

pub use channel::{Channel, DecodeError, Frame, FrameError, ReceiveError};
