//! The N-API shell: the only crate that knows Node.js.
//!
//! It has one class, [`vm::NativeVm`], whose methods take plain values and a call number. A method answers at once if
//! it can. Otherwise the answer comes later through the VM's one threadsafe function, together with the events and in
//! their order. lib/ turns the answers into promises, events and errors.

mod archives;
mod bridge;
mod contexts;
mod descriptors;
mod directories;
mod file_streams;
mod files;
mod host_files;
mod local_archives;
mod log;
mod number;
mod pause;
mod run;
mod screens;
mod snapshots;
mod sys;
mod turn;
mod value;
mod vm;
mod waiting;
mod watch;
mod wire;
