//! Decodes messages between host and init, as their receiver does. Init's end of the socket is in a hostile VM.
//!
//! The first byte chooses the kind. A message that decodes must encode to a message that decodes to the same value.
#![no_main]

use agent_vm_protocol::Frame;
use agent_vm_protocol::channel::decode;
use agent_vm_protocol::message::{Reply, Request};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((kind, body)) = data.split_first() else {
        return;
    };
    let encodes = match kind % 2 {
        0 => decode::<Request>(body).map(|message| Frame::new(&message, Vec::new()).is_ok()),
        _ => decode::<Reply>(body).map(|message| Frame::new(&message, Vec::new()).is_ok()),
    };
    assert!(encodes.unwrap_or(true));
});
