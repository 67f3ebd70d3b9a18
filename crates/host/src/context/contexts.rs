//! The contexts of a VM.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};

use super::environment::Environment;
use super::exports::ExportsKnown;
use super::id::ContextId;
use super::session::{ContextStart, SavedSession, Session};
use super::view::ContextView;
use super::vm_side::VmSide;
use crate::error::Error;

/// The most contexts of one VM. Each has a process in the VM, and seven descriptors of the server.
pub const MOST_CONTEXTS: usize = 64;

/// The most commands of one context that run or wait.
pub const MOST_COMMANDS: usize = 256;

/// How long a call waits for a shell that was asked for its exported variables.
const LONGEST_ANSWER: Duration = Duration::from_secs(1);

/// One context.
pub struct Context {
    /// Its name.
    pub id: ContextId,
    /// Its shell. A command that runs holds it; others wait for it, in order.
    pub session: Arc<tokio::sync::Mutex<Session>>,
    /// How it began.
    start: Arc<ContextStart>,
    /// What is known of it while a command runs.
    pub view: Mutex<ContextView>,
    /// What is known of its shell's exported variables.
    pub exports: Arc<ExportsKnown>,
    /// How often it was reset; one that was deleted has no sender's value any more.
    pub resets: watch::Sender<u64>,
    /// A permit for each command that may be added.
    pub places: Arc<Semaphore>,
}

impl Context {
    fn new(id: ContextId, session: Session) -> Self {
        let view = Mutex::default();
        session.show(&view);
        Self {
            id,
            start: session.start_of(),
            exports: session.exports(),
            session: Arc::new(tokio::sync::Mutex::new(session)),
            view,
            resets: watch::Sender::new(0),
            places: Arc::new(Semaphore::new(MOST_COMMANDS)),
        }
    }

    /// What of it outlives the VM.
    fn saved(&self) -> SavedSession {
        let view = self.view.lock();
        SavedSession {
            start: Arc::clone(&self.start),
            program: view.shell.clone(),
            cwd: view.cwd.clone(),
            exports: self.exports.borrow().text.clone(),
            first_names: Arc::clone(&view.first_names),
            status: view.status,
        }
    }

    /// Waits until the exported variables are those after the last command, but not for long: a shell that is stopped does not say.
    pub async fn exports_answered(&self) {
        let mut known = self.exports.subscribe();
        let answered = async {
            tokio::select! {
                biased;
                () = async { drop(known.wait_for(|exports| !exports.asked).await) } => {}
                // No command runs, so nobody else reads the answer.
                mut session = self.session.lock() => session.exports_answered().await,
            }
        };
        drop(tokio::time::timeout(LONGEST_ANSWER, answered).await);
    }

    /// The exported variables as they are known.
    pub fn env(&self) -> Vec<(String, String)> {
        let text = self.exports.borrow().text.clone();
        text.as_ref().map(Environment::variables).unwrap_or_default()
    }
}

/// Contexts without their VM.
#[derive(Debug, Clone, Default)]
pub struct SavedContexts {
    all: Vec<(ContextId, SavedSession)>,
    made: u64,
}

/// All contexts of a VM.
#[derive(Default)]
pub struct Contexts {
    known: BTreeMap<ContextId, Arc<Context>>,
    made: u64,
}

impl Contexts {
    /// Makes one.
    ///
    /// # Errors
    /// [`Error::LimitExceeded`] if there are too many.
    pub fn add(&mut self, session: Session) -> Result<Arc<Context>, Error> {
        if self.known.len() >= MOST_CONTEXTS {
            let text =
                format!("a VM has at most {MOST_CONTEXTS} contexts; delete one with deleteContext first");
            return Err(Error::LimitExceeded(text));
        }
        self.made += 1;
        let context = Arc::new(Context::new(ContextId::new(self.made), session));
        self.known.insert(context.id, Arc::clone(&context));
        Ok(context)
    }

    /// What of them outlives the VM.
    pub fn saved(&self) -> SavedContexts {
        let each = self.known.iter().map(|(&id, context)| (id, context.saved()));
        SavedContexts {
            all: each.collect(),
            made: self.made,
        }
    }

    /// Those of another VM, instead of any that there are. A new one gets none of their names, nor of those that `earlier` has had.
    pub fn restore(&mut self, saved: &SavedContexts, earlier: u64, side: impl Fn(&ContextStart) -> VmSide) {
        self.made = saved.made.max(earlier);
        self.known.clear();
        for (id, saved) in &saved.all {
            let session = Session::again(side(&saved.start), saved);
            let context = Context::new(*id, session);
            self.known.insert(*id, Arc::new(context));
        }
    }

    /// How many were made.
    pub fn made(&self) -> u64 {
        self.made
    }

    /// The context of that name.
    pub fn get(&self, name: &str) -> Result<Arc<Context>, Error> {
        ContextId::parse(name)
            .and_then(|id| self.known.get(&id).cloned())
            .ok_or_else(|| Error::ContextNotFound(name.to_owned()))
    }

    /// Forgets one.
    pub fn remove(&mut self, id: ContextId) {
        self.known.remove(&id);
    }

    /// All of them, in the order in which they were made.
    pub fn all(&self) -> Vec<Arc<Context>> {
        self.known.values().cloned().collect()
    }
}
