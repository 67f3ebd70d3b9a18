//! A VM from the host's side: boot, control, processes, terminals.
//!
//! A [`Vm`] is a set of namespaces with an init in it. This crate starts init, sends it requests, reads and writes the
//! pipes and terminals that init sends, and keeps output. It knows nothing about JavaScript: events go to an
//! implementation of [`Events`], results to closures.

mod abort;
pub mod boot;
mod bounds;
mod connect;
mod context;
mod control;
mod credit;
pub mod doctor;
mod error;
mod events;
mod files;
mod guest_threads;
mod input;
mod io_counters;
mod join;
mod leftover;
mod listening;
mod loopback;
mod meter;
mod open_archives;
mod open_files;
mod output_log;
mod pausing;
mod placement;
mod pool;
mod port;
mod process_table;
pub mod proxy;
mod records;
mod run;
pub mod runtime;
mod screen;
mod shared;
mod shell_id;
mod stream;
mod sys;
mod terminals;
mod totals;
mod usage;
mod vm;
mod waiting;
mod watch;

pub use abort::Abort;
pub use agent_vm_layers::Layers;
pub use agent_vm_protocol::message::{Attributes, Disk, Limits};
pub use agent_vm_protocol::message::{MorePipes, PipeDirection};
pub use context::ContextId;
pub use credit::Credit;
pub use error::Error;
pub use events::{Event, Events, ExitStatus, PortChange, Reason};
pub use files::{
    ArchiveRequest, Content, CopyRequest, DirectoryEntry, EntryKind, Exclude, ExistingCopy, LocalArchives,
    MAX_FILE, OnEntries, OnProgress, OpenRequest, ReadRequest, Share, TransferLimits, TransferRequest,
    WalkRequest, WriteRequest, copied, remove_tree,
};
pub use input::MAX_QUEUED;
pub use listening::ListeningPort;
pub use output_log::{Chunk, OutputLog, Replay, Stream};
pub use placement::receive_here;
pub use process_table::{ProcessInfo, Status};
pub use records::{OutputReplay, ShellInfo, SpawnedProcessInfo};
pub use run::{
    BackgroundProcess, Command, ContextExec, ContextInfo, ContextRequest, DescribeScreen, EndRequest, Exec,
    ExecResult, KeptBytes, OnContext, OnOpen, OnOutput, OnResult, OnSpawn, PendingWrite, Printed, ProcessId,
    ScreenRequest, ShellRequest, SpawnRequest, Timeout,
};
pub use screen::{ScreenView, View};
pub use shell_id::ShellId;
pub use totals::Totals;
pub use usage::Usage;
pub use vm::{IoStats, Vm, VmSlot, VmSnapshot, snapshots};
pub use watch::{WatchEvent, WatchFilesRequest};
