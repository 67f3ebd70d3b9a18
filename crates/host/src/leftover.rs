//! Output streams of programs that have ended, while other processes still hold the other end.
//!
//! Processes that a program left running may write to its streams, so the host continues to read them. But any program
//! of the VM can open them (`/proc/PID/fd/1`, `/dev/pts/N`) and keep them open, and each costs the server a descriptor.
//! So a stream is kept only while a process of the program's family lives, and the number of streams is bounded:
//! [`PER_VM`], and [`per_server`] for all VMs.

use std::collections::BTreeMap;
use std::future::{pending, ready};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use agent_vm_protocol::message::{Call, Request};
use bytes::Bytes;
use nix::sys::resource::{Resource, getrlimit};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::control::Control;
use crate::credit::CreditReturned;
use crate::join::join_all;
use crate::stream::{Chunks, Source, read_rest};

/// The maximum number of streams kept for one VM; for another one, the VM's oldest is closed.
pub const PER_VM: usize = 256;

/// The maximum number of streams kept for all VMs; for another one, the oldest of the VM that has the most is closed.
fn per_server() -> usize {
    static BOUND: OnceLock<usize> = OnceLock::new();
    *BOUND.get_or_init(|| {
        let (descriptors, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
        (descriptors / 8).clamp(16, 1024) as usize
    })
}

static KEPT: Mutex<Kept> = Mutex::new(Kept {
    vms: BTreeMap::new(),
    count: 0,
    next: 0,
});

/// All kept streams.
struct Kept {
    /// By VM, then from the oldest to the newest. A VM without streams has no entry.
    vms: BTreeMap<u64, BTreeMap<u64, Arc<Notify>>>,
    count: usize,
    next: u64,
}

impl Kept {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn enter(&mut self, vm: u64, per_vm: usize, per_server: usize) -> (u64, Arc<Notify>) {
        if self.vms.get(&vm).is_some_and(|own| own.len() >= per_vm) {
            self.close_oldest(vm);
        }
        if self.count >= per_server {
            let most = self.vms.iter().max_by_key(|(_, own)| own.len());
            if let Some(vm) = most.map(|(vm, _)| *vm) {
                self.close_oldest(vm);
            }
        }
        let (number, closing) = (self.number(), Arc::new(Notify::new()));
        self.vms
            .entry(vm)
            .or_default()
            .insert(number, Arc::clone(&closing));
        self.count += 1;
        (number, closing)
    }

    fn close_oldest(&mut self, vm: u64) {
        let oldest = self.vms.get(&vm).and_then(|own| own.first_key_value());
        if let Some((number, closing)) = oldest {
            closing.notify_one();
            let number = *number;
            self.leave(vm, number);
        }
    }

    fn leave(&mut self, vm: u64, number: u64) {
        if let Some(own) = self.vms.get_mut(&vm) {
            self.count -= usize::from(own.remove(&number).is_some());
            if own.is_empty() {
                self.vms.remove(&vm);
            }
        }
    }
}

/// The kept streams of one VM.
#[derive(Debug)]
pub struct Leftovers {
    vm: u64,
    cut: AtomicU64,
}

impl Leftovers {
    /// A VM's streams: none yet.
    pub fn new() -> Self {
        Self {
            vm: KEPT.lock().number(),
            cut: AtomicU64::new(0),
        }
    }

    /// How many streams were closed because of a bound.
    pub fn cut(&self) -> u64 {
        self.cut.load(Ordering::Relaxed)
    }

    fn enter(&self) -> LeftoverPlace<'_> {
        let (number, closing) = KEPT.lock().enter(self.vm, PER_VM, per_server());
        LeftoverPlace {
            of: self,
            number,
            closing,
        }
    }
}

/// A stream's place among the kept ones.
struct LeftoverPlace<'a> {
    of: &'a Leftovers,
    number: u64,
    closing: Arc<Notify>,
}

impl Drop for LeftoverPlace<'_> {
    fn drop(&mut self) {
        KEPT.lock().leave(self.of.vm, self.number);
    }
}

/// Receives what a kept stream reads.
pub(crate) trait Reader: Send + Sync {
    /// Receives a chunk. If it returns a future, that is awaited before the next chunk.
    fn take(&self, data: Bytes) -> Option<CreditReturned>;

    /// Records that the stream was closed although a process may still write to it.
    fn cut(&self);

    /// Waits until the next chunk may be read.
    fn room(&self) -> impl Future<Output = ()> + Send {
        ready(())
    }

    /// Returns when the stream must be closed.
    fn closing(&self) -> impl Future<Output = ()> + Send {
        pending()
    }
}

/// Discards a stream's output.
pub(crate) struct Discard;

impl Reader for Discard {
    fn take(&self, _data: Bytes) -> Option<CreditReturned> {
        None
    }

    fn cut(&self) {}
}

/// Reads the streams of a program that has ended, until they end or no process of its `family` is left; everything that
/// the family wrote has been read then. If a bound closes a stream, reads what was written until then. `leader` is the
/// pid that the program had.
pub(crate) async fn read_on<R: Reader>(
    leftovers: &Leftovers,
    control: &Control,
    family: Call,
    leader: u32,
    streams: impl IntoIterator<Item = Option<(Source, R)>>,
) {
    let (over_sender, over) = watch::channel(false);
    let streams = streams
        .into_iter()
        .map(|stream| read_one(leftovers, stream, over.clone()));
    let reading = join_all(streams);
    tokio::pin!(reading);
    tokio::select! {
        biased;
        _ = &mut reading => return,
        () = family_ended(control, family, leader) => {}
    }
    over_sender.send_replace(true);
    reading.await;
}

async fn returned(credit: Option<CreditReturned>) {
    if let Some(credit) = credit {
        credit.wait().await;
    }
}

async fn read_to_end(source: &mut Source, reader: &impl Reader) {
    loop {
        reader.room().await;
        match source.read().await {
            Some(data) => returned(reader.take(data)).await,
            None => return,
        }
    }
}

async fn read_one<R: Reader>(
    leftovers: &Leftovers,
    stream: Option<(Source, R)>,
    mut over: watch::Receiver<bool>,
) {
    let Some((mut source, reader)) = stream else {
        return;
    };
    let kind = source.kind();
    let place = leftovers.enter();
    let reading = async {
        let ended = tokio::select! {
            biased;
            // An error means that nothing waits for the family's end any more.
            _ = over.wait_for(|over| *over) => false,
            () = read_to_end(&mut source, &reader) => true,
        };
        if !ended {
            let mut rest = Chunks::new(kind, |data| returned(reader.take(data)));
            read_rest(source.fd(), kind, &mut rest).await;
        }
    };
    tokio::select! {
        biased;
        () = reader.closing() => return,
        () = place.closing.notified() => {}
        () = reading => return,
    }
    // Another stream has its place already, so the receiver is not waited for.
    let mut rest = Chunks::new(kind, |data| {
        drop(reader.take(data));
        ready(())
    });
    read_rest(source.fd(), kind, &mut rest).await;
    reader.cut();
    leftovers.cut.fetch_add(1, Ordering::Relaxed);
    tracing::warn!("an output stream of a program that has ended was closed: too many are held open");
}

/// Waits until no process of a program's family is left, or until the VM is gone.
async fn family_ended(control: &Control, family: Call, leader: u32) {
    let call = control.call();
    let request = Request::AwaitEnd { call, family, leader };
    let awaiting = Awaiting {
        control,
        call: Some(call),
    };
    if let Err(error) = control.ask(call, request, Vec::new()).await {
        tracing::debug!(%error, family, "the end of what a program left is not awaited");
    }
    awaiting.done();
}

/// Withdraws the request if its answer is no longer awaited.
struct Awaiting<'a> {
    control: &'a Control,
    call: Option<Call>,
}

impl Awaiting<'_> {
    fn done(mut self) {
        self.call = None;
    }
}

impl Drop for Awaiting<'_> {
    fn drop(&mut self) {
        if let Some(call) = self.call {
            self.control.tell(&Request::StopAwaiting { call });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept() -> Kept {
        Kept {
            vms: BTreeMap::new(),
            count: 0,
            next: 0,
        }
    }

    fn numbers(kept: &Kept, vm: u64) -> Vec<u64> {
        kept.vms
            .get(&vm)
            .map(|own| own.keys().copied().collect())
            .unwrap_or_default()
    }

    #[test]
    fn a_vm_with_too_many_loses_its_oldest() {
        let mut kept = kept();
        for _ in 0..5 {
            kept.enter(100, 3, 10);
        }
        assert_eq!(numbers(&kept, 100), [3, 4, 5]);
        assert_eq!(kept.count, 3);
    }

    #[test]
    fn at_the_bound_of_the_server_the_vm_with_the_most_loses_its_oldest() {
        let mut kept = kept();
        kept.enter(200, 10, 5);
        for _ in 0..9 {
            kept.enter(100, 10, 5);
        }
        assert_eq!(numbers(&kept, 200), [1]);
        assert_eq!(numbers(&kept, 100), [7, 8, 9, 10]);
        kept.enter(200, 10, 5);
        assert_eq!(numbers(&kept, 200), [1, 11]);
        assert_eq!(numbers(&kept, 100), [8, 9, 10]);
        assert_eq!(kept.count, 5);
    }

    #[test]
    fn a_place_is_given_back_once() {
        let mut kept = kept();
        let (first, _) = kept.enter(100, 1, 10);
        let (second, _) = kept.enter(100, 1, 10);
        kept.leave(100, first);
        assert_eq!(kept.count, 1);
        kept.leave(100, second);
        assert_eq!(kept.count, 0);
        assert!(kept.vms.is_empty());
    }
}
