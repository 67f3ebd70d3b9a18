//! Hangs up a session: sends the signals that a closing terminal sends, and kills processes that ignore them.

use std::time::{Duration, Instant};

use agent_vm_protocol::message::{Call, Target};
use libc::pid_t;
use nix::errno::Errno;

use super::all_processes::AllProcesses;
use super::held::Held;
use crate::family::Families;
use crate::process_table::Process;
use crate::signal;

/// How long a session may take to end by itself after it was hung up.
pub(super) const GRACE: Duration = Duration::from_secs(2);

/// A session that must end.
#[derive(Debug)]
pub(super) struct HangUp {
    pub(super) family: Call,
    session: pid_t,
    hung_up: bool,
    kill_at: Instant,
    held: Held,
}

impl HangUp {
    pub(super) fn of(family: Call, session: pid_t) -> Self {
        Self {
            family,
            session,
            hung_up: false,
            kill_at: Instant::now() + GRACE,
            held: Held::default(),
        }
    }

    /// Another request that waits for the same end. The session gets no second signal and no more time.
    pub(super) fn joined(&self) -> Self {
        Self {
            hung_up: true,
            ..*self
        }
    }

    pub(super) fn pass(
        &mut self,
        families: &Families,
        processes: &mut AllProcesses<'_>,
        now: Instant,
    ) -> Result<bool, Errno> {
        let table = processes.table;
        let members = session_members(self.family, self.session, families, processes)?;
        if members.is_empty() {
            if families.leader(self.family) != Some(self.session) {
                return Ok(true);
            }
            self.held.pass(self.session, table, now)?;
            return Ok(false);
        }
        for process in &members {
            if !self.hung_up {
                signal::to_exactly(table, process, libc::SIGHUP)?;
                signal::to_exactly(table, process, libc::SIGCONT)?;
            } else if now >= self.kill_at {
                families.will_be_killed(Target::Family(self.family));
                signal::to_exactly(table, process, libc::SIGKILL)?;
            }
        }
        self.hung_up = true;
        Ok(false)
    }
}

/// The living processes of a session.
fn session_members(
    family: Call,
    session: pid_t,
    families: &Families,
    processes: &mut AllProcesses<'_>,
) -> Result<Vec<Process>, Errno> {
    let is_member = |process: &Process| process.sid == session && process.is_alive();
    Ok(match families.leaf(family) {
        // A session of the family has no process in another cgroup.
        Some(leaf) => leaf
            .pids()?
            .into_iter()
            .filter_map(|pid| processes.table.get(pid))
            .filter(is_member)
            .collect(),
        // With cgroups, only empty families are forgotten.
        None if families.has_cgroups() => Vec::new(),
        None => processes
            .all()
            .iter()
            .filter(|process| is_member(process))
            .copied()
            .collect(),
    })
}
