//! What is remembered of processes and shells: those that run, and the last of those that have exited.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Weak};

use agent_vm_protocol::message::Call;
use parking_lot::Mutex;

use crate::output_log::OutputLog;

/// Exited processes, and exited shells, that are remembered; beyond that the one that exited first is forgotten.
pub const EXITED: usize = 1024;

/// Bytes of output that all exited processes and shells of a VM share for replay; beyond that the output of the one that
/// exited first is dropped.
pub const EXITED_REPLAY: usize = 16 * 1024 * 1024;

/// Records by the number of their start, and by their public name. A name leads to the newest that bore it.
#[derive(Debug)]
pub struct Records<K, T> {
    by_name: HashMap<K, Arc<T>>,
    by_start: BTreeMap<Call, (K, Arc<T>)>,
    exited: VecDeque<Call>,
}

impl<K, T> Default for Records<K, T> {
    fn default() -> Self {
        Self {
            by_name: HashMap::new(),
            by_start: BTreeMap::new(),
            exited: VecDeque::new(),
        }
    }
}

impl<K: Eq + Hash + Clone, T> Records<K, T> {
    /// Remembers a start.
    pub fn add(&mut self, call: Call, name: K, record: Arc<T>) {
        self.by_name.insert(name.clone(), Arc::clone(&record));
        self.by_start.insert(call, (name, record));
    }

    /// The newest of that name.
    pub fn get(&self, name: &K) -> Option<Arc<T>> {
        self.by_name.get(name).cloned()
    }

    /// All, in the order they were started.
    pub fn all(&self) -> Vec<Arc<T>> {
        self.by_start
            .values()
            .map(|(_, record)| Arc::clone(record))
            .collect()
    }

    /// Notes an exit, and forgets the oldest if there are too many.
    pub fn exited(&mut self, call: Call) {
        self.exited.push_back(call);
        while self.exited.len() > EXITED {
            let Some(oldest) = self.exited.pop_front() else {
                break;
            };
            let Some((name, record)) = self.by_start.remove(&oldest) else {
                continue;
            };
            // The name may be another's by now.
            if self
                .by_name
                .get(&name)
                .is_some_and(|newest| Arc::ptr_eq(newest, &record))
            {
                self.by_name.remove(&name);
            }
        }
    }
}

/// Keeps the logs of what has exited within [`EXITED_REPLAY`].
#[derive(Debug, Default)]
pub struct ReplayBudget {
    logs: VecDeque<Weak<Mutex<OutputLog>>>,
}

impl ReplayBudget {
    /// Counts a log in, and drops the oldest ones' bytes for it if need be.
    pub fn add(&mut self, log: &Arc<Mutex<OutputLog>>) {
        log.lock().shrink();
        self.logs.retain(|log| log.strong_count() > 0);
        self.logs.push_back(Arc::downgrade(log));
        self.keep();
    }

    /// Drops the oldest ones' bytes if there are too many. To be called when a log that was counted in has grown: what a
    /// process left behind still adds to it.
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
    fn the_oldest_exit_is_forgotten_and_its_name_may_be_anothers() {
        let mut records = Records::default();
        for call in 0..=EXITED as u64 {
            records.add(call, call % 1000, Arc::new(call));
            records.exited(call);
        }
        assert_eq!(records.all().len(), EXITED);
        assert_eq!(
            records.get(&0).as_deref(),
            Some(&1000),
            "0 is forgotten, 1000 bears its name"
        );
        assert_eq!(records.get(&1).as_deref(), Some(&1001));
    }

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
