//! Rules of the network option, with names and addresses that programs ask for.
#![no_main]

use agent_vm_host::proxy::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| fuzzing::rules(data));
