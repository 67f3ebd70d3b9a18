//! Tracks turns of JavaScript's event loop, and how much of a turn output uses.
//!
//! Node.js delivers up to a thousand queued messages in a row before it looks at timers and sockets again. Returning a
//! chunk's credit makes room for the next chunk. So with a slow listener on an endless stream the queue would never be
//! empty, and the loop would be blocked for seconds. Therefore the credit of a chunk that arrives after the first
//! [`SPAN`] of a turn is returned only when the turn is over.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use agent_vm_host::{Credit, receive_here};
use napi_derive::napi;

/// For how long in a turn the credits of output are returned at once.
const SPAN: Duration = Duration::from_millis(10);

/// The same for credits of listings. It is shorter because JavaScript parses a piece only after the credit was
/// returned.
const LISTING_SPAN: Duration = Duration::from_millis(1);

#[derive(Default)]
struct Turn {
    since: Option<Instant>,
    held: Vec<Credit>,
}

thread_local! {
    /// The turn of this thread's event loop.
    static TURN: RefCell<Turn> = RefCell::default();
}

/// Returns the credit of a chunk that JavaScript has. Must be called on JavaScript's thread.
pub fn return_credit(credit: Credit) {
    return_within(SPAN, credit);
}

/// Like [`return_credit`] for a piece of a listing, for which a shorter part of the turn counts.
pub fn return_listing_credit(credit: Credit) {
    return_within(LISTING_SPAN, credit);
}

/// Returns the credit of a screen when this turn is over: JavaScript parses a large one for longer than other events may
/// wait.
pub fn return_at_end(credit: Credit) {
    receive_here();
    TURN.with_borrow_mut(|turn| turn.held.push(credit));
}

fn return_within(span: Duration, credit: Credit) {
    receive_here();
    TURN.with_borrow_mut(|turn| {
        let since = turn.since.get_or_insert_with(Instant::now);
        if since.elapsed() >= span {
            turn.held.push(credit);
        }
    });
}

/// Ends a turn of the event loop. Must be called once after every turn in which output was emitted.
#[napi]
#[cfg_attr(
    test,
    allow(dead_code, reason = "exported to JavaScript, but not by a test's binary")
)]
pub fn end_turn() {
    // Dropped when the cell is no longer borrowed.
    let _held = TURN.take();
}
