//! Opens a shell: a program on a terminal, whose output is emitted as events.

use std::sync::Arc;

use agent_vm_protocol::message::Stdio;
use bytes::Bytes;

use super::attached::TerminalEnds;
use super::command::Command;
use super::follow::{self, Recorded};
use super::screen;
use crate::credit::Credit;
use crate::error::Error;
use crate::events::{Event, ExitStatus};
use crate::output_log::Stream;
use crate::records::{Record, Shell};
use crate::screen::Size;
use crate::shared::Shared;
use crate::shell_id::ShellId;
use crate::vm::Vm;

/// A shell to open.
pub struct ShellRequest {
    /// What to run.
    pub command: Command,
    /// The number of columns of its terminal.
    pub cols: u16,
    /// The number of rows of its terminal.
    pub rows: u16,
    /// Whether its screen is drawn from its first byte on.
    pub screen: bool,
}

/// Receives the name of an opened shell. Called exactly once.
pub type OnOpen = Box<dyn FnOnce(Result<ShellId, Error>) + Send>;

impl Vm {
    /// Opens a shell; its name goes to `on_open` before any of its events.
    pub fn open_shell(&self, request: ShellRequest, on_open: OnOpen) {
        let ShellRequest {
            command,
            cols,
            rows,
            screen,
        } = request;
        let size = match screen.then(|| Size::of_screen(cols, rows)).transpose() {
            Ok(size) => size,
            Err(error) => return on_open(Err(error)),
        };
        follow::start(
            self.shared(),
            command,
            Stdio::Terminal { cols, rows },
            None,
            move |shared, fds, new_record| {
                let TerminalEnds {
                    input,
                    output,
                    master_fd,
                } = TerminalEnds::open(fds)?;
                let record = new_record.with_input(input);
                record.flow(Stream::Stderr).end();
                let screen = size.map(|size| screen::from_start(shared, size)).transpose()?;
                let shell = Shell::new(shared.next_shell(), record, master_fd, (cols, rows), screen);
                Ok((shell, vec![Some((output, Stream::Stdout))]))
            },
            |started: Result<&Shell, Error>| on_open(started.map(|shell| shell.id)),
        );
    }
}

impl Recorded for Shell {
    fn record(&self) -> &Record {
        &self.record
    }

    fn remember(self: &Arc<Self>, shared: &Shared) {
        shared
            .shells
            .lock()
            .add(self.record.call, self.id, Arc::clone(self));
    }

    fn note_exit(&self, shared: &Shared) {
        shared.shells.lock().exited(self.record.call);
    }

    fn note_output(&self, data: &Bytes, seq: u64) {
        self.draw(data, seq);
    }

    /// While too much waits to be drawn, there is none.
    async fn room(&self) {
        if let Some(screen) = self.screen() {
            screen.room().await;
        }
    }

    fn output_event(&self, _: Stream, data: Bytes, seq: u64, credit: Credit) -> Event {
        Event::ShellData {
            shell: self.id,
            data,
            seq,
            credit,
        }
    }

    fn exit_event(&self, status: ExitStatus, _: bool) -> Event {
        Event::ShellExit {
            shell: self.id,
            status,
        }
    }

    /// Closes the host's writing side, so that processes that still hold the terminal get a hang-up when the host stops
    /// reading. It happens now, because a slow listener may delay the rest of the output, and nothing reads what is
    /// written to the terminal.
    fn on_exit(&self) {
        self.release_terminal();
    }

    fn owns_later_output(&self, _: &Shared) -> bool {
        true
    }

    fn closed(&self) -> impl Future<Output = ()> + Send {
        Shell::closed(self)
    }
}
