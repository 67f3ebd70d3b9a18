//! The screens of shells: what a person who looks at a terminal sees.
//!
//! [`emulator`] turns output into a screen, [`drawing`] decides when, and [`size`] how large a screen may be.

mod backlog;
mod canvas;
mod drawing;
mod emulator;
mod history;
mod long_strings;
mod room;
mod size;
mod title;
mod view;

pub use drawing::{Drawing, Turns};
pub use history::{Change, SizeHistory};
pub use room::{ReservedCells, ScreenRoom};
pub use size::Size;
pub use view::{ScreenView, View};
