//! Stores records by the call that started them and by public name, up to a bound.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::Hash;
use std::sync::Arc;

use agent_vm_protocol::message::Call;

/// How many exited processes are remembered, and how many exited shells; beyond that, the one that exited first is
/// forgotten.
pub const EXITED: usize = 1024;

/// Records by the number of the call that started them, and by public name. A name means the newest record that has had
/// it.
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
    /// Adds the record of a start.
    pub fn add(&mut self, call: Call, name: K, record: Arc<T>) {
        self.by_name.insert(name.clone(), Arc::clone(&record));
        self.by_start.insert(call, (name, record));
    }

    /// The newest record with this name.
    pub fn get(&self, name: &K) -> Option<Arc<T>> {
        self.by_name.get(name).cloned()
    }

    /// The record of one start.
    pub fn started_by(&self, call: Call) -> Option<Arc<T>> {
        self.by_start.get(&call).map(|(_, record)| Arc::clone(record))
    }

    /// All records, in the order of their starts.
    pub fn all(&self) -> Vec<Arc<T>> {
        self.by_start
            .values()
            .map(|(_, record)| Arc::clone(record))
            .collect()
    }

    /// Marks a record as exited, and forgets the oldest exited ones if there are too many.
    pub fn exited(&mut self, call: Call) {
        self.exited.push_back(call);
        while self.exited.len() > EXITED {
            let Some(oldest) = self.exited.pop_front() else {
                break;
            };
            let Some((name, record)) = self.by_start.remove(&oldest) else {
                continue;
            };
            // A newer record may have this name by now.
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

#[cfg(test)]
mod tests {
    use super::*;

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
            "0 is forgotten, 1000 has its name"
        );
        assert_eq!(records.get(&1).as_deref(), Some(&1001));
    }
}
