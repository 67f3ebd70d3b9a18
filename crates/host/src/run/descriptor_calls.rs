//! Calls about the pipes of a spawned process beside its standard streams.

use super::input::{PendingWrite, write};
use super::process_id::ProcessId;
use crate::error::Error;
use crate::output_log::Stream;
use crate::records::{Descriptor, OutputReplay};
use crate::vm::Vm;

impl Vm {
    /// The kept output of one of a process's pipes from position `after` on.
    pub fn read_descriptor(&self, id: ProcessId, number: u8, after: u64) -> Result<OutputReplay, Error> {
        self.or_ended(self.process(id).map(|process| {
            let exited = process.record.status();
            let log = process.record.log(Stream::Descriptor(number));
            OutputReplay {
                output: log.lock().read(after),
                exited,
            }
        }))
    }

    /// Writes to a pipe that a process reads.
    pub fn write_descriptor(
        &self,
        id: ProcessId,
        number: u8,
        data: &[u8],
    ) -> Result<Option<PendingWrite>, Error> {
        self.or_ended(
            self.process(id)
                .and_then(|process| match process.record.descriptor(number) {
                    Some(Descriptor::Input(input)) => write(self, input, data, closed()),
                    _ => Err(closed()),
                }),
        )
    }

    /// Closes a pipe that a process reads, after everything that was written to it.
    pub fn close_descriptor_input(&self, id: ProcessId, number: u8) -> Result<(), Error> {
        self.or_ended(self.process(id).map(|process| {
            if let Some(Descriptor::Input(input)) = process.record.descriptor(number) {
                input.close();
            }
        }))
    }

    /// Pauses or resumes the reading of a pipe that a process writes to. Once the process has exited, what it wrote itself is read
    /// nevertheless.
    pub fn pause_descriptor(&self, id: ProcessId, number: u8, paused: bool) -> Result<(), Error> {
        let stream = Stream::Descriptor(number);
        self.or_ended(
            self.process(id)
                .map(|process| process.record.flow(stream).set_paused(paused)),
        )
    }

    /// Waits until everything of a pipe that a process writes to is emitted.
    pub async fn descriptor_ended(&self, id: ProcessId, number: u8) -> Result<(), Error> {
        let process = self.process(id)?;
        process.record.flow(Stream::Descriptor(number)).ended().await;
        Ok(())
    }
}

/// As a program gets it that writes to a pipe which nobody reads.
fn closed() -> Error {
    Error::System {
        errno: libc::EPIPE,
        syscall: "write".into(),
        path: None,
    }
}
