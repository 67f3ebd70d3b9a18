//! Snapshots of a VM, and VMs that begin with one.
//!
//! A VM in which nothing runs is nothing but what it has written. So a snapshot takes the file system with everything that it
//! has written as a layer, and a new VM over that layer takes its place; the same for a rollback, over older layers. Of a VM in which
//! something runs, what it has written is copied while everything in it is frozen.

use std::sync::Arc;

use agent_vm_layers::{Layer, Layers, Snapshot, Snapshots};
use agent_vm_protocol::message::{Reply, Request};

use super::Vm;
use crate::boot::{self, Ids, Isolation, Options};
use crate::context::SavedContexts;
use crate::error::Error;
use crate::process_table::totals;

/// A snapshot, with the contexts of its VM.
pub type VmSnapshot = Snapshot<SavedContexts>;

static SNAPSHOTS: Snapshots<SavedContexts> = Snapshots::new();

/// The snapshots of this server.
#[must_use]
pub fn snapshots() -> &'static Snapshots<SavedContexts> {
    &SNAPSHOTS
}

/// The snapshot with that id.
pub(super) fn find(id: &str) -> Result<Arc<VmSnapshot>, Error> {
    SNAPSHOTS
        .get(id)
        .ok_or_else(|| Error::SnapshotNotFound(id.to_owned()))
}

/// What must not lose its VM.
pub(super) enum Running {
    /// Nothing.
    Nothing,
    /// Something that changes no files: contexts that wait for commands, watches.
    Still(&'static str),
    /// Programs.
    Programs(&'static str),
}

/// What a VM has written.
pub(super) struct Written {
    /// It, above what the VM began with.
    pub layers: Layers,
    /// The bytes of memory for it.
    pub bytes: u64,
}

fn busy(call: &str, needs: &str, what: &str) -> Error {
    Error::Busy(format!("{call} needs a VM in which {needs}, and {what}"))
}

impl Vm {
    /// The error of a call that cannot be done while the server itself writes files of the VM.
    pub(super) fn require_closed_files(&self, call: &str) -> Result<(), Error> {
        let shared = self.shared();
        if shared.isolation != Isolation::Namespaces {
            return Err(Error::IsolationUnavailable {
                cause: format!(
                    "{call} needs a root of the VM's own, which isolation \"namespaces\" alone gives"
                ),
                remedy: "Choose that isolation".to_owned(),
            });
        }
        let open = |what: &str| Err(busy(call, "no files are open to the server", what));
        if !shared.bounds.open_files.is_empty() {
            return open("streams of its files are open");
        }
        if !shared.bounds.archives.is_empty() {
            return open("archives of it are being read or written");
        }
        Ok(())
    }

    /// The error of a call that needs a VM in which nothing runs.
    pub(super) fn require_idle(&self, call: &str) -> Result<(), Error> {
        self.require_closed_files(call)?;
        self.require_running()?;
        match self.what_runs()? {
            Running::Nothing => Ok(()),
            Running::Still(what) | Running::Programs(what) => Err(busy(call, "nothing runs", what)),
        }
    }

    /// What runs in the VM.
    pub(super) fn what_runs(&self) -> Result<Running, Error> {
        let shared = self.shared();
        if !shared.runs_nothing() {
            return Ok(Running::Programs("programs or shells run in it"));
        }
        let contexts = shared.contexts.lock().all();
        let mut shells = 0;
        for context in &contexts {
            let view = context.view.lock();
            if view.command.is_some() {
                return Ok(Running::Programs("a command runs in a context"));
            }
            shells += u64::from(view.pid.is_some());
        }
        let found = totals(&shared.proc_fd, shared.init, &shared.control.helpers(), true)
            .map_err(|error| Error::system(&error, "openat"))?
            .ok_or(Error::Disposed)?;
        Ok(if found.processes > shells {
            Running::Programs("processes that ended commands have left run in it: allProcesses() lists them")
        } else if !contexts.is_empty() {
            Running::Still("it has contexts, whose shells run: delete them")
        } else if !shared.bounds.watches.is_empty() {
            Running::Still("its files are being watched")
        } else {
            Running::Nothing
        })
    }

    /// What a VM begins with that begins with `below` and everything that this one has written; `None` if it has certainly written
    /// nothing. Nothing may write to it meanwhile, nor, unless it is a `copy`, from then on.
    pub(super) async fn written(
        &self,
        options: &Options,
        below: &Layers,
        copy: bool,
    ) -> Result<Option<Written>, Error> {
        let Some(mut layer) = self.take_layer().await? else {
            return Ok(None);
        };
        if copy {
            layer = self.merge(options, [&layer])?;
        }
        let bytes = layer.bytes();
        let mut layers = below.below(layer);
        if let Some(places) = layers.to_merge() {
            let merged = self.merge(options, layers.part(places.clone()))?;
            layers = layers.with(merged, &places);
        }
        Ok(Some(Written { layers, bytes }))
    }

    /// What the VM has written, if it is not certain that it has written nothing.
    async fn take_layer(&self) -> Result<Option<Layer>, Error> {
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
        let mount_fd = fds.into_iter().next().ok_or_else(Error::missing_descriptor)?;
        let layer = Layer::in_memory(mount_fd).map_err(|errno| Error::system(&errno.into(), "fstatfs"))?;
        Ok(Some(layer))
    }

    /// One layer that shows what these show.
    fn merge<'a>(
        &self,
        options: &Options,
        layers: impl IntoIterator<Item = &'a Layer> + Clone,
    ) -> Result<Layer, Error> {
        let are_many = self.enforcement().ids == Some(Ids::Range);
        self.or_ended(boot::merge(options, are_many, layers).map_err(Error::from))
    }
}
