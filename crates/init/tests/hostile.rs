//! Init against a host that has lost its mind: it refuses, says so by its exit code, and ends. It runs without a sandbox of
//! its own here, which changes nothing of how it reads its socket.
#![allow(clippy::unwrap_used, missing_docs, unsafe_code)]

use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use agent_vm_protocol::message::{
    Boot, Cgroups, FileStep, Isolation, Limits, Network, OpenMode, Reply, Request, Spawn, Stdio, Target,
};
use agent_vm_protocol::{Channel, Frame};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, sendmsg};

struct Init {
    child: Child,
    channel: Channel,
}

impl Init {
    fn start() -> Self {
        let (channel, control) = Channel::pair().unwrap();
        let control: OwnedFd = control.into();
        let mut command = Command::new(env!("CARGO_BIN_EXE_agent-vm-init"));
        let fd = control.as_raw_fd();
        // SAFETY: only dup2 is called in the child, which is safe there; it clears close-on-exec.
        unsafe {
            command.pre_exec(move || {
                if libc::dup2(fd, 3) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
                Ok(())
            });
        }
        Self {
            child: command.spawn().unwrap(),
            channel,
        }
    }

    fn booted() -> Self {
        let mut init = Self::start();
        init.send(&boot());
        assert!(matches!(init.reply(), Some(Reply::Ready { .. })));
        init
    }

    fn send(&self, request: &Request) {
        self.channel
            .send(&Frame::new(request, Vec::new()).unwrap())
            .unwrap();
    }

    fn send_raw(&self, bytes: &[u8]) {
        // It may have gone by now.
        let _gone = sendmsg::<()>(
            self.channel.as_raw_fd(),
            &[IoSlice::new(bytes)],
            &[],
            MsgFlags::MSG_NOSIGNAL,
            None,
        );
    }

    fn reply(&mut self) -> Option<Reply> {
        let mut watched = [PollFd::new(self.channel.as_fd(), PollFlags::POLLIN)];
        poll(&mut watched, PollTimeout::from(20_000u16)).unwrap();
        self.channel
            .receive::<Reply>(&mut Vec::new())
            .ok()
            .flatten()
            .map(|(reply, _)| reply)
    }

    fn end(&mut self) -> ExitStatus {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "init goes on");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// It ended by itself, without a panic (101) or a signal.
    fn refused(mut self) {
        assert_eq!(self.end().code(), Some(1));
    }
}

impl Drop for Init {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
    }
}

fn boot() -> Request {
    Request::Boot(Box::new(Boot {
        isolation: Isolation::None,
        hostname: "agent-vm".into(),
        take_id: None,
        network: Network::Host,
        rootfs: None,
        walls: None,
        root: Vec::new(),
        env: Some(vec![("PATH".into(), "/usr/bin:/bin".into())]),
        limits: Limits {
            pids: 100,
            open_files: 100,
            disk_bytes: 1 << 20,
        },
        cgroups: Cgroups::default(),
    }))
}

/// Bytes that differ from call to call and are the same from run to run.
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
            // A call's number may be anything, so a request that happens to decode is served; the end of file is not
            // among these.
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
    let Request::Boot(mut hollow) = boot() else { return };
    hollow.cgroups.families = Some(7);
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
            report_background: false,
            brief: false,
        }))
    };
    let file = |call, directory, path: &str| Request::File {
        call,
        step: FileStep::Open {
            directory,
            path: path.into(),
            mode: OpenMode::Read,
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
            // Of the host, and none of its own.
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
    let (other, _) = Channel::pair().unwrap();
    drop(std::mem::replace(&mut init.channel, other));
    assert!(init.end().success());
}
