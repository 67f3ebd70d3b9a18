//! Bounds the kept output of exited processes and shells.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::output_log::OutputLog;

/// How many bytes of kept output all exited processes and shells of a VM may have together. Beyond that, the output of
/// the one that exited first is dropped.
pub const EXITED_REPLAY: usize = 16 * 1024 * 1024;

/// Keeps the logs of exited processes and shells within [`EXITED_REPLAY`].
#[derive(Debug, Default)]
pub struct ReplayBudget {
    logs: VecDeque<Weak<Mutex<OutputLog>>>,
}

impl ReplayBudget {
    /// Adds a log, and drops the output of the oldest ones if necessary.
    pub fn add(&mut self, log: &Arc<Mutex<OutputLog>>) {
        log.lock().shrink();
        self.logs.retain(|log| log.strong_count() > 0);
        self.logs.push_back(Arc::downgrade(log));
        self.keep();
    }

    /// Drops the output of the oldest ones if there is too much. Called when a log in the budget has grown, because
    /// processes that a program left running may still write to it.
    pub fn keep(&mut self) {
        let mut held: usize = self
            .logs
            .iter()
            .filter_map(Weak::upgrade)
            .map(|log| log.lock().held())
            .sum();
        while held > EXITED_REPLAY {
            let Some(oldest) = self.logs.pop_front() else {
                break;
            };
            if let Some(oldest) = oldest.upgrade() {
                let mut oldest = oldest.lock();
                held -= oldest.held();
                oldest.forget();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output_log::Stream;

    #[test]
    fn the_oldest_output_is_dropped_first() {
        let mut budget = ReplayBudget::default();
        let logs: Vec<_> = (0..20)
            .map(|_| {
                let mut log = OutputLog::new(1024 * 1024);
                log.append(Stream::Stdout, &vec![b'x'; 2 * 1024 * 1024].into());
                Arc::new(Mutex::new(log))
            })
            .collect();
        for log in &logs {
            budget.add(log);
        }
        let kept: Vec<_> = logs.iter().map(|log| log.lock().held() > 0).collect();
        assert_eq!(kept, [vec![false; 4], vec![true; 16]].concat());
        assert_eq!(logs[0].lock().read(0).truncated, 2 * 1024 * 1024);
    }

    #[test]
    fn what_is_added_after_an_exit_counts_too() {
        let mut budget = ReplayBudget::default();
        let logs: Vec<_> = (0..20)
            .map(|_| Arc::new(Mutex::new(OutputLog::new(1024 * 1024))))
            .collect();
        for log in &logs {
            budget.add(log);
        }
        for _ in 0..2 {
            for log in &logs {
                log.lock()
                    .append(Stream::Stdout, &vec![b'x'; 2 * 1024 * 1024].into());
                budget.keep();
            }
        }
        let held: usize = logs.iter().map(|log| log.lock().held()).sum();
        assert!(held <= EXITED_REPLAY, "{held}");
        assert_eq!(logs[0].lock().read(0).truncated, 4 * 1024 * 1024);
        assert!(logs[19].lock().held() > 0);
    }
}
