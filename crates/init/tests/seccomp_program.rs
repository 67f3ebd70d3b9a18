//! Interprets the compiled filter of both architectures as the kernel would: every number has the policy's answer.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may end with a panic")]

#[path = "../seccomp/compile.rs"]
mod compile;
#[path = "../seccomp/emulated_root.rs"]
mod emulated_root;
#[path = "../seccomp/policy/mod.rs"]
mod policy;
#[path = "../seccomp/shared_host.rs"]
mod shared_host;

use policy::Table;
use policy::calls::{Call, Machine};
use policy::errno::{ENOSYS, SUCCESS};
use policy::modes::Modes;
use seccompiler::sock_filter;

const MACHINES: [Machine; 2] = [Machine::X86_64, Machine::Aarch64];
const KINDS: [Modes; 3] = [Modes::Free, Modes::Asked, Modes::AskedElsewhere];
const ALLOW: u32 = 0x7fff_0000;
const ERRNO: u32 = 0x0005_0000;
const TRAP: u32 = 0x0003_0000;

fn tables() -> Vec<Table> {
    let mut tables = KINDS.map(policy::for_all).to_vec();
    tables.push(shared_host::table());
    tables
}

/// What the program returns for `number`; `None` if that depends on an argument.
fn answer(program: &[sock_filter], arch: u32, number: u32) -> Option<u32> {
    let mut accumulator = 0;
    let mut at = 0;
    loop {
        let instruction = &program[at];
        at += 1;
        let jump = |taken| usize::from(if taken { instruction.jt } else { instruction.jf });
        match (instruction.code, instruction.k) {
            (0x20, 0) => accumulator = number,
            (0x20, 4) => accumulator = arch,
            (0x20, _) => return None,
            (0x05, distance) => at += distance as usize,
            (0x15, k) => at += jump(accumulator == k),
            (0x35, k) => at += jump(accumulator >= k),
            (0x06, answer) => return Some(answer),
            (code, _) => panic!("instruction {code:#x} before an argument was read"),
        }
    }
}

#[test]
fn every_number_has_the_answer_of_the_policy() {
    for machine in MACHINES {
        for table in tables() {
            every_number_is_answered(machine, &table);
        }
    }
}

fn every_number_is_answered(machine: Machine, table: &Table) {
    let program = compile::compile(machine, table).unwrap();
    let is_listed = |calls: &[Call], number| calls.iter().any(|call| call.number(machine) == Some(number));
    for number in 0..2048 {
        let refused = table.refused.iter().find(|(calls, _)| is_listed(calls, number));
        let expected = if !machine.known().iter().any(|range| range.contains(&number)) {
            Some(ERRNO | ENOSYS)
        } else if let Some((_, errno)) = refused {
            Some(ERRNO | errno)
        } else if table
            .checks
            .iter()
            .any(|check| check.call.number(machine) == Some(number))
        {
            None
        } else {
            Some(ALLOW)
        };
        assert_eq!(
            answer(&program, machine.audit_arch(), number),
            expected,
            "{machine:?}: {number}"
        );
    }
}

#[test]
fn the_addition_for_root_answers_its_calls_and_allows_every_other_number() {
    for machine in MACHINES {
        let program = compile::compile_addition(machine, &emulated_root::CALLS, SUCCESS).unwrap();
        assert!(program.len() < 24, "each start pays for each instruction");
        let is_listed = |number| {
            let mut calls = emulated_root::CALLS.into_iter().flatten();
            calls.any(|call| call.number(machine) == Some(number))
        };
        for number in (0..2048).chain([0x4000_0000 + 92, 0x7fff_ffff, 0x8000_0000, u32::MAX]) {
            let expected = if is_listed(number) { ERRNO | SUCCESS } else { ALLOW };
            let got = answer(&program, machine.audit_arch(), number);
            assert_eq!(got, Some(expected), "{machine:?}: {number}");
        }
    }
}

#[test]
fn numbers_beyond_the_known_are_unknown_and_those_of_x32_a_signal() {
    for machine in MACHINES {
        let program = compile::compile(machine, &policy::for_all(Modes::Asked)).unwrap();
        let x32 = match machine {
            Machine::X86_64 => TRAP,
            Machine::Aarch64 => ERRNO | ENOSYS,
        };
        for number in 0x4000_0000..0x4000_0400 {
            let got = answer(&program, machine.audit_arch(), number);
            assert_eq!(got, Some(x32), "{machine:?}: {number}");
        }
        // -1 is the number of a call that a tracer has skipped.
        for number in [470, 0x3fff_ffff, 0x4000_0400, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
            assert_eq!(
                answer(&program, machine.audit_arch(), number),
                Some(ERRNO | ENOSYS),
                "{machine:?}: {number}"
            );
        }
    }
}

#[test]
fn every_number_of_another_architecture_is_a_signal() {
    const I386: u32 = 0x4000_0003;
    const ARM: u32 = 0x4000_0028;
    for (machine, other) in [
        (Machine::X86_64, Machine::Aarch64),
        (Machine::Aarch64, Machine::X86_64),
    ] {
        let program = compile::compile(machine, &policy::for_all(Modes::Asked)).unwrap();
        for arch in [I386, ARM, other.audit_arch(), 0] {
            for number in 0..512 {
                assert_eq!(
                    answer(&program, arch, number),
                    Some(TRAP),
                    "{machine:?}: {arch:#x}, {number}"
                );
            }
        }
    }
}

#[test]
fn the_kernel_takes_programs_of_this_length() {
    for machine in MACHINES {
        for table in tables() {
            assert!(compile::compile(machine, &table).unwrap().len() <= 4096);
        }
        assert_eq!(
            Machine::named(&format!("{machine:?}").to_lowercase()),
            Some(machine)
        );
    }
    assert_eq!(Machine::named("riscv64"), None);
}
