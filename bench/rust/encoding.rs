//! The cost of a message: encoding, decoding, and sending it through the control socket.

use std::hint::black_box;

use agent_vm_protocol::channel::decode;
use agent_vm_protocol::message::{Exit, ProgramUser, Reply, Request, Spawn, Stdio, Usage};
use agent_vm_protocol::{Channel, Frame};
use criterion::{Criterion, criterion_group, criterion_main};

/// `exec("echo hello")`, with an environment variable of the caller.
fn spawn() -> Request {
    Request::Spawn(Box::new(Spawn {
        call: 1234,
        program: "/bin/sh".into(),
        arguments: vec!["-c".into(), "echo hello".into()],
        env: vec![("LANG".into(), "C.UTF-8".into())],
        cwd: "/home/user".into(),
        stdio: Stdio::Output,
        argv0: None,
        report_background: true,
        brief: true,
        patience_ms: None,
        user: ProgramUser::User,
    }))
}

fn ran() -> Reply {
    Reply::Ran {
        call: 1234,
        pid: 42,
        exit: Exit {
            code: 0,
            signal: 0,
            oom: false,
            usage: Usage {
                user_us: 612,
                system_us: 480,
                max_rss_kib: 1804,
            },
            background: Vec::new(),
        },
    }
}

fn frame(message: &Request) -> Frame {
    Frame::new(message, Vec::new()).expect("a small message encodes")
}

fn encoding(criterion: &mut Criterion) {
    let request = spawn();
    criterion.bench_function("encode Spawn", |bencher| {
        bencher.iter(|| frame(black_box(&request)));
    });
    let bytes = postcard::to_allocvec(&ran()).expect("a small message encodes");
    criterion.bench_function("decode Ran", |bencher| {
        bencher.iter(|| decode::<Reply>(black_box(&bytes)).expect("an honest message decodes"));
    });
}

fn channel(criterion: &mut Criterion) {
    let (host, init) = Channel::pair().expect("a socket pair");
    let request = spawn();
    let mut buffer = Vec::new();
    criterion.bench_function("send and receive Spawn", |bencher| {
        bencher.iter(|| {
            host.send(&frame(&request)).expect("room for one message");
            let received = init.receive::<Request>(&mut buffer).expect("an honest message");
            received.expect("the other end is open")
        });
    });
}

criterion_group!(benches, encoding, channel);
criterion_main!(benches);
