//! Snapshots of a VM, and VMs that begin with one.
//!
//! A VM in which nothing runs is nothing but what it has written. So a snapshot takes the file system with everything that it
//! has written as a layer, and a new VM over that layer takes its place; the same for a rollback, over older layers.

use std::sync::Arc;

use agent_vm_layers::{Layer, Layers, Snapshot, Snapshots, TooManyLayers};
use agent_vm_protocol::message::{Reply, Request};

use super::Vm;
use crate::boot::Isolation;
use crate::error::Error;
use crate::process_table::totals;

static SNAPSHOTS: Snapshots = Snapshots::new();

/// The snapshots of this server.
#[must_use]
pub fn snapshots() -> &'static Snapshots {
    &SNAPSHOTS
}

/// The snapshot with that id.
pub(super) fn find(id: &str) -> Result<Arc<Snapshot>, Error> {
    SNAPSHOTS
        .get(id)
        .ok_or_else(|| Error::SnapshotNotFound(id.to_owned()))
}

fn too_many(error: TooManyLayers) -> Error {
    Error::LimitExceeded(error.to_string())
}

impl Vm {
    /// The error of a call that needs a VM in which nothing runs and nothing is open.
    pub(super) fn require_idle(&self, call: &str) -> Result<(), Error> {
        let shared = self.shared();
        let busy = |what: &str| {
            Err(Error::Busy(format!(
                "{call} needs a VM in which nothing runs and nothing is open, and {what}"
            )))
        };
        if shared.isolation != Isolation::Namespaces {
            return Err(Error::IsolationUnavailable {
                cause: format!(
                    "{call} needs a root of the VM's own, which isolation \"namespaces\" alone gives"
                ),
                remedy: "Choose that isolation".to_owned(),
            });
        }
        self.require_running()?;
        if !shared.contexts.lock().all().is_empty() {
            return busy("it has contexts, whose shells run: delete them");
        }
        if !shared.runs_nothing() {
            return busy("programs or shells run in it");
        }
        if !shared.bounds.open_files.is_empty() {
            return busy("streams of its files are open");
        }
        if !shared.bounds.archives.is_empty() {
            return busy("archives of it are being read or written");
        }
        if !shared.bounds.watches.is_empty() {
            return busy("its files are being watched");
        }
        let found = totals(&shared.proc_fd, shared.init, &shared.control.helpers(), true)
            .map_err(|error| Error::system(&error, "openat"))?;
        match found.map(|found| found.processes) {
            None => Err(Error::Disposed),
            Some(0) => Ok(()),
            Some(_) => busy("processes that ended commands have left run in it: allProcesses() lists them"),
        }
    }

    /// The layers of a VM that begins with `below` and everything that this one has written, to which nothing may write from
    /// now on; `None` if it has certainly written nothing.
    pub(super) async fn freeze_layer(&self, below: &Layers) -> Result<Option<Layers>, Error> {
        let asked = self.ask(|call| Request::TakeLayer { call }, Vec::new()).await;
        let (reply, fds) = match self.or_ended(asked) {
            Err(Error::System {
                errno: libc::EOPNOTSUPP,
                ..
            }) => {
                return Err(Error::IsolationUnavailable {
                    cause: "this kernel cannot give what a VM has written to other VMs".to_owned(),
                    remedy: "Run on Linux 6.15 or later".to_owned(),
                });
            }
            answered => answered?,
        };
        let Reply::Layer { unchanged, .. } = reply else {
            return Err(Error::Disposed);
        };
        if unchanged {
            return Ok(None);
        }
        below.require_room().map_err(too_many)?;
        let mount_fd = fds.into_iter().next().ok_or_else(Error::missing_descriptor)?;
        let layer = Layer::in_memory(mount_fd).map_err(|errno| Error::system(&errno.into(), "fstatfs"))?;
        below.below(layer).map(Some).map_err(too_many)
    }
}
