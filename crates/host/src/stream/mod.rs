//! Reads one pipe or terminal of a process: as fast as the receiver accepts the data and, up to the end, exactly what
//! was written.
//!
//! A [`Source`] reads into a [`Sink`]. [`read`] does one read of a pipe, or of a [`terminal`], which needs more care;
//! both report to [`load`] how busy they are.

mod chunks;
mod kind;
mod load;
mod piece;
mod read;
mod rest;
mod sink;
mod source;
mod terminal;

pub use chunks::Chunks;
pub use kind::StreamKind;
pub use rest::{StreamEnd, read_rest};
pub use sink::Sink;
pub use source::Source;
