//! The N-API shell: the only room that knows Node.js.
//!
//! One class, [`vm::NativeVm`], whose methods take plain values and a call number. A method answers at once where it can;
//! otherwise the answer comes later through the VM's one threadsafe function, with the events, in the order in which
//! things happened. `index.js` makes promises, emitter and error objects of it.

mod bridge;
mod files;
mod host_files;
mod json;
mod log;
mod message;
mod options;
mod run;
mod sys;
mod turn;
mod value;
mod vm;
