//! Init against a host that sends nonsense: it refuses, reports that by its exit code, and ends. It runs without a
//! sandbox here, which does not change how it reads its socket.
#![allow(clippy::panic, clippy::unwrap_used, missing_docs, unsafe_code)]

mod started;

use agent_vm_protocol::message::{
    BindSource, FileStep, OpenMode, ProgramUser, Reply, Request, Spawn, Stdio, Target,
};
use started::{Init, boot};

/// Random bytes, the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // xorshift64
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }
}

#[test]
fn bytes_that_are_no_message_end_it_before_and_after_it_has_booted() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for length in [1, 2, 3, 10, 100, 30_000] {
        for form in 0..3 {
            let mut bytes = random.bytes(length);
            bytes[0] = form;
            // The number of a call may be anything, so a request that happens to decode is served; but end-of-file is
            // none of these.
            bytes.push(0xff);
            let init = Init::start();
            init.send_raw(&bytes);
            init.refused();
            let init = Init::booted();
            for _ in 0..200 {
                init.send_raw(&[&[3], &*bytes].concat());
            }
            init.refused();
        }
    }
}

#[test]
fn a_first_request_that_is_not_to_boot_ends_it() {
    let init = Init::start();
    init.send(&Request::Kill {
        call: 1,
        target: Target::Pid(1),
    });
    init.refused();
}

#[test]
fn a_second_boot_ends_it() {
    let mut init = Init::booted();
    init.send(&boot());
    assert!(init.end().success() || init.end().code() == Some(1));
}

#[test]
fn what_is_said_to_be_attached_and_is_not_fails_the_boot() {
    let Request::Boot(mut hollow) = boot() else {
        panic!("`boot` makes a boot request");
    };
    hollow.cgroups.families = Some(BindSource::Mount(7));
    let mut init = Init::start();
    init.send(&Request::Boot(hollow));
    assert!(matches!(
        init.reply(),
        Some(Reply::BootFailed {
            errno: libc::EBADF,
            ..
        })
    ));
    init.refused();
}

#[test]
fn requests_that_make_no_sense_are_answered_as_failed_and_it_goes_on() {
    let mut init = Init::booted();
    let spawn = |call, program: &str, cwd: &str| {
        Request::Spawn(Box::new(Spawn {
            call,
            program: program.into(),
            arguments: Vec::new(),
            env: Vec::new(),
            cwd: cwd.into(),
            stdio: Stdio::Output,
            argv0: None,
            report_background: false,
            brief: false,
            patience_ms: None,
            user: ProgramUser::User,
        }))
    };
    let file = |call, directory, path: &str| Request::File {
        call,
        step: FileStep::Open {
            directory,
            path: path.into(),
            mode: OpenMode::Read { follow: true },
        },
    };
    for request in [
        Request::Signal {
            call: 1,
            target: Target::Pid(0),
            signal: 9,
        },
        Request::Signal {
            call: 2,
            target: Target::Pid(u32::MAX),
            signal: -1,
        },
        Request::Kill {
            call: 3,
            // A process of the host, not of init.
            target: Target::Pid(std::process::id()),
        },
        spawn(4, "", "/"),
        spawn(5, "a\0b", "/"),
        spawn(6, "true", "/none"),
        file(7, Some(9), "x"),
        file(8, None, ""),
        file(9, None, "a\0b"),
    ] {
        init.send(&request);
        let reply = init.reply();
        assert!(
            matches!(reply, Some(Reply::Failed { .. })),
            "{request:?}: {reply:?}"
        );
    }
    init.send(&spawn(10, "true", "/"));
    assert!(matches!(init.reply(), Some(Reply::Spawned { call: 10, .. })));
}

#[test]
fn a_host_that_is_gone_ends_it() {
    let mut init = Init::booted();
    init.hang_up();
    assert!(init.end().success());
}
