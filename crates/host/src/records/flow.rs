//! Whether an output stream of a program is read, and whether it has ended.

use parking_lot::Mutex;
use tokio::sync::Notify;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FlowState {
    Flowing,
    Paused,
    Closing,
    Ended,
}

/// The state of one output stream, from the start of its program to the end of the stream.
#[derive(Debug)]
pub struct Flow {
    state: Mutex<FlowState>,
    changed: Notify,
}

/// The flow of a stream that a program does not have.
pub static NO_FLOW: Flow = Flow {
    state: Mutex::new(FlowState::Ended),
    changed: Notify::const_new(),
};

impl Flow {
    /// The flow of a stream that is read.
    pub fn new() -> Self {
        Self {
            state: Mutex::new(FlowState::Flowing),
            changed: Notify::new(),
        }
    }

    /// Pauses or resumes the reading. Does nothing once the stream is closing or has ended.
    pub fn set_paused(&self, paused: bool) {
        let to = if paused {
            FlowState::Paused
        } else {
            FlowState::Flowing
        };
        self.set(to, |state| {
            matches!(state, FlowState::Flowing | FlowState::Paused)
        });
    }

    /// Asks the reader to close the stream.
    pub fn close(&self) {
        self.set(FlowState::Closing, |state| state != FlowState::Ended);
    }

    /// Records that nothing of the stream is emitted from now on.
    pub fn end(&self) {
        self.set(FlowState::Ended, |_| true);
    }

    fn set(&self, to: FlowState, may: impl Fn(FlowState) -> bool) {
        let mut state = self.state.lock();
        if may(*state) {
            *state = to;
            drop(state);
            self.changed.notify_waiters();
        }
    }

    /// Whether the reading is paused.
    pub fn is_paused(&self) -> bool {
        *self.state.lock() == FlowState::Paused
    }

    /// Waits while the reading is paused.
    pub async fn unpaused(&self) {
        self.until(|state| state != FlowState::Paused).await;
    }

    /// Waits until somebody asks to close the stream.
    pub async fn closing(&self) {
        self.until(|state| state == FlowState::Closing).await;
    }

    /// Waits until everything of the stream is emitted.
    pub async fn ended(&self) {
        self.until(|state| state == FlowState::Ended).await;
    }

    async fn until(&self, holds: impl Fn(FlowState) -> bool) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Before the look at the state: a change after it is not missed.
            changed.as_mut().enable();
            if holds(*self.state.lock()) {
                return;
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ended_stream_stays_ended() {
        let flow = Flow::new();
        flow.end();
        flow.set_paused(true);
        flow.close();
        assert!(!flow.is_paused());
        assert_eq!(*flow.state.lock(), FlowState::Ended);
    }

    #[test]
    fn a_closing_stream_is_not_paused_again() {
        let flow = Flow::new();
        flow.set_paused(true);
        assert!(flow.is_paused());
        flow.close();
        flow.set_paused(true);
        assert!(!flow.is_paused());
        assert_eq!(*flow.state.lock(), FlowState::Closing);
    }
}
