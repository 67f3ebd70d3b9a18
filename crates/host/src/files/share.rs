//! What all reads of files share: the server's memory for content that JavaScript does not have yet.

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::error::Error;
use crate::vm::Vm;

/// What is being read at one time, of all VMs. A larger file is read alone, except that [small](SMALL_READ) ones are read beside it.
pub const READ_AT_A_TIME: u64 = 256 * 1024 * 1024;

/// The largest read that takes its share of [`SMALL_READS`], and so waits for none that is larger: those can take seconds.
const SMALL_READ: u64 = 1024 * 1024;

/// The part of [`READ_AT_A_TIME`] that small reads have for themselves.
const SMALL_READS: u64 = 32 * 1024 * 1024;

/// What is left for all others.
const LARGE_READS: u64 = READ_AT_A_TIME - SMALL_READS;

/// Bytes of a permit: a semaphore counts to 2^29.
const UNIT: u64 = 1024;

static SMALL: Semaphore = Semaphore::const_new((SMALL_READS / UNIT) as usize);
static LARGE: Semaphore = Semaphore::const_new((LARGE_READS / UNIT) as usize);

/// A part of [`READ_AT_A_TIME`], until it is dropped. Of those that wait for one, the first gets it first, however large.
#[derive(Debug)]
pub struct Share {
    permit: SemaphorePermit<'static>,
    is_small: bool,
}

impl Share {
    /// A share of that many bytes, or of all that one read can have, if it is free now and nobody waits.
    #[must_use]
    pub fn try_take(bytes: u64) -> Option<Self> {
        let (pool, is_small) = pool(bytes);
        let permit = pool.try_acquire_many(permits(bytes)).ok()?;
        Some(Self { permit, is_small })
    }

    /// As [`try_take`](Self::try_take), as soon as it is free; not before those who wait already.
    pub async fn take(vm: &Vm, bytes: u64) -> Result<Self, Error> {
        let (pool, is_small) = pool(bytes);
        let taking = async {
            // Neither semaphore is ever closed.
            let _turn = vm
                .shared()
                .bounds
                .waiting_reads
                .acquire()
                .await
                .map_err(|_| Error::Disposed)?;
            let permit = pool
                .acquire_many(permits(bytes))
                .await
                .map_err(|_| Error::Disposed)?;
            Ok(Self { permit, is_small })
        };
        tokio::select! {
            taken = taking => taken,
            () = vm.ended() => Err(Error::Disposed),
        }
    }

    /// Makes it as large as `bytes`, or all that one read can have, if that is free now. A caller that holds a share must not wait for more.
    pub fn try_grow(&mut self, bytes: u64) -> bool {
        let (pool, is_small) = pool(bytes);
        if is_small != self.is_small {
            return Self::try_take(bytes).map(|larger| *self = larger).is_some();
        }
        let more = permits(bytes).saturating_sub(self.permit.num_permits() as u32);
        match pool.try_acquire_many(more) {
            Ok(taken) => {
                self.permit.merge(taken);
                true
            }
            Err(_) => false,
        }
    }

    /// Bytes that it allows; none for no bound, because it is all that one read can have.
    #[must_use]
    pub fn bytes(&self) -> Option<u64> {
        let bytes = self.permit.num_permits() as u64 * UNIT;
        (bytes < LARGE_READS).then_some(bytes)
    }
}

/// Where a share of that many bytes is taken from, and whether that is for small ones.
fn pool(bytes: u64) -> (&'static Semaphore, bool) {
    if bytes <= SMALL_READ {
        (&SMALL, true)
    } else {
        (&LARGE, false)
    }
}

fn permits(bytes: u64) -> u32 {
    bytes.min(LARGE_READS).div_ceil(UNIT).max(1) as u32
}
