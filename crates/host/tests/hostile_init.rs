//! The host against a compromised init: whatever init sends and attaches, the server does not panic or hang, every call
//! is answered, and dispose ends the VM and closes all descriptors that it brought.
//!
//! This program is its own init: the host starts it under init's name from a file in memory, as it starts every init. A
//! number in the VM's host name determines what it does there.
#![allow(clippy::unwrap_used, clippy::print_stdout, unsafe_code, missing_docs)]

use std::collections::VecDeque;
use std::fs::File;
use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use agent_vm_host::boot::{Isolation, Network, Options, Resources};
use agent_vm_host::{
    Abort, Command, EndRequest, Event, Events, Exec, KeptBytes, Limits, MorePipes, ProcessId, ReadRequest,
    ShellRequest, SpawnRequest, Timeout, Vm, WriteRequest, runtime,
};
use agent_vm_protocol::message::{
    Attributes, Boot, BootStep, Disk, Exit, Failure, KnownProcess, Measures, Reply, Request, Usage,
};
use agent_vm_protocol::{Channel, Frame};
use agent_vm_vfork::sys as vfork;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, socketpair};
use nix::unistd::pipe2;

/// The number of VMs in the test.
const VMS: u64 = 120;

/// How long a VM may take to answer all calls, and to end, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

fn main() {
    if std::env::args()
        .next()
        .is_some_and(|name| name == "agent-vm-init")
    {
        hostile();
    } else {
        the_server_goes_on();
    }
}

/// Random numbers that depend only on the seed (xorshift64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn bytes(&mut self, bound: u64) -> Vec<u8> {
        (0..self.below(bound)).map(|_| self.next() as u8).collect()
    }
}

// ---- init's side

fn hostile() {
    // SAFETY: the host gives init its socket as descriptor 3, and nothing else here uses it.
    let zygote = Channel::from(unsafe { OwnedFd::from_raw_fd(3) });
    let Some((channel, boot)) = honest_zygote(zygote) else {
        return;
    };
    let seed: u64 = boot.hostname.trim_start_matches("seed-").parse().unwrap();
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    if !say_ready(&channel, &mut random, &boot) {
        return;
    }
    let mut calls: VecDeque<u64> = VecDeque::new();
    for _ in 0..random.below(400) {
        if let Some(request) = receive(&channel, PollTimeout::from(2u8)) {
            calls.push_back(number_of(&request));
        }
        let call = match random.below(4) {
            0 => calls.pop_front(),
            1 => calls.back().copied(),
            2 => calls.front().copied(),
            _ => Some(random.below(50)),
        };
        say(&channel, &mut random, call.unwrap_or(1));
    }
    match random.below(3) {
        0 => {}
        // A VM that neither answers nor ends before the server does.
        1 => {
            let mut watched = [PollFd::new(channel.as_fd(), PollFlags::empty())];
            poll(&mut watched, PollTimeout::NONE).unwrap();
        }
        _ => std::process::abort(),
    }
}

/// Behaves like init's zygote; returns, in each copy that the host asks for, the copy's socket and boot request.
fn honest_zygote(mut channel: Channel) -> Option<(Channel, Box<Boot>)> {
    loop {
        let mut watched = [PollFd::new(channel.as_fd(), PollFlags::POLLIN)];
        poll(&mut watched, PollTimeout::NONE).ok()?;
        let (request, fds) = channel.receive(&mut Vec::new()).ok()??;
        let launch = match request {
            Request::Launch(launch) => launch,
            Request::Boot(boot) => return Some((channel, boot)),
            Request::DescribeHardware { .. } => {
                let reply = Reply::HardwareDescribed { can_clone: true };
                let mount_fd = File::open("/").ok()?.into();
                channel.send(&Frame::new(&reply, vec![mount_fd]).ok()?).ok()?;
                return None;
            }
            Request::Hold(hold) => {
                hold_honestly(&channel, hold.tops.len());
                return None;
            }
            _ => return None,
        };
        let mut fds = fds.into_iter();
        let socket = fds.next()?;
        let cgroup = if launch.cgroup { fds.next() } else { None };
        let options = vfork::ChildOptions {
            namespaces: launch.namespaces,
            sibling: true,
            cgroup: cgroup.as_ref().map(AsFd::as_fd),
            pidfd: true,
            ..vfork::ChildOptions::default()
        };
        // SAFETY: on init's side the program has one thread.
        let copied = unsafe { vfork::copy(&options) }.unwrap();
        if let Some(vfork::Child { pid, pidfd, .. }) = copied {
            let reply = Reply::Launched { pid };
            channel
                .send(&Frame::new(&reply, pidfd.into_iter().collect()).unwrap())
                .unwrap();
            continue;
        }
        channel = Channel::from(socket);
        if launch.reports {
            channel
                .send(&Frame::new(&Reply::Settled, Vec::new()).unwrap())
                .unwrap();
        }
    }
}

/// Answers as a holder does while the host asks: a VM's programs cannot reach a holder.
fn hold_honestly(channel: &Channel, tops: usize) {
    let mut mounts = 0;
    loop {
        let fds = (0..mounts).map(|_| File::open("/dev/null").unwrap().into());
        channel
            .send(&Frame::new(&Reply::Held, fds.collect()).unwrap())
            .unwrap();
        if receive(channel, PollTimeout::NONE).is_none() {
            return;
        }
        mounts = tops;
    }
}

fn receive(channel: &Channel, timeout: PollTimeout) -> Option<Request> {
    let mut watched = [PollFd::new(channel.as_fd(), PollFlags::POLLIN)];
    poll(&mut watched, timeout).ok()?;
    channel
        .receive(&mut Vec::new())
        .ok()
        .flatten()
        .map(|(request, _)| request)
}

fn number_of(request: &Request) -> u64 {
    match request {
        Request::Launch(_)
        | Request::DescribeHardware { .. }
        | Request::Hold(_)
        | Request::HandOut
        | Request::Keep(_)
        | Request::MapIds(_)
        | Request::MergeLayers(_)
        | Request::Boot(_)
        | Request::Adopt { .. }
        | Request::StopAwaiting { .. }
        | Request::StopStart { .. } => 0,
        Request::Spawn(spawn) => spawn.call,
        Request::Interrupt(interrupt) => interrupt.call,
        Request::Freeze { call, .. }
        | Request::Signal { call, .. }
        | Request::Kill { call, .. }
        | Request::HangUp { call, .. }
        | Request::AwaitEnd { call, .. }
        | Request::Connect { call, .. }
        | Request::Measure { call }
        | Request::TakeLayer { call }
        | Request::File { call, .. } => *call,
    }
}

/// Mostly behaves like an honest init, because otherwise the boot would fail at once.
fn say_ready(channel: &Channel, random: &mut Random, _boot: &Boot) -> bool {
    let (reply, fds) = match random.below(12) {
        0 => (Reply::Ready { helpers: Vec::new() }, Vec::new()),
        1 => (Reply::Ready { helpers: Vec::new() }, vec![attachment(random)]),
        2 => (
            Reply::BootFailed {
                step: BootStep::Mount("\0/..".repeat(5000)),
                errno: random.next() as i32,
            },
            Vec::new(),
        ),
        3 => (Reply::Done { call: 0 }, Vec::new()),
        4 => return send_raw(channel, &random.bytes(100), &[]),
        _ => (
            Reply::Ready { helpers: Vec::new() },
            vec![File::open("/proc").unwrap().into()],
        ),
    };
    channel.send(&Frame::new(&reply, fds).unwrap()).is_ok()
}

/// An exit status, possibly an impossible one.
fn exit(random: &mut Random) -> Exit {
    Exit {
        code: random.next() as i32,
        signal: random.next() as i32,
        oom: random.below(2) == 0,
        usage: Usage {
            user_us: u64::MAX,
            system_us: u64::MAX,
            max_rss_kib: random.next(),
        },
        background: vec![
            KnownProcess {
                pid: u32::MAX,
                start: random.next(),
            };
            random.below(50) as usize
        ],
    }
}

fn say(channel: &Channel, random: &mut Random, call: u64) {
    let count = match random.below(10) {
        0 => 100,
        other => other / 2,
    };
    let fds: Vec<OwnedFd> = (0..count).map(|_| attachment(random)).collect();
    let number = random.next() as i32;
    let reply = match random.below(14) {
        0..=3 => Reply::Spawned {
            call,
            pid: random.next() as u32,
        },
        4 => Reply::Exited {
            call,
            exit: exit(random),
        },
        5 => Reply::Ran {
            call,
            pid: random.next() as u32,
            exit: exit(random),
        },
        6 => Reply::Done { call },
        7 => Reply::Failed {
            call,
            error: Failure {
                errno: number,
                syscall: "\u{0}\n".into(),
                path: None,
            },
        },
        8 => Reply::Connected { call },
        9 => Reply::Opened { call },
        10 => Reply::Attributes {
            call,
            attributes: Attributes {
                size: u64::MAX,
                atime_ns: i64::MIN,
                mode: random.next() as u32,
                ..Attributes::default()
            },
        },
        11 => Reply::Path {
            call,
            path: random.bytes(300),
        },
        12 => Reply::Measured {
            call,
            measures: Measures {
                own_us: u64::MAX,
                most_running: random.next(),
                disk: Some(Disk {
                    bytes: random.next(),
                    free_bytes: u64::MAX,
                    files: 0,
                    free_files: random.next(),
                }),
                ..Measures::default()
            },
        },
        _ if random.below(20) == 0 => {
            send_raw(channel, &random.bytes(200), &fds);
            return;
        }
        _ => Reply::Ready { helpers: Vec::new() },
    };
    // The host may have given it up, or may not have read for a while.
    let _unheard = channel.send(&Frame::new(&reply, fds).unwrap());
}

fn send_raw(channel: &Channel, bytes: &[u8], fds: &[OwnedFd]) -> bool {
    let raw: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control = if raw.is_empty() { &[][..] } else { &rights[..] };
    let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
    sendmsg::<()>(channel.as_raw_fd(), &[IoSlice::new(bytes)], control, flags, None).is_ok()
}

fn attachment(random: &mut Random) -> OwnedFd {
    let memory = |size: u64| {
        let file = File::from(memfd_create(c"hostile", MFdFlags::MFD_CLOEXEC).unwrap());
        file.set_len(size).unwrap();
        OwnedFd::from(file)
    };
    let socket = |kind| {
        let (one, other) = socketpair(AddressFamily::Unix, kind, None, SockFlag::SOCK_CLOEXEC).unwrap();
        // The pipe is full, and its other end is closed.
        let _sent = nix::unistd::write(&other, &[7; 1000]);
        one
    };
    match random.below(10) {
        0 => memory(0),
        1 => memory(1 << 40),
        2 => pipe2(OFlag::O_CLOEXEC).unwrap().0,
        3 => pipe2(OFlag::O_CLOEXEC).unwrap().1,
        4 => File::open("/").unwrap().into(),
        5 => File::open("/dev/zero").unwrap().into(),
        6 => socket(SockType::Stream),
        7 => socket(SockType::Datagram),
        8 => File::open("/proc/self/status").unwrap().into(),
        _ => File::open("/dev/null").unwrap().into(),
    }
}

// ---- the host's side

#[derive(Default)]
struct CountedEnds(AtomicUsize);

impl Events for CountedEnds {
    fn emit(&self, event: Event) {
        if matches!(event, Event::Exit { .. }) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
}

fn options(seed: u64) -> Options {
    Options {
        init: std::env::current_exe().unwrap(),
        hostname: format!("seed-{seed}"),
        node: None,
        isolation: Isolation::Namespaces,
        rootfs: None,
        directories: Vec::new(),
        host_files: agent_vm_host::boot::HostFiles::default(),
        bins: Vec::new(),
        home: None,
        disk: None,
        mounts: Vec::new(),
        network: Network::None,
        env: Vec::new(),
        limits: Limits {
            pids: 100,
            open_files: 100,
            disk_bytes: 1 << 20,
            terminals: 64,
        },
        resources: Resources::default(),
        log: None,
        layers: agent_vm_host::Layers::default(),
        ids: None,
        user: None,
    }
}

fn the_server_goes_on() {
    let panics = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&panics);
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        seen.fetch_add(1, Ordering::SeqCst);
        usual(panic);
    }));
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let mut before = 0;
    let mut booted = 0;
    for seed in 1..=VMS {
        if seed == 20 {
            before = open();
        }
        booted += usize::from(live(seed));
    }
    // The last descriptors are closed on the thread that read from them.
    let deadline = Instant::now() + PATIENCE;
    while open() > before && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(
        open() <= before,
        "descriptors stay open: {before}, then {}",
        open()
    );
    assert_eq!(panics.load(Ordering::SeqCst), 0, "panics");
    assert!(booted > VMS as usize / 2, "{booted} booted");
    println!("test the_server_goes_on_whatever_its_inits_say ... ok ({booted} of {VMS} booted)");
    println!("\ntest result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
}

async fn read_and_write(vm: &Vm) {
    let read = ReadRequest {
        path: "/x".into(),
        offset: 0,
        length: None,
        most: 1000,
    };
    drop(vm.read_file(read).await);
    let write = WriteRequest {
        path: "/x".into(),
        content: vec![1; 1000],
        mode: Some(0o600),
        mtime_ms: Some(1.0),
    };
    drop(vm.write_file(write).await);
}

/// Runs one VM: every kind of call, and then its end. Returns whether it booted.
fn live(seed: u64) -> bool {
    let events = Arc::new(CountedEnds::default());
    let Ok(vm) = Vm::boot(&options(seed), 1 << 16, Arc::clone(&events) as Arc<dyn Events>) else {
        return false;
    };
    let command = || Command {
        program: "true".into(),
        arguments: Vec::new(),
        env: Vec::new(),
        cwd: None,
        argv0: None,
        user: None,
    };
    let pending = Arc::new(AtomicUsize::new(0));
    let answered = |pending: &Arc<AtomicUsize>| {
        pending.fetch_add(1, Ordering::SeqCst);
        let pending = Arc::clone(pending);
        move || {
            pending.fetch_sub(1, Ordering::SeqCst);
        }
    };
    let runtime = runtime::handle().unwrap();
    let timeout = |round: u64| Timeout {
        after: Duration::from_millis(50),
        request: round.is_multiple_of(2).then_some(EndRequest {
            signal: libc::SIGTERM,
            grace: Duration::from_millis(20),
        }),
    };
    for round in 0..4 {
        let done = answered(&pending);
        drop(vm.exec(
            Exec {
                command: command(),
                // Without standard input, the exec is a short one.
                stdin: vec![1; if round % 2 == 0 { 100_000 } else { 0 }],
                timeout: Some(timeout(round)),
                kept: KeptBytes {
                    head: 1 << 16,
                    tail: 1 << 16,
                },
                on_output: None,
            },
            Box::new(move |_| done()),
        ));
        let done = answered(&pending);
        vm.spawn(
            SpawnRequest {
                command: command(),
                stdin: vec![1; 100_000],
                timeout: Some(timeout(round)),
                pipes: MorePipes::default(),
            },
            Box::new(move |_| done()),
        );
        let done = answered(&pending);
        vm.open_shell(
            ShellRequest {
                command: command(),
                cols: 80,
                rows: 24,
                screen: true,
            },
            Box::new(move |_| done()),
        );
        let (calls, done) = (vm.clone(), answered(&pending));
        drop(runtime.spawn(async move {
            read_and_write(&calls).await;
            drop(calls.readlink("/x".into()).await);
            drop(calls.readdir("/".into(), true, Arc::new(|_, _| {})).await);
            drop(calls.delete("/x".into(), true).await);
            done();
        }));
        let (calls, done) = (vm.clone(), answered(&pending));
        drop(runtime.spawn(async move {
            drop(calls.connect(80, &Abort::default()).await);
            drop(calls.kill_process(ProcessId { pid: 1, start: None }).await);
            drop(calls.signal_process(ProcessId { pid: 7, start: None }, 15).await);
            drop(calls.usage().await);
            drop(calls.process_table(<[_]>::len).await);
            done();
        }));
    }
    std::thread::sleep(Duration::from_millis(30));
    let (calls, done) = (vm.clone(), answered(&pending));
    drop(runtime.spawn(async move {
        calls.dispose().await;
        done();
    }));
    drop(vm);
    let deadline = Instant::now() + PATIENCE;
    while pending.load(Ordering::SeqCst) > 0 {
        assert!(
            Instant::now() < deadline,
            "seed {seed}: {pending:?} calls are not answered"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(events.0.load(Ordering::SeqCst), 1, "seed {seed}: exit");
    true
}
