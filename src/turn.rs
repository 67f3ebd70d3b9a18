//! Turns of JavaScript's event loop, and how much of one goes to output.
//!
//! Node.js hands over up to a thousand queued messages in a row before it looks at timers and sockets again. A chunk that
//! is taken makes room for the next, so with a slow listener on an endless stream the queue would never be empty, and the
//! loop would stand still for seconds. So a chunk that is taken after [`SPAN`] of a turn makes room when the turn is over.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use agent_vm_host::{Taken, receive_here};
use napi_derive::napi;

/// How long chunks make room for more within one turn.
const SPAN: Duration = Duration::from_millis(10);

#[derive(Default)]
struct Turn {
    since: Option<Instant>,
    held: Vec<Taken>,
}

thread_local! {
    /// Of the loop that this thread runs.
    static TURN: RefCell<Turn> = RefCell::default();
}

/// JavaScript has a chunk. To be called on its thread.
pub fn take(taken: Taken) {
    receive_here();
    TURN.with_borrow_mut(|turn| {
        let since = turn.since.get_or_insert_with(Instant::now);
        if since.elapsed() >= SPAN {
            turn.held.push(taken);
        }
    });
}

/// The event loop has come round. To be called once after every turn in which output was told.
#[napi]
#[cfg_attr(
    test,
    allow(dead_code, reason = "exported to JavaScript, but not by a test's binary")
)]
pub fn end_turn() {
    // Dropped when the cell is free again.
    let _held = TURN.take();
}
