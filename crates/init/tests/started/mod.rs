//! An init that a test has started, without a sandbox.
#![allow(dead_code, reason = "no test needs all of it")]

use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use agent_vm_protocol::message::{
    Boot, Cgroups, Isolation, Layers, Limits, Network, ProgramUser, Reply, Request,
};
use agent_vm_protocol::{Channel, Frame};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, sendmsg};

pub struct Init {
    child: Child,
    channel: Channel,
}

impl Init {
    pub fn start() -> Self {
        let (channel, control) = Channel::pair().unwrap();
        let control: OwnedFd = control.into();
        let mut command = Command::new(env!("CARGO_BIN_EXE_agent-vm-init"));
        let fd = control.as_raw_fd();
        // SAFETY: the child only calls dup2, which is safe there; it clears close-on-exec.
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

    pub fn booted() -> Self {
        let mut init = Self::start();
        init.send(&boot());
        assert!(matches!(init.reply(), Some(Reply::Ready { .. })));
        init
    }

    pub fn send(&self, request: &Request) {
        self.channel
            .send(&Frame::new(request, Vec::new()).unwrap())
            .unwrap();
    }

    pub fn send_raw(&self, bytes: &[u8]) {
        // Init may have ended already.
        let _gone = sendmsg::<()>(
            self.channel.as_raw_fd(),
            &[IoSlice::new(bytes)],
            &[],
            MsgFlags::MSG_NOSIGNAL,
            None,
        );
    }

    pub fn reply(&mut self) -> Option<Reply> {
        loop {
            let mut watched = [PollFd::new(self.channel.as_fd(), PollFlags::POLLIN)];
            poll(&mut watched, PollTimeout::from(20_000u16)).unwrap();
            let received = self.channel.receive::<Reply>(&mut Vec::new()).ok().flatten();
            match received {
                // Nobody asked for it, and it may come at any time.
                Some((Reply::Helpers { .. }, _)) => {}
                other => return other.map(|(reply, _)| reply),
            }
        }
    }

    /// Closes the socket.
    pub fn hang_up(&mut self) {
        let (other, _) = Channel::pair().unwrap();
        drop(std::mem::replace(&mut self.channel, other));
    }

    pub fn end(&mut self) -> ExitStatus {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "init has not ended");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Checks that it ended by itself, without a panic (101) or a signal.
    pub fn refused(mut self) {
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

pub fn boot() -> Request {
    Request::Boot(Box::new(Boot {
        isolation: Isolation::None,
        hostname: "agent-vm".into(),
        take_id: None,
        network: Network::Host,
        rootfs: None,
        disk: None,
        layers: Layers::default(),
        landlock: None,
        hardware: None,
        root: Vec::new(),
        env: Some(vec![("PATH".into(), "/usr/bin:/bin".into())]),
        limits: Limits {
            pids: 100,
            open_files: 100,
            disk_bytes: 1 << 20,
            terminals: 64,
        },
        cgroups: Cgroups::default(),
        inner_ids: None,
        user: ProgramUser::User,
    }))
}
