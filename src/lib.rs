//! The N-API shell: the only room that knows Node.js.
//!
//! One class, [`vm::NativeVm`], whose methods take plain values and a call number. A method answers at once where it can;
//! otherwise the answer comes later through the VM's one threadsafe function, with the events, in the order in which
//! things happened. lib/ makes promises, events and errors of it.

mod bridge;
mod files;
mod host_files;
mod log;
mod run;
mod sys;
mod turn;
mod value;
mod vm;
mod wire;
