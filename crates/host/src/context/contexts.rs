//! The contexts of a VM.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};

use super::environment::Environment;
use super::exports::ExportsKnown;
use super::id::ContextId;
use super::session::Session;
use super::view::ContextView;
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
        let id = ContextId::new(self.made);
        let context = Arc::new(Context {
            id,
            exports: session.exports(),
            session: Arc::new(tokio::sync::Mutex::new(session)),
            view: Mutex::default(),
            resets: watch::Sender::new(0),
            places: Arc::new(Semaphore::new(MOST_COMMANDS)),
        });
        self.known.insert(id, Arc::clone(&context));
        Ok(context)
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
