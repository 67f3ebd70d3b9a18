//! What an end of the control socket makes of bytes and descriptors that no honest other end would send: an error, or a
//! message that means what it says; never a panic, a wait, or a descriptor that stays open.
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs::File;
use std::io::{IoSlice, Read, Write};
use std::net::Ipv6Addr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use agent_vm_protocol::channel::{INLINE_BYTES, MAX_BYTES, MAX_DESCRIPTORS, decode};
use agent_vm_protocol::message::{
    Attributes, BindSource, Boot, BootStep, CgroupSetting, Cgroups, Existing, Exit, Failure, FileStep,
    Hardware, InnerIds, Isolation, KnownProcess, Launch, Layers, Limits, MapIds, MapProgram, MemoryCount,
    Network, OpenMode, OwnMap, ProgramUser, Reply, Request, RootEntry, ShownCgroup, Spawn, Stdio, Target,
    Usage, WriteMode,
};
use agent_vm_protocol::{Channel, Frame, ReceiveError};
use nix::fcntl::OFlag;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use nix::unistd::pipe2;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde::Serialize;
use serde::de::DeserializeOwned;

#[allow(clippy::too_many_lines, reason = "it is a list")]
fn requests() -> Vec<Request> {
    vec![
        Request::Launch(Launch {
            namespaces: 1,
            cgroup: true,
            joins: 3,
            joins_after: 1,
            reports: true,
            own_map: Some(OwnMap {
                inside: 1000,
                uid: 2,
                gid: 3,
                is_part: true,
            }),
            take_ids: true,
        }),
        Request::MapIds(MapIds {
            pid: 7,
            programs: vec![MapProgram {
                path: b"/usr/bin/newuidmap".to_vec().into(),
                ranges: vec![(0, 100_000, 1000), (1000, 1000, 1)],
            }],
        }),
        Request::DescribeHardware {
            directories: vec!["fs/cgroup/memory".into()],
        },
        Request::Adopt {
            env: vec![("A".into(), "b".into())],
        },
        Request::Boot(Box::new(Boot {
            isolation: Isolation::Namespaces,
            hostname: "agent-vm".into(),
            take_id: Some(1000),
            rootfs: None,
            network: Network::Host,
            disk: None,
            layers: Layers {
                mounts: vec![5, 6],
                shared: true,
            },
            landlock: None,
            hardware: Some(Hardware {
                mount: 4,
                can_clone: true,
            }),
            root: vec![
                RootEntry::File {
                    path: "/etc/passwd".into(),
                    content: "root".into(),
                },
                RootEntry::Bind {
                    path: "/usr".into(),
                    source: BindSource::Path("/usr".into()),
                    read_only: true,
                },
                RootEntry::Bind {
                    path: "/mnt".into(),
                    source: BindSource::Mount(3),
                    read_only: false,
                },
            ],
            env: Some(vec![("PATH".into(), "/bin".into())]),
            limits: Limits {
                pids: 4096,
                open_files: 4096,
                disk_bytes: 1 << 30,
                terminals: 64,
            },
            cgroups: Cgroups {
                families: Some(BindSource::Mount(0)),
                memory: Some(MemoryCount::Directory(BindSource::Mount(1))),
                family_settings: Vec::new(),
                memory_settings: vec![CgroupSetting {
                    file: "memory.limit_in_bytes".into(),
                    value: "1".into(),
                }],
                shown: vec![ShownCgroup {
                    path: "fs/cgroup/memory".into(),
                    source: BindSource::Mount(2),
                }],
            },
            inner_ids: Some(InnerIds::Single),
            user: ProgramUser::Root,
        })),
        Request::Spawn(Box::new(Spawn {
            call: 1,
            program: "sh".into(),
            arguments: vec!["-c".into(), "true".into()],
            env: vec![("A".into(), "b".into())],
            cwd: "/".into(),
            stdio: Stdio::Terminal { cols: 80, rows: 24 },
            argv0: Some("name".into()),
            report_background: true,
            brief: true,
            patience_ms: None,
            user: ProgramUser::Root,
        })),
        Request::Kill {
            call: 2,
            target: Target::Pid(7),
        },
        Request::AwaitEnd {
            call: 2,
            family: 1,
            leader: 7,
        },
        Request::StopAwaiting { call: 2 },
        Request::StopStart { call: 2 },
        Request::Connect {
            call: 3,
            address: (Ipv6Addr::LOCALHOST, 80).into(),
        },
        Request::File {
            call: u64::MAX,
            step: FileStep::Open {
                directory: Some(0),
                path: "a/b".into(),
                mode: OpenMode::Write(WriteMode {
                    parents: true,
                    create: Some(0o666),
                    existing: Existing::Empty,
                    append: false,
                }),
            },
        },
    ]
}

fn replies() -> Vec<Reply> {
    vec![
        Reply::Ready { helpers: Vec::new() },
        Reply::BootFailed {
            step: BootStep::Mount("/x".into()),
            errno: 1,
        },
        Reply::Spawned { call: 1, pid: 2 },
        Reply::Exited {
            call: 1,
            exit: exit(),
        },
        Reply::Ran {
            call: 1,
            pid: 2,
            exit: exit(),
        },
        Reply::Failed {
            call: 1,
            error: Failure {
                errno: 2,
                syscall: "open".into(),
                path: Some("/x".into()),
            },
        },
        Reply::Attributes {
            call: 1,
            attributes: Attributes::default(),
        },
        Reply::Settled,
        Reply::HardwareDescribed { can_clone: true },
    ]
}

fn exit() -> Exit {
    Exit {
        code: 137,
        signal: 9,
        oom: true,
        usage: Usage::default(),
        background: vec![KnownProcess { pid: 3, start: 1000 }],
    }
}

fn encoded<M: Serialize>(messages: Vec<M>) -> Vec<Vec<u8>> {
    let encode = |message: M| postcard::to_allocvec(&message).unwrap();
    messages.into_iter().map(encode).collect()
}

/// One change to a message's bytes.
#[derive(Debug, Clone)]
enum Change {
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index),
    Cut(Index),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        (any::<Index>(), prop::collection::vec(any::<u8>(), 1..12))
            .prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        // The longest length that a number can say.
        any::<Index>()
            .prop_map(|at| Change::Insert(at, vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1])),
        any::<Index>().prop_map(Change::Remove),
        any::<Index>().prop_map(Change::Cut),
    ]
}

fn changed(mut bytes: Vec<u8>, changes: Vec<Change>) -> Vec<u8> {
    for change in changes {
        if bytes.is_empty() {
            break;
        }
        let length = bytes.len();
        match change {
            Change::Set(at, byte) => bytes[at.index(length)] = byte,
            Change::Insert(at, new) => drop(bytes.splice(at.index(length)..at.index(length), new)),
            Change::Remove(at) => drop(bytes.remove(at.index(length))),
            Change::Cut(at) => bytes.truncate(at.index(length)),
        }
    }
    bytes
}

/// Bytes that are nearly a message, or nothing like one.
fn hostile(honest: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        (select(honest), prop::collection::vec(change(), 1..6))
            .prop_map(|(bytes, changes)| changed(bytes, changes)),
        prop::collection::vec(any::<u8>(), 0..200),
    ]
}

/// What decodes is a message like any other: it encodes, to something that decodes to the same.
fn means_what_it_says<M: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    if let Ok(message) = decode::<M>(bytes) {
        let again = postcard::to_allocvec(&message).unwrap();
        assert_eq!(decode::<M>(&again).unwrap(), message);
    }
}

/// A descriptor that a hostile end attaches.
#[derive(Debug, Clone, Copy)]
enum Attachment {
    EmptyFile,
    SmallFile,
    HugeFile,
    Pipe,
    Directory,
    Zero,
    Socket,
    HostFile,
}

impl Attachment {
    fn open(self) -> OwnedFd {
        let memory = || memfd_create(c"hostile", MFdFlags::MFD_CLOEXEC).unwrap();
        match self {
            Self::EmptyFile => memory(),
            Self::SmallFile => {
                let mut file = File::from(memory());
                file.write_all(&[3, 1, 1]).unwrap();
                file.into()
            }
            Self::HugeFile => {
                let file = File::from(memory());
                file.set_len(1 << 40).unwrap();
                file.into()
            }
            Self::Pipe => pipe2(OFlag::O_CLOEXEC).unwrap().0,
            Self::Directory => File::open("/").unwrap().into(),
            Self::Zero => File::open("/dev/zero").unwrap().into(),
            Self::Socket => Channel::pair().unwrap().0.into(),
            Self::HostFile => File::open("/proc/self/exe").unwrap().into(),
        }
    }
}

fn attachment() -> impl Strategy<Value = Attachment> {
    select(vec![
        Attachment::EmptyFile,
        Attachment::SmallFile,
        Attachment::HugeFile,
        Attachment::Pipe,
        Attachment::Directory,
        Attachment::Zero,
        Attachment::Socket,
        Attachment::HostFile,
    ])
}

fn send_raw(socket: &OwnedFd, bytes: &[u8], fds: &[OwnedFd]) {
    let raw: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control = if raw.is_empty() { &[][..] } else { &rights[..] };
    sendmsg::<()>(
        socket.as_raw_fd(),
        &[IoSlice::new(bytes)],
        control,
        MsgFlags::empty(),
        None,
    )
    .unwrap();
}

/// Receives what was sent raw. Descriptors come back only with a message, and no more than were sent.
fn receive<M: DeserializeOwned>(
    bytes: &[u8],
    attachments: &[Attachment],
) -> Result<Option<usize>, ReceiveError> {
    let (one, other) = Channel::pair().unwrap();
    let fds: Vec<OwnedFd> = attachments.iter().map(|kind| kind.open()).collect();
    send_raw(&one.into(), bytes, &fds);
    let mut buffer = Vec::new();
    let received = other.receive::<M>(&mut buffer);
    received.map(|message| message.map(|(_, fds)| fds.len()))
}

/// Held by each test that opens or counts descriptors: the descriptors of different threads cannot be distinguished.
fn alone_with_descriptors() -> std::sync::MutexGuard<'static, ()> {
    static LOCK: std::sync::Mutex<()> = std::sync::Mutex::new(());
    LOCK.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn descriptors_are_closed(run: impl FnOnce()) {
    let _alone = alone_with_descriptors();
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = open();
    run();
    assert_eq!(open(), before, "descriptors stayed open");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_request_is_refused_or_means_what_it_says(bytes in hostile(encoded(requests()))) {
        means_what_it_says::<Request>(&bytes);
    }

    #[test]
    fn a_reply_is_refused_or_means_what_it_says(bytes in hostile(encoded(replies()))) {
        means_what_it_says::<Reply>(&bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_attached_to_whatever_bytes_is_closed_again(
        form in any::<u8>().prop_map(|byte| byte % 4),
        body in hostile(encoded(requests())),
        attachments in prop::collection::vec(attachment(), 0..12),
    ) {
        descriptors_are_closed(|| {
            let mut bytes = vec![form];
            bytes.extend(body);
            if let Ok(Some(fds)) = receive::<Request>(&bytes, &attachments) {
                assert!(fds <= attachments.len());
            }
        });
    }

    #[test]
    fn a_large_message_is_read_from_a_memory_file_alone(attachments in prop::collection::vec(attachment(), 0..4)) {
        descriptors_are_closed(|| {
            let received = receive::<Reply>(&[1], &attachments);
            match attachments.first() {
                // Those three bytes are Reply::Spawned.
                Some(Attachment::SmallFile) => assert_eq!(received.unwrap(), Some(attachments.len() - 1)),
                _ => assert!(received.is_err()),
            }
        });
    }
}

#[test]
fn more_descriptors_than_a_message_may_carry_are_refused_and_closed() {
    descriptors_are_closed(|| {
        let kinds = vec![Attachment::EmptyFile; MAX_DESCRIPTORS + 20];
        let honest = postcard::to_extend(&Reply::Ready { helpers: Vec::new() }, vec![0]).unwrap();
        assert!(matches!(
            receive::<Reply>(&honest, &kinds),
            Err(ReceiveError::Truncated)
        ));
    });
}

#[test]
fn a_message_that_is_too_long_is_refused_whole() {
    let _alone = alone_with_descriptors();
    assert!(matches!(
        receive::<Reply>(&vec![0; INLINE_BYTES + 2], &[]),
        Err(ReceiveError::Truncated)
    ));
    let (one, other) = Channel::pair().unwrap();
    let mut file = File::from(memfd_create(c"hostile", MFdFlags::MFD_CLOEXEC).unwrap());
    file.set_len(MAX_BYTES as u64 + 1).unwrap();
    file.flush().unwrap();
    send_raw(&one.into(), &[1], &[file.into()]);
    assert!(matches!(
        other.receive::<Reply>(&mut Vec::new()),
        Err(ReceiveError::File(_))
    ));
}

#[test]
fn a_list_that_says_it_is_endless_takes_no_memory() {
    let _alone = alone_with_descriptors();
    let background = Vec::new();
    let exit = Exit { background, ..exit() };
    let mut bytes = postcard::to_allocvec(&Reply::Exited { call: 1, exit }).unwrap();
    assert_eq!(bytes.pop(), Some(0), "the length of the list, which is last");
    // 2^64 - 1 entries.
    bytes.extend([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]);
    let peak = || {
        let mut text = String::new();
        File::open("/proc/self/status")
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        let line = text.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    let before = peak();
    assert!(decode::<Reply>(&bytes).is_err());
    assert!(peak() < before + 16 * 1024, "KiB");
}

#[test]
fn what_an_honest_end_sends_arrives() {
    let _alone = alone_with_descriptors();
    let (one, other) = Channel::pair().unwrap();
    for request in requests() {
        one.send(&Frame::new(&request, Vec::new()).unwrap()).unwrap();
        let (received, fds) = other.receive::<Request>(&mut Vec::new()).unwrap().unwrap();
        assert_eq!((received, fds.len()), (request, 0));
    }
}
