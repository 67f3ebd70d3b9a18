//! Requests that wait for the end of a family.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use agent_vm_protocol::message::Call;
use libc::pid_t;

/// The least time between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// The least time between two looks, in durations of the last one: without cgroups, a look reads the whole process table.
const PAUSE_FACTOR: u32 = 20;

/// After the last change there is one more look, this much later: the kernel may count a process to its cgroup until a moment
/// after it was reaped. There are more while it is not known what lives.
const LATER: Duration = Duration::from_millis(200);

/// The requests. The host bounds their number.
#[derive(Debug, Default)]
pub(super) struct Awaited {
    requests: BTreeMap<Call, (Call, pid_t)>,
    /// Whether something changed since the last look.
    changed: bool,
    /// When there is one more look.
    later: Option<Instant>,
    not_before: Option<Instant>,
}

impl Awaited {
    /// A request waits for the end of `family`, whose first process has or had the number `leader`.
    pub fn add(&mut self, call: Call, family: Call, leader: pid_t) {
        self.requests.insert(call, (family, leader));
        self.changed();
    }

    /// A request waits no longer; false if it did not.
    pub fn remove(&mut self, call: Call) -> bool {
        self.requests.remove(&call).is_some()
    }

    /// A family may have ended.
    pub fn changed(&mut self) {
        if !self.requests.is_empty() {
            self.changed = true;
            self.not_before.get_or_insert_with(Instant::now);
        }
    }

    /// When the next look is due.
    pub fn due(&self) -> Option<Instant> {
        let wanted = if self.changed { self.not_before } else { self.later };
        wanted
            .max(self.not_before)
            .filter(|_| !self.requests.is_empty() && wanted.is_some())
    }

    /// A look that began at that time is over, and found out what lives or not.
    pub fn looked(&mut self, begun: Instant, is_known: bool) {
        let now = Instant::now();
        let again = std::mem::take(&mut self.changed) || !is_known;
        self.later = again.then_some(now + LATER);
        self.not_before = Some(now + PAUSE.max((now - begun) * PAUSE_FACTOR));
    }

    /// The families that are awaited, with the numbers of their first processes.
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
