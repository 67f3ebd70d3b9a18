//! What those share who follow the terminals of one VM's shells.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::look::TerminalState;
use crate::error::Error;
use crate::shell_id::ShellId;

/// The last look at a VM's shells, for all who wait.
#[derive(Debug, Default)]
pub struct IdleWatch {
    /// Locked during a look, so that there is only one at a time.
    pub last: Arc<Mutex<Option<Arc<IdleLook>>>>,
    /// Changes each time that JavaScript begins or ceases to listen; odd while it listens.
    pub listening: AtomicU64,
}

/// A look at all running shells of a VM.
#[derive(Debug)]
pub struct IdleLook {
    /// When it began.
    pub at: Instant,
    /// How long it took.
    pub took: Duration,
    /// What it has shown.
    pub shells: Result<HashMap<ShellId, ShellLook>, Error>,
}

/// What a look has shown of one shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShellLook {
    /// What its foreground does.
    pub state: TerminalState,
    /// How many bytes its terminal has shown.
    pub printed: u64,
    /// How often the host has written to its terminal.
    pub written: u64,
}

impl ShellLook {
    /// Whether both show a wait of the same thread, without input in between.
    pub fn is_same_wait(&self, other: &Self) -> bool {
        match (self.state, other.state) {
            (TerminalState::Waits(one), TerminalState::Waits(another)) => {
                one.is_same_thread(another) && self.written == other.written
            }
            _ => false,
        }
    }
}
