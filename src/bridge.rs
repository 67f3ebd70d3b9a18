//! The way of messages to JavaScript.

use std::sync::Arc;

use agent_vm_host::{Credit, Error, Event, Events};
use napi::Status as NapiStatus;
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};

use crate::value::Value;
use crate::wire::Message;

/// Weak: it does not keep Node.js alive. lib/calls.js holds the process while calls are pending or processes run.
pub type Dispatch = ThreadsafeFunction<Message, (), Message, NapiStatus, false, true, 0>;

/// Sends messages to JavaScript, in order.
#[derive(Clone)]
pub struct Bridge {
    dispatch: Arc<Dispatch>,
}

impl Bridge {
    /// One that calls `dispatch` with every message.
    pub fn new(dispatch: Dispatch) -> Self {
        Self {
            dispatch: Arc::new(dispatch),
        }
    }

    /// Sends one message.
    pub fn send(&self, message: Message) {
        // The queue has no bound of its own: output is bounded by its streams, one chunk of each, and the rest by the calls
        // and processes there are. A status other than ok says that JavaScript is gone, and with it the receiver.
        let _status = self
            .dispatch
            .call(message, ThreadsafeFunctionCallMode::NonBlocking);
    }

    /// Settles a call.
    pub fn settle(&self, call: f64, result: Result<Value, Error>) {
        self.send(Message::Settled { call, result });
    }

    /// Sends pieces of a call's result.
    pub fn pieces(&self, call: f64) -> impl Fn(String, Credit) + Send + Sync + 'static {
        let bridge = self.clone();
        move |json, credit| bridge.send(Message::Piece { call, json, credit })
    }
}

impl Events for Bridge {
    fn emit(&self, event: Event) {
        self.send(Message::Event(event));
    }
}
