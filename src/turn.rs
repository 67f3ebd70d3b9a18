//! Turns of JavaScript's event loop, and how much of one goes to output.
//!
//! Node.js hands over up to a thousand queued messages in a row before it looks at timers and sockets again. A chunk whose
//! credit is returned makes room for the next, so with a slow listener on an endless stream the queue would never be empty, and
//! the loop would stand still for seconds. So the credit of a chunk that comes after [`SPAN`] of a turn is returned when the turn
//! is over.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use agent_vm_host::{Credit, receive_here};
use napi_derive::napi;

/// How long credits of output are returned at once within one turn.
const SPAN: Duration = Duration::from_millis(10);

/// How long those of listings are: JavaScript parses a piece only after its credit was returned.
const LISTING_SPAN: Duration = Duration::from_millis(1);

#[derive(Default)]
struct Turn {
    since: Option<Instant>,
    held: Vec<Credit>,
}

thread_local! {
    /// That of the loop that this thread runs.
    static TURN: RefCell<Turn> = RefCell::default();
}

/// Returns the credit of a chunk that JavaScript has. Must be called on its thread.
pub fn return_credit(credit: Credit) {
    return_within(SPAN, credit);
}

/// Returns the credit of a piece of a listing in the same way, within a shorter part of the turn.
pub fn return_listing_credit(credit: Credit) {
    return_within(LISTING_SPAN, credit);
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

/// The event loop has come round. Must be called once after every turn in which output was emitted.
#[napi]
#[cfg_attr(
    test,
    allow(dead_code, reason = "exported to JavaScript, but not by a test's binary")
)]
pub fn end_turn() {
    // Dropped when the cell is free again.
    let _held = TURN.take();
}
