//! What a context is between two commands: its shell, and what is known for the day when that has ended.

use std::collections::BTreeSet;
use std::sync::Arc;

use agent_vm_protocol::message::{Call, Exit, ProgramUser};

use super::command_end::CommandOutcome;
use super::environment::Environment;
use super::exports::{Exports, ExportsKnown};
use super::interrupt::{CommandBounds, Why, kill};
use super::look::Used;
use super::shell::{Begun, ContextShell, Gone};
use super::shell_kind::ShellKind;
use super::view::ContextView;
use super::vm_side::VmSide;
use parking_lot::Mutex;

use crate::error::Error;
use crate::process_table::ProcessInfo;
use crate::stream::Sink;

/// The default shell, and the one for VMs that have none.
const PREFERRED: &str = "bash";
const OTHER: &str = "/bin/sh";

/// Families of earlier shells that are remembered because something of them was left. For one more, the oldest is killed.
const MOST_FAMILIES: usize = 64;

/// The most bytes of a variable that can be handed to a program (`MAX_ARG_STRLEN`).
const MOST_VARIABLE: usize = 128 * 1024;

/// The status of a command that was ended.
const KILLED: i32 = 128 + libc::SIGKILL;

/// Variables that a shell sets for itself.
const OWN_VARIABLES: [&str; 3] = ["_", "SHLVL", "PWD"];

/// How a context begins, also when it is reset.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The shell's program; none for bash where the VM has it, else sh.
    pub shell: Option<String>,
    /// The working directory; none for the VM's home.
    pub cwd: Option<String>,
    /// Added to the VM's environment.
    pub env: Vec<(String, String)>,
}

/// How a context begins, and as whom.
#[derive(Debug)]
pub struct ContextStart {
    /// The options.
    pub origin: Origin,
    /// Where a program starts that is given no working directory.
    pub home: String,
    /// The user that its programs run as.
    pub user: ProgramUser,
}

/// What of a context outlives its VM.
#[derive(Debug, Clone)]
pub struct SavedSession {
    /// How it begins.
    pub start: Arc<ContextStart>,
    /// The program of its shell.
    pub program: String,
    /// Its working directory.
    pub cwd: String,
    /// Its exported variables.
    pub exports: Option<Environment>,
    /// Those of a new shell.
    pub first_names: Arc<BTreeSet<String>>,
    /// The status of its last command.
    pub status: i32,
}

/// A context's shell and what it will begin with again.
pub struct Session {
    vm: Arc<VmSide>,
    origin: Origin,
    /// The program of its shell, once one has started.
    program: Option<String>,
    shell: Option<ContextShell>,
    /// Whether a shell has ended and no result has said so.
    lost: bool,
    status: i32,
    cwd: Option<String>,
    exports: Arc<ExportsKnown>,
    /// The exported variables of a new shell.
    first_names: Arc<BTreeSet<String>>,
    earlier_families: Vec<Call>,
}

/// How a command ended.
pub struct CommandEnd {
    /// What became of it.
    pub outcome: EndOutcome,
    /// What ended it, if it did not end by itself.
    pub why: Option<Why>,
    /// Whether the shell was started again, before it or after it.
    pub restarted: bool,
    /// What it left running.
    pub left: Vec<ProcessInfo>,
}

/// What became of a command.
pub enum EndOutcome {
    /// It ended with this status, having used that.
    Status(i32, Used),
    /// The shell ended.
    Shell(Exit),
}

impl Session {
    /// A context that has no shell yet.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a shell that cannot be a context's.
    pub fn new(vm: VmSide, origin: Origin) -> Result<Self, Error> {
        if let Some(shell) = &origin.shell {
            ShellKind::of(shell)?;
        }
        Ok(Self {
            vm: Arc::new(vm),
            program: origin.shell.clone(),
            cwd: origin.cwd.clone(),
            origin,
            shell: None,
            lost: false,
            status: 0,
            exports: Arc::new(ExportsKnown::new(Exports::default())),
            first_names: Arc::default(),
            earlier_families: Vec::new(),
        })
    }

    /// A context of a VM that takes the place of another one, or begins with what that had written. Its next command has a new shell,
    /// with the working directory and the exported variables of the last one.
    pub fn again(vm: VmSide, saved: &SavedSession) -> Self {
        let exports = Exports {
            text: saved.exports.clone(),
            asked: false,
        };
        Self {
            vm: Arc::new(vm),
            origin: saved.start.origin.clone(),
            program: Some(saved.program.clone()).filter(|program| !program.is_empty()),
            shell: None,
            lost: saved.exports.is_some(),
            status: saved.status,
            cwd: Some(saved.cwd.clone()),
            exports: Arc::new(ExportsKnown::new(exports)),
            first_names: Arc::clone(&saved.first_names),
            earlier_families: Vec::new(),
        }
    }

    /// How it began.
    pub fn start_of(&self) -> Arc<ContextStart> {
        Arc::new(ContextStart {
            origin: self.origin.clone(),
            home: self.vm.home.clone(),
            user: self.vm.user.clone(),
        })
    }

    /// Makes sure that there is a shell, with pipes of its own.
    pub async fn prepare(&mut self, view: &Mutex<ContextView>) -> Result<(), Error> {
        if let Some(shell) = &mut self.shell
            && let Some(Gone(exit)) = shell.ended()
        {
            shell.read_last_exports();
            self.lose(exit).await?;
        }
        if let Some(shell) = &mut self.shell
            && let Err(error) = shell.renew_outputs(self.status).await
        {
            tracing::debug!(%error, "a context's shell is given up");
            kill(&self.vm.control, shell.call).await;
            self.shell = None;
            self.lost = true;
        }
        if self.shell.is_none() {
            self.start().await?;
        }
        self.show(view);
        Ok(())
    }

    async fn start(&mut self) -> Result<(), Error> {
        let before = self.exports.borrow().text.clone();
        let env = match &before {
            Some(environment) => environment.variables(),
            None => self.origin.env.clone(),
        };
        let env: Vec<(String, String)> = env
            .into_iter()
            .filter(|(name, value)| {
                !OWN_VARIABLES.contains(&&**name) && name.len() + value.len() < MOST_VARIABLE
            })
            .collect();
        let cwd = self.cwd.clone().unwrap_or_else(|| self.vm.home.clone());
        let is_again = before.is_some();
        let started = match self.start_in(&env, &cwd).await {
            // It was removed since the last command.
            Err(Error::System { path: Some(path), .. }) if is_again && path == cwd => {
                self.start_in(&env, &self.vm.home.clone()).await
            }
            other => other,
        };
        self.shell = Some(started?);
        if is_again {
            self.unset_others(&env).await;
            self.exports.send_modify(|exports| exports.text = before);
        } else {
            self.note();
            let exports = self.exports.borrow();
            let variables = exports
                .text
                .as_ref()
                .map(Environment::variables)
                .unwrap_or_default();
            self.first_names = Arc::new(variables.into_iter().map(|(name, _)| name).collect());
            self.status = 0;
        }
        Ok(())
    }

    async fn start_in(&mut self, env: &[(String, String)], cwd: &str) -> Result<ContextShell, Error> {
        let program = self.program.clone().unwrap_or_else(|| PREFERRED.to_owned());
        match ContextShell::start(&self.vm, &program, env.to_vec(), cwd, &self.exports).await {
            Err(Error::System {
                errno: libc::ENOENT,
                path: Some(path),
                ..
            }) if self.program.is_none() && path == PREFERRED => {
                let started = ContextShell::start(&self.vm, OTHER, env.to_vec(), cwd, &self.exports).await?;
                self.program = Some(OTHER.to_owned());
                Ok(started)
            }
            started => {
                let started = started?;
                self.program = Some(program);
                Ok(started)
            }
        }
    }

    /// Unsets what a new shell has and the last one had not.
    async fn unset_others(&mut self, env: &[(String, String)]) {
        let kept: BTreeSet<&str> = env.iter().map(|(name, _)| name.as_str()).collect();
        let names: Vec<&str> = self
            .first_names
            .iter()
            .map(String::as_str)
            .filter(|name| !OWN_VARIABLES.contains(name) && !kept.contains(name))
            .collect();
        let (Some(shell), Some(program)) = (&mut self.shell, &self.program) else {
            return;
        };
        if let (false, Ok(kind)) = (names.is_empty(), ShellKind::of(program)) {
            shell.command(&kind.unset(&names), 0).await;
        }
    }

    /// Begins a command, on the calling thread, if that can be done at once.
    pub fn begin(&mut self, text: &str) -> Option<Begun> {
        let status = self.status;
        self.shell.as_mut()?.begin(text, status)
    }

    /// Runs a command, or the rest of one that has begun.
    pub async fn run(
        &mut self,
        view: &Mutex<ContextView>,
        text: &str,
        begun: Option<Begun>,
        bounds: &CommandBounds<'_>,
        stdout: &mut impl Sink,
        stderr: &mut impl Sink,
    ) -> Result<CommandEnd, Error> {
        let shell = self.shell.as_mut().ok_or(Error::Disposed)?;
        view.lock().command = Some(text.to_owned());
        let (outcome, why) = shell.run(text, self.status, begun, bounds, stdout, stderr).await;
        view.lock().command = None;
        let (outcome, left) = match outcome {
            CommandOutcome::Ended(status) => {
                let used = shell.used();
                let left = shell.take_left().await?;
                // A command that was given up has no status of its own.
                self.status = if why.is_some() { KILLED } else { status };
                self.note();
                (EndOutcome::Status(status, used), left)
            }
            CommandOutcome::Gone(exit) => {
                let mut exit = exit.ok_or(Error::Disposed)?;
                self.status = exit.code;
                let lost = exit.clone();
                exit.background.retain(|process| !shell.had_left(process.pid));
                self.lose(Some(lost)).await?;
                (EndOutcome::Shell(exit), Vec::new())
            }
        };
        self.show(view);
        Ok(CommandEnd {
            outcome,
            why,
            restarted: std::mem::take(&mut self.lost),
            left,
        })
    }

    /// What is known of the exported variables.
    pub fn exports(&self) -> Arc<ExportsKnown> {
        Arc::clone(&self.exports)
    }

    /// Asks the shell what it exports, for the case that the next command ends it. To be called when a command has ended.
    pub fn ask_exports(&mut self) {
        if let Some(shell) = &mut self.shell {
            shell.ask_exports();
        }
    }

    /// Waits until the shell has answered what it was asked.
    pub async fn exports_answered(&mut self) {
        if let Some(shell) = &mut self.shell {
            // Without an answer, what was known stays.
            drop(shell.exports_answered().await);
        }
    }

    fn note(&mut self) {
        if let Some(cwd) = self.shell.as_ref().and_then(ContextShell::working_directory) {
            self.cwd = Some(cwd);
        }
    }

    /// Its shell has ended.
    async fn lose(&mut self, exit: Option<Exit>) -> Result<(), Error> {
        let exit = exit.ok_or(Error::Disposed)?;
        let shell = self.shell.take();
        self.lost = true;
        self.exports.send_modify(|exports| exports.asked = false);
        if let Some(mut shell) = shell
            && !exit.background.is_empty()
        {
            shell.give_outputs_away();
            if self.earlier_families.len() >= MOST_FAMILIES {
                let oldest = self.earlier_families.remove(0);
                kill(&self.vm.control, oldest).await;
            }
            self.earlier_families.push(shell.call);
        }
        Ok(())
    }

    /// Ends everything of it, and makes it what it was at first.
    pub async fn reset(&mut self, view: &Mutex<ContextView>) {
        let families = std::mem::take(&mut self.earlier_families);
        let shell = self.shell.take();
        for family in families.into_iter().chain(shell.map(|shell| shell.call)) {
            kill(&self.vm.control, family).await;
        }
        self.lost = false;
        self.status = 0;
        self.cwd.clone_from(&self.origin.cwd);
        self.exports.send_replace(Exports::default());
        self.show(view);
    }

    /// Has calls see it without waiting for its commands.
    pub fn show(&self, view: &Mutex<ContextView>) {
        let mut view = view.lock();
        view.shell = self.program.clone().unwrap_or_default();
        view.pid = self.shell.as_ref().map(|shell| shell.pid);
        view.cwd = self.cwd.clone().unwrap_or_else(|| self.vm.home.clone());
        view.status = self.status;
        view.first_names = Arc::clone(&self.first_names);
    }
}
