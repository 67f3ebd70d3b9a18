//! The bytes that a program sends to the proxy before it is connected: the head of an HTTP request, or a SOCKS 5
//! handshake.
#![no_main]

use agent_vm_host::proxy::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| match data {
    [5, rest @ ..] => fuzzing::socks(rest),
    head => fuzzing::http_head(head),
});
