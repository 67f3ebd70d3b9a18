//! The server's memory for file content that JavaScript does not have yet, which all reads share.

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::error::Error;
use crate::vm::Vm;

/// How many bytes the reads of all VMs may hold together. A larger file is read alone, although [small](SMALL_READ)
/// files may be read beside it.
pub const READ_AT_A_TIME: u64 = 256 * 1024 * 1024;

/// The largest read that uses [`SMALL_READS`], so that it never waits for larger reads, which can take seconds.
const SMALL_READ: u64 = 1024 * 1024;

/// The part of [`READ_AT_A_TIME`] that is reserved for small reads.
const SMALL_READS: u64 = 32 * 1024 * 1024;

/// The part for all other reads.
const LARGE_READS: u64 = READ_AT_A_TIME - SMALL_READS;

/// The bytes of one permit, because a semaphore counts only to 2^29.
const UNIT: u64 = 1024;

static SMALL: Semaphore = Semaphore::const_new((SMALL_READS / UNIT) as usize);
static LARGE: Semaphore = Semaphore::const_new((LARGE_READS / UNIT) as usize);

/// A part of [`READ_AT_A_TIME`], held until it is dropped. Waiting reads get their shares in the order in which they
/// asked, whatever their size.
#[derive(Debug)]
pub struct Share {
    permit: SemaphorePermit<'static>,
    is_small: bool,
}

impl Share {
    /// A share of `bytes`, or the largest share that one read may have, if it is free now and nobody waits.
    #[must_use]
    pub fn try_take(bytes: u64) -> Option<Self> {
        let (pool, is_small) = pool(bytes);
        let permit = pool.try_acquire_many(permits(bytes)).ok()?;
        Some(Self { permit, is_small })
    }

    /// Like [`try_take`](Self::try_take), but waits until the share is free, after those that already wait.
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

    /// Enlarges the share to `bytes`, or to the most that one read may have, if that is free now. There is no version
    /// that waits: a caller that holds a share must not wait for more.
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

    /// The number of bytes that it allows; `None` if there is no bound, because it is the most that one read may have.
    #[must_use]
    pub fn bytes(&self) -> Option<u64> {
        let bytes = self.permit.num_permits() as u64 * UNIT;
        (bytes < LARGE_READS).then_some(bytes)
    }
}

/// The semaphore for a share of `bytes`, and whether it is the one for small reads.
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
