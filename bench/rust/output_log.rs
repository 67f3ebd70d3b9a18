//! The cost of keeping output.

use std::hint::black_box;

use agent_vm_host::{OutputLog, Stream};
use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// The default of `replayBytes`.
const LIMIT: usize = 1024 * 1024;

/// A full ring, where each new byte removes an old one.
fn full() -> OutputLog {
    let mut log = OutputLog::new(LIMIT);
    log.append(Stream::Stdout, &vec![b'x'; LIMIT].into());
    log
}

fn append(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("append");
    for size in [64, 4 * 1024, 32 * 1024] {
        let data = Bytes::from(vec![b'x'; size]);
        let mut log = full();
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(format!("{size} bytes"), |bencher| {
            bencher.iter(|| log.append(Stream::Stdout, black_box(&data)));
        });
    }
    let mut log = full();
    group.throughput(Throughput::Bytes(2));
    group.bench_function("a byte of either stream", |bencher| {
        bencher.iter(|| {
            log.append(Stream::Stdout, black_box(&Bytes::from_static(b"x")));
            log.append(Stream::Stderr, black_box(&Bytes::from_static(b"x")))
        });
    });
    group.finish();
}

fn read(criterion: &mut Criterion) {
    let log = full();
    let mut group = criterion.benchmark_group("read");
    group.throughput(Throughput::Bytes(LIMIT as u64));
    group.bench_function("all of it", |bencher| bencher.iter(|| log.read(black_box(0))));
    group.finish();
}

criterion_group!(benches, append, read);
criterion_main!(benches);
