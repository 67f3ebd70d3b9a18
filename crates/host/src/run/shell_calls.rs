//! Calls about shells.

use std::sync::Arc;

use agent_vm_protocol::message::Request;

use super::input::{PendingWrite, write};
use crate::error::Error;
use crate::events::ExitStatus;
use crate::output_log::Stream;
use crate::records::{OutputReplay, Shell, ShellInfo};
use crate::shell_id::ShellId;
use crate::vm::Vm;

impl Vm {
    /// All shells that are remembered, in the order in which they were opened.
    #[must_use]
    pub fn list_shells(&self) -> Vec<ShellInfo> {
        let shells = self.shared().shells.lock().all();
        shells.iter().map(|shell| shell.info()).collect()
    }

    /// The kept output of a shell from position `after` on.
    pub fn read_shell(&self, name: &str, after: u64) -> Result<OutputReplay, Error> {
        self.or_ended(self.shell(name).map(|shell| shell.record.replay(after)))
    }

    /// Writes to a shell's terminal.
    pub fn write_shell(&self, name: &str, data: &[u8]) -> Result<Option<PendingWrite>, Error> {
        self.or_ended(
            self.shell(name)
                .and_then(|shell| write(self, &shell.record.input, data, shell.not_found())),
        )
    }

    /// Sets the size of a shell's terminal.
    pub fn resize_shell(&self, name: &str, cols: u16, rows: u16) -> Result<(), Error> {
        self.or_ended(self.shell(name).and_then(|shell| shell.resize(cols, rows)))
    }

    /// Waits until a shell has ended and its exit event is emitted.
    pub async fn wait_shell(&self, name: &str) -> Result<ExitStatus, Error> {
        self.shell(name)?.record.ended().await
    }

    /// Hangs up a shell's terminal. Returns when no process of its session is left and its exit event is emitted.
    pub async fn close_shell(&self, name: &str) -> Result<(), Error> {
        let shell = self.shell(name)?;
        if shell.record.status().is_some() {
            return Ok(());
        }
        let family = shell.record.call;
        self.ask(|call| Request::HangUp { call, family }, Vec::new())
            .await?;
        let status = shell.record.ended().await;
        shell.close();
        status.map(drop)
    }

    /// Pauses or resumes the reading of a shell's terminal. Once the shell has exited, what it wrote itself is read nevertheless.
    pub fn pause_shell(&self, name: &str, paused: bool) -> Result<(), Error> {
        self.or_ended(
            self.shell(name)
                .map(|shell| shell.record.flow(Stream::Stdout).set_paused(paused)),
        )
    }

    /// Waits until everything that a shell's terminal shows is emitted.
    pub async fn shell_output_ended(&self, name: &str) -> Result<(), Error> {
        self.shell(name)?.record.flow(Stream::Stdout).ended().await;
        Ok(())
    }

    /// The shell with this name.
    pub(super) fn shell(&self, name: &str) -> Result<Arc<Shell>, Error> {
        ShellId::parse(name)
            .and_then(|id| self.shared().shells.lock().get(&id))
            .ok_or_else(|| Error::ShellNotFound(name.to_owned()))
    }
}
