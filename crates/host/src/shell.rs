//! An open shell: its terminal, its record, its end.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use agent_vm_protocol::message::{Call, Request, Stdio};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::control::Started;
use crate::error::Error;
use crate::events::{AwaitTaken, Event, ExitStatus, ShellId, Taken};
use crate::exec::missing;
use crate::input::Input;
use crate::leftover;
use crate::output_log::{OutputLog, Stream};
use crate::program::{Program, kill_all, watch_exit};
use crate::stream::{Chunks, End, Kind, Source};
use crate::sys;
use crate::vm::Inner;

/// What to open.
pub struct ShellRequest {
    /// The program.
    pub program: Program,
    /// Columns of its terminal.
    pub cols: u16,
    /// Rows of its terminal.
    pub rows: u16,
}

/// What becomes of an opening. Called exactly once.
pub type OnOpen = Box<dyn FnOnce(Result<ShellId, Error>) + Send>;

/// What is remembered of a shell.
#[derive(Debug)]
pub struct Shell {
    /// Its name.
    pub id: ShellId,
    /// Its number, and its family's.
    pub call: Call,
    /// Its pid in the VM.
    pub pid: u32,
    /// As it was asked for.
    pub command: String,
    /// As they were asked for.
    pub arguments: Vec<String>,
    /// Columns and rows, and the terminal while the shell runs.
    pub terminal: Mutex<Terminal>,
    /// Its terminal, for writing.
    pub input: Arc<Input>,
    /// What its terminal showed.
    pub log: Arc<Mutex<OutputLog>>,
    /// How it ended, once it has and the event of that is out.
    pub status: watch::Sender<Option<ExitStatus>>,
    /// Says that the terminal is to be closed, whoever still holds it.
    pub closed: Notify,
}

/// The size of a terminal, and the terminal.
#[derive(Debug)]
pub struct Terminal {
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
    fd: Option<Arc<OwnedFd>>,
}

impl Shell {
    /// Tells the program in the foreground its new size.
    pub fn resize(&self, cols: u16, rows: u16) -> Result<(), Error> {
        let mut terminal = self.terminal.lock();
        let Some(fd) = &terminal.fd else {
            return Err(self.not_found());
        };
        sys::set_window_size(fd.as_fd(), cols, rows).map_err(|error| Error::system(&error, "ioctl"))?;
        (terminal.cols, terminal.rows) = (cols, rows);
        Ok(())
    }

    /// The error of a call that needs it running.
    pub fn not_found(&self) -> Error {
        Error::ShellNotFound(name(self.id))
    }
}

/// The public name of a shell.
#[must_use]
pub fn name(id: ShellId) -> String {
    format!("shell-{id}")
}

/// Opens a shell; its name goes to `on_open` before any event of it.
pub(crate) fn start(inner: &Arc<Inner>, request: ShellRequest, on_open: OnOpen) {
    let call = inner.control.call();
    let ShellRequest { program, cols, rows } = request;
    let (command, arguments) = (program.file.clone(), program.arguments.clone());
    let message = Request::Spawn(Box::new(program.spawn(
        call,
        &inner.home,
        Stdio::Terminal { cols, rows },
    )));
    let inner = Arc::clone(inner);
    let control = Arc::clone(&inner.control);
    control.start(
        call,
        &message,
        Box::new(move |started| {
            let started = match started {
                Ok(started) => started,
                Err(error) => return on_open(Err(error)),
            };
            let Started { call, pid, fds, exit } = started;
            let (mut source, input, terminal) = match open(fds) {
                Ok(open) => open,
                Err(error) => {
                    drop(tokio::spawn(async move { kill_all(&inner.control, call).await }));
                    return on_open(Err(error));
                }
            };
            let id = inner.next_shell();
            let shell = Arc::new(Shell {
                id,
                call,
                pid,
                command,
                arguments,
                terminal: Mutex::new(Terminal {
                    cols,
                    rows,
                    fd: Some(terminal),
                }),
                input,
                log: Arc::new(Mutex::new(OutputLog::new(inner.replay_bytes))),
                status: watch::Sender::new(None),
                closed: Notify::new(),
            });
            inner.shells.lock().add(call, id, Arc::clone(&shell));
            let running = inner.running();
            on_open(Ok(id));
            drop(tokio::spawn(async move {
                let (exited_sender, mut exited) = watch::channel(false);
                let ending = async {
                    let ended = watch_exit(&inner.control, call, exit, None, None, exited_sender).await;
                    // Our sides of the terminal, so that those who still hold the other meet its end if nobody reads on.
                    // Not later: what is left to deliver may wait for a slow listener, and nobody reads what is written.
                    shell.input.fail();
                    shell.terminal.lock().fd = None;
                    ended
                };
                let mut chunks = Chunks::new(Kind::Terminal, |data| tell(&inner, &shell, data).wait());
                let delivering = source.pump(&mut exited, &mut chunks);
                let (ended, end) = tokio::join!(ending, delivering);
                let status = ended.status();
                inner.events.emit(Event::ShellExit { shell: id, status });
                inner.replay.lock().add(&shell.log);
                inner.shells.lock().exited(call);
                shell.status.send_replace(Some(status));
                drop(running);
                if end == End::StillOpen {
                    let rest = Rest {
                        inner: Arc::clone(&inner),
                        shell: Arc::clone(&shell),
                    };
                    let streams = [Some((source, Kind::Terminal, rest)), None];
                    tokio::select! {
                        () = leftover::read_on(&inner.leftovers, &inner.control, call, pid, streams) => {}
                        () = shell.closed.notified() => {}
                    }
                }
            }));
        }),
    );
}

fn open(fds: Vec<OwnedFd>) -> Result<(Source, Arc<Input>, Arc<OwnedFd>), Error> {
    let master = fds.into_iter().next().ok_or_else(missing)?;
    // `epoll(7)` knows a descriptor once; reading and writing are watched apart.
    let writing = master.try_clone().map_err(|error| Error::system(&error, "dup"))?;
    let writing = Arc::new(writing);
    let source = Source::new(master, Kind::Terminal).map_err(|error| Error::system(&error, "epoll_ctl"))?;
    let input = Input::new(Arc::clone(&writing)).map_err(|error| Error::system(&error, "ioctl"))?;
    Ok((source, input, writing))
}

/// What a shell's children write after it has gone, until the VM has told its own end.
struct Rest {
    inner: Arc<Inner>,
    shell: Arc<Shell>,
}

impl leftover::Reader for Rest {
    fn take(&self, data: Bytes) -> Option<AwaitTaken> {
        let Self { inner, shell } = self;
        (!inner.has_ended()).then(|| {
            let held = shell.log.lock().held();
            let awaited = tell(inner, shell, data);
            let has_grown = shell.log.lock().held() > held;
            if has_grown {
                inner.replay.lock().keep();
            }
            awaited
        })
    }

    fn cut(&self) {
        self.shell.log.lock().cut();
    }
}

fn tell(inner: &Inner, shell: &Shell, data: Bytes) -> AwaitTaken {
    let (taken, awaited) = Taken::new();
    inner.traffic.take(data.len());
    let seq = shell.log.lock().append(Stream::Stdout, &data);
    inner.events.emit(Event::ShellData {
        shell: shell.id,
        data,
        seq,
        taken,
    });
    awaited
}
