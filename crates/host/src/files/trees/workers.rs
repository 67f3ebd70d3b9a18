//! Where the blocking work of a transfer or an archive runs: a whole future runs on these threads, so that the work in it needs no
//! change of threads.
//!
//! A transfer does thousands of short blocking steps. To hand each to a thread and to wait for its result would take longer than the
//! step. So each poll of the future is one piece of work on a thread, and [`Workers::run`] does a blocking step at once if it is called
//! in such a poll. While the future waits, for init or for the other side of a transfer, it holds no thread.

use std::cell::Cell;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::error::Error;
use crate::guest_threads::GuestThreads;
use crate::vm::Vm;

/// How long one poll goes on before other calls of the VM have their turn.
const TURN: Duration = Duration::from_millis(10);

/// The threads of a future, and the rights that they have.
#[derive(Clone)]
pub enum Workers {
    /// Those of a VM, with the rights of its user.
    Guest(Vm),
    /// Threads with the rights of this process, for trees of the host.
    Own(GuestThreads),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Rights {
    Guest,
    Own,
}

/// The poll that is under way on a thread.
#[derive(Clone, Copy)]
struct Polling {
    rights: Rights,
    begun: Instant,
}

thread_local! {
    static POLLING: Cell<Option<Polling>> = const { Cell::new(None) };
}

/// Marks this thread while it lives.
struct Mark;

impl Mark {
    fn set(rights: Rights) -> Self {
        let begun = Instant::now();
        POLLING.set(Some(Polling { rights, begun }));
        Self
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        POLLING.set(None);
    }
}

/// Remembers that the future can go on.
#[derive(Default)]
struct Woken(Notify);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

impl Workers {
    /// Runs a future on them that does no work with other [`Workers`] than these. If the caller drops this, the poll that is under way
    /// is the last.
    pub async fn poll<T: Send + 'static>(
        &self,
        future: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        let woken = Arc::new(Woken::default());
        let mut future = Box::pin(future);
        let rights = self.rights();
        loop {
            let waker = Waker::from(Arc::clone(&woken));
            let poll = move || {
                let mark = Mark::set(rights);
                let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
                drop(mark);
                Ok((future, polled))
            };
            let (left, polled) = self.on_thread(poll).await?;
            if let Poll::Ready(result) = polled {
                return result;
            }
            future = left;
            woken.0.notified().await;
        }
    }

    /// Does blocking work: at once if this thread is one of them and polls a future, otherwise on one of them.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        if POLLING
            .get()
            .is_none_or(|polling| polling.rights != self.rights())
        {
            return self.on_thread(work).await;
        }
        let result = work();
        give_turn().await;
        result
    }

    fn rights(&self) -> Rights {
        match self {
            Self::Guest(_) => Rights::Guest,
            Self::Own(_) => Rights::Own,
        }
    }

    async fn on_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        match self {
            Self::Guest(vm) => vm.blocking(work).await,
            Self::Own(threads) => threads.run(work).await,
        }
    }
}

/// Lets other calls go first if this poll has taken long.
pub async fn give_turn() {
    let is_over = POLLING
        .get()
        .is_some_and(|polling| polling.begun.elapsed() > TURN);
    if !is_over {
        return;
    }
    let mut is_given = false;
    poll_fn(|context| {
        if is_given {
            return Poll::Ready(());
        }
        is_given = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
