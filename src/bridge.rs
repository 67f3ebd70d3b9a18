//! Sends messages to JavaScript.

use std::sync::Arc;

use agent_vm_host::{Credit, Error, Event, Events, OnOutput, OnResult};
use napi::Status as NapiStatus;
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};

use crate::value::Value;
use crate::wire::Message;

/// Weak: it does not keep Node.js running. lib/calls.js does that while calls are pending or processes run.
pub type Dispatch = ThreadsafeFunction<Message, (), Message, NapiStatus, false, true, 0>;

/// Sends messages to JavaScript, in order.
#[derive(Clone)]
pub struct Bridge {
    dispatch: Arc<Dispatch>,
}

impl Bridge {
    /// A bridge that calls `dispatch` with every message.
    pub fn new(dispatch: Dispatch) -> Self {
        Self {
            dispatch: Arc::new(dispatch),
        }
    }

    /// Sends the output of an exec call as it arrives.
    pub fn exec_output(&self, call: f64) -> OnOutput {
        let bridge = self.clone();
        Box::new(move |stream, data, credit| {
            bridge.send(Message::ExecOutput {
                call,
                stream,
                data,
                credit,
            });
        })
    }

    /// Settles an exec call.
    pub fn exec_result(&self, call: f64, as_bytes: bool) -> OnResult {
        let bridge = self.clone();
        Box::new(move |result| match result {
            Ok(result) => bridge.send(Message::ExecEnded {
                call,
                result,
                as_bytes,
            }),
            Err(error) => bridge.settle(call, Err(error)),
        })
    }

    /// Sends one message.
    pub fn send(&self, message: Message) {
        // The queue itself has no bound: output is bounded by the credits of its streams, and everything else by the
        // number of calls and processes. A status other than ok means that JavaScript, and so the receiver, is gone.
        let _status = self
            .dispatch
            .call(message, ThreadsafeFunctionCallMode::NonBlocking);
    }

    /// Settles a call.
    pub fn settle(&self, call: f64, result: Result<Value, Error>) {
        self.send(Message::Settled { call, result });
    }

    /// Returns a function that sends pieces of a call's result.
    pub fn pieces(&self, call: f64) -> impl Fn(String, Credit) + Send + Sync + 'static {
        let bridge = self.clone();
        move |json, credit| bridge.send(Message::Piece { call, json, credit })
    }

    /// Returns a function that sends a call's screen.
    pub fn screen(&self, call: f64) -> impl Fn(String, Credit) + Send + Sync + 'static {
        let bridge = self.clone();
        move |json, credit| bridge.send(Message::Screen { call, json, credit })
    }
}

impl Events for Bridge {
    fn emit(&self, event: Event) {
        self.send(Message::Event(event));
    }
}
