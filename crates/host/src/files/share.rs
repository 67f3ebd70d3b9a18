//! What all reads of files share: the server's memory for content that JavaScript does not have yet.

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::error::Error;
use crate::vm::Vm;

/// What is being read at one time, of all VMs. A larger file is read alone.
pub const READ_AT_A_TIME: u64 = 256 * 1024 * 1024;

/// Reads of one VM that wait for a share or have one. Its others wait for these, and not before another VM's.
pub const READS_OF_A_VM: usize = 8;

/// Bytes of a permit: a semaphore counts to 2^29.
const UNIT: u64 = 1024;

static PERMITS: Semaphore = Semaphore::const_new((READ_AT_A_TIME / UNIT) as usize);

/// A part of [`READ_AT_A_TIME`], until it is dropped. Who comes first gets it first, however large.
#[derive(Debug)]
pub struct Share(SemaphorePermit<'static>);

impl Share {
    /// A share of that many bytes, or of all there are, if it is free now and nobody waits.
    pub fn try_take(bytes: u64) -> Option<Self> {
        PERMITS.try_acquire_many(permits(bytes)).ok().map(Self)
    }

    /// As [`try_take`](Self::try_take), as soon as it is free; not before those who wait already.
    pub async fn take(vm: &Vm, bytes: u64) -> Result<Self, Error> {
        tokio::select! {
            // The semaphore is never closed.
            taken = PERMITS.acquire_many(permits(bytes)) => taken.map(Self).map_err(|_| Error::Disposed),
            () = vm.gone() => Err(Error::Disposed),
        }
    }

    /// Makes it as large as `bytes`, or all there are, if that is free now. Whoever holds a share must not wait for more.
    pub fn try_grow(&mut self, bytes: u64) -> bool {
        let more = permits(bytes).saturating_sub(self.0.num_permits() as u32);
        match PERMITS.try_acquire_many(more) {
            Ok(taken) => {
                self.0.merge(taken);
                true
            }
            Err(_) => false,
        }
    }

    /// Bytes that it allows; none for no bound, because it is all there is.
    #[must_use]
    pub fn bytes(&self) -> Option<u64> {
        let bytes = self.0.num_permits() as u64 * UNIT;
        (bytes < READ_AT_A_TIME).then_some(bytes)
    }
}

fn permits(bytes: u64) -> u32 {
    bytes.min(READ_AT_A_TIME).div_ceil(UNIT).max(1) as u32
}
