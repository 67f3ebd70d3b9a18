//! Requests that wait for the end of a family.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use agent_vm_protocol::message::Call;
use libc::pid_t;

/// The minimum time between two checks.
const PAUSE: Duration = Duration::from_millis(10);

/// The minimum time between two checks, as a multiple of the last check's duration: without cgroups, a check reads the
/// whole process table.
const PAUSE_FACTOR: u32 = 20;

/// The time after the last change until one more check: the kernel may count a process to its cgroup for a moment after
/// it was reaped. More checks follow while it is unknown which families live.
const LATER: Duration = Duration::from_millis(200);

/// The waiting requests. The host bounds their number.
#[derive(Debug, Default)]
pub(super) struct Awaited {
    requests: BTreeMap<Call, (Call, pid_t)>,
    /// Whether something has changed since the last check.
    changed: bool,
    /// When one more check is due.
    later: Option<Instant>,
    not_before: Option<Instant>,
}

impl Awaited {
    /// Adds a request that waits for the end of `family`, whose first process has or had the pid `leader`.
    pub fn add(&mut self, call: Call, family: Call, leader: pid_t) {
        self.requests.insert(call, (family, leader));
        self.changed();
    }

    /// Removes a request; returns false if it was not waiting.
    pub fn remove(&mut self, call: Call) -> bool {
        self.requests.remove(&call).is_some()
    }

    /// Called when a family may have ended.
    pub fn changed(&mut self) {
        if !self.requests.is_empty() {
            self.changed = true;
            self.not_before.get_or_insert_with(Instant::now);
        }
    }

    /// When the next check is due.
    pub fn due(&self) -> Option<Instant> {
        let wanted = if self.changed { self.not_before } else { self.later };
        wanted
            .max(self.not_before)
            .filter(|_| !self.requests.is_empty() && wanted.is_some())
    }

    /// Called after a check that began at that time; `is_known` says whether it found out which families live.
    pub fn looked(&mut self, begun: Instant, is_known: bool) {
        let now = Instant::now();
        let again = std::mem::take(&mut self.changed) || !is_known;
        self.later = again.then_some(now + LATER);
        self.not_before = Some(now + PAUSE.max((now - begun) * PAUSE_FACTOR));
    }

    /// The families that requests wait for, with the pids of their first processes.
    pub fn families(&self) -> impl Iterator<Item = (Call, pid_t)> {
        self.requests.values().copied()
    }

    /// The requests that wait for none of `families`.
    pub fn without(&self, families: &BTreeSet<Call>) -> Vec<Call> {
        let is_over =
            |(call, (family, _)): (&Call, &(Call, pid_t))| (!families.contains(family)).then_some(*call);
        self.requests.iter().filter_map(is_over).collect()
    }
}
