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

/// What runs in a VM.
pub(super) enum Running {
    /// Nothing.
    Nothing,
    /// Shells of contexts that wait for commands, and nothing else.
    Contexts,
    /// More.
    Other(&'static str),
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
            Running::Contexts => Err(busy(
                call,
                "nothing runs",
                "it has contexts, whose shells run: delete them",
            )),
            Running::Other(what) => Err(busy(call, "nothing runs", what)),
        }
    }

    /// What runs in the VM, or must not lose it.
    pub(super) fn what_runs(&self) -> Result<Running, Error> {
        let shared = self.shared();
        if !shared.runs_nothing() {
            return Ok(Running::Other("programs or shells run in it"));
        }
        if !shared.bounds.watches.is_empty() {
            return Ok(Running::Other("its files are being watched"));
        }
        let contexts = shared.contexts.lock().all();
        let mut shells = 0;
        for context in &contexts {
            let view = context.view.lock();
            if view.command.is_some() {
                return Ok(Running::Other("a command runs in a context"));
            }
            shells += u64::from(view.pid.is_some());
        }
        let found = totals(&shared.proc_fd, shared.init, &shared.control.helpers(), true)
            .map_err(|error| Error::system(&error, "openat"))?
            .ok_or(Error::Disposed)?;
        if found.processes > shells {
            return Ok(Running::Other(
                "processes that ended commands have left run in it: allProcesses() lists them",
            ));
        }
        Ok(if contexts.is_empty() {
            Running::Nothing
        } else {
            Running::Contexts
        })
    }

    /// The layers of a VM that begins with `below` and everything that this one has written, to which nothing may write from
    /// now on; `None` if it has certainly written nothing.
    pub(super) async fn freeze_layer(
        &self,
        options: &Options,
        below: &Layers,
    ) -> Result<Option<Written>, Error> {
        match self.take_layer().await? {
            None => Ok(None),
            Some(layer) => self.lay(options, below, layer).map(Some),
        }
    }

    /// The same with a copy of what this VM has written, which may run on if nothing changes files meanwhile.
    pub(super) async fn copy_layer(
        &self,
        options: &Options,
        below: &Layers,
    ) -> Result<Option<Written>, Error> {
        match self.take_layer().await? {
            None => Ok(None),
            Some(layer) => {
                let copy = self.merge(options, [&layer])?;
                self.lay(options, below, copy).map(Some)
            }
        }
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

    /// Puts the layer above `below`. If there are too many then, some become one.
    fn lay(&self, options: &Options, below: &Layers, layer: Layer) -> Result<Written, Error> {
        let bytes = layer.bytes();
        let mut layers = below.below(layer);
        if let Some(places) = layers.to_merge() {
            let merged = self.merge(options, layers.part(places.clone()))?;
            layers = layers.with(merged, &places);
        }
        Ok(Written { layers, bytes })
    }

    fn merge<'a>(
        &self,
        options: &Options,
        layers: impl IntoIterator<Item = &'a Layer> + Clone,
    ) -> Result<Layer, Error> {
        let are_many = self.enforcement().ids == Some(Ids::Range);
        self.or_ended(boot::merge(options, are_many, layers).map_err(Error::from))
    }
}
