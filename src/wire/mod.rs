//! Everything that passes between JavaScript and Rust, and its form. The other half is lib/wire.js; `npm run
//! lint:types` checks it against the declarations generated from here (src/addon.d.ts).
//!
//! Options are plain objects. Values that go to JavaScript all the time, or that are large, have a cheaper form,
//! because each property that N-API defines costs about 1 µs. bench/NOTES.md has the figures ("What crosses to
//! JavaScript").
//!
//! - Output, exits and results of exec are positional values: an object costs 5 to 6 µs more each.
//! - Listings, attributes and errors are JSON: objects take twice the time for 300 processes, and three times for a
//!   `stat`.
//! - A program and its arguments are one string, separated by NULs: 5 to 9 times as fast as an array.
//! - The kind of a message is an integer: JavaScript compares it without creating a string for each message.

mod message;
mod options;
mod own_paths;
mod results;
mod screen;
mod usage;
mod watched;

pub use message::Message;
pub use options::{
    BootRequest, ContextExecOptions, ContextOptions, ExecOptions, ShellOptions, SpawnOptions, command, pipes,
    timeout,
};
pub use results::{
    context, context_summary, diagnosis, enforcement, error_value, listed_entries, listening_port, names,
    process_table, process_value, replay_value, shell, spawned_process, stat, status_value, too_large,
    typed_names,
};
pub use screen::screen;
pub use usage::usage;
pub use watched::watched;
