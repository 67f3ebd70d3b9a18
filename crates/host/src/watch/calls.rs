//! The calls about watches.

use std::sync::Arc;

use agent_vm_protocol::message::{FileStep, OpenMode, Reply};
use tokio::sync::oneshot;

use super::queue::WatchEvent;
use super::registry::{Command, Watches};
use super::task;
use super::watched::{WatchFilesRequest, WatchId, Watched};
use crate::abort::Abort;
use crate::error::Error;
use crate::runtime;
use crate::vm::Vm;

/// A place that is given back unless the watch has begun.
struct Reserved<'a> {
    watches: &'a Watches,
    id: Option<WatchId>,
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.watches.end(id);
        }
    }
}

impl Vm {
    /// Watches a file or directory. Returns the number of the watch when everything is watched.
    pub async fn watch(&self, request: WatchFilesRequest, abort: &Abort) -> Result<WatchId, Error> {
        tokio::select! {
            begun = self.begin_watch(request) => self.or_ended(begun),
            () = abort.aborted() => Err(Error::Aborted),
        }
    }

    async fn begin_watch(&self, request: WatchFilesRequest) -> Result<WatchId, Error> {
        let registry = &self.shared().bounds.watches;
        let (id, queue) = registry.reserve(&request.path)?;
        let mut reserved = Reserved {
            watches: registry,
            id: Some(id),
        };
        let refused = |errno: i32| Error::System {
            errno,
            syscall: "watch".into(),
            path: Some(request.path.clone()),
        };
        let step = FileStep::RealPath {
            path: request.path.clone().into(),
        };
        let real = match self.shared().file_step(step, Vec::new()).await {
            Ok((Reply::Path { path, .. }, _)) => path,
            Ok(_) => return Err(Error::Disposed),
            Err(Error::System { errno, .. }) => return Err(refused(errno)),
            Err(error) => return Err(error),
        };
        let step = FileStep::Stat {
            directory: None,
            path: real.clone(),
            follow: false,
        };
        let mode = match self.shared().file_step(step, Vec::new()).await {
            Ok((Reply::Attributes { attributes, .. }, _)) => attributes.mode & libc::S_IFMT,
            Ok(_) => return Err(Error::Disposed),
            Err(Error::System { errno, .. }) => return Err(refused(errno)),
            Err(error) => return Err(error),
        };
        let is_directory = mode == libc::S_IFDIR;
        let mode = match mode {
            libc::S_IFDIR => OpenMode::DirectoryWithoutLinks,
            libc::S_IFREG => OpenMode::Read { follow: false },
            // To open a FIFO or a device is more than to look at it.
            _ => return Err(refused(libc::EINVAL)),
        };
        let opened = self.shared().open_file(None, real.clone(), mode).await;
        let file_fd = opened.map_err(|error| match error {
            Error::System { errno, .. } => refused(errno),
            other => other,
        })?;
        let (ready, begun) = oneshot::channel();
        let watched = Watched::new(
            request,
            real,
            Some(file_fd),
            is_directory,
            Arc::clone(&queue),
            ready,
        );
        self.send(Command::Start(id, Box::new(watched)))?;
        // The task has failed, or the VM has ended.
        begun
            .await
            .unwrap_or_else(|_| Err(queue.failure().unwrap_or(Error::Disposed)))?;
        reserved.id = None;
        Ok(id)
    }

    /// Sends a command to the task, which it starts if it does not run.
    fn send(&self, command: Command) -> Result<(), Error> {
        let runtime = runtime::handle().map_err(|error| Error::system(&error, "epoll_create"))?;
        let begin = |received| drop(runtime.spawn(task::run(Arc::clone(self.shared()), received)));
        self.shared().bounds.watches.send(command, begin)
    }

    /// The next events of a watch, once there are some; `None` at its end.
    pub async fn take_watched(&self, id: WatchId) -> Result<Option<Vec<WatchEvent>>, Error> {
        match self.shared().bounds.watches.queue(id) {
            Some(queue) => queue.take().await,
            None => Ok(None),
        }
    }

    /// Ends a watch. A number that is not known is no error.
    pub fn unwatch(&self, id: WatchId) {
        self.shared().bounds.watches.end(id);
    }
}
