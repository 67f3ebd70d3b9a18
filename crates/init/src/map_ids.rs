//! Runs the programs that may map more than one id: `newuidmap(1)` and `newgidmap(1)`, which give an ordinary user what
//! `/etc/subuid` and `/etc/subgid` say.
//!
//! They must run outside of the namespace, and the server never forks; so a copy of the zygote runs them.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};

use agent_vm_protocol::message::{MapIds, MapProgram, Reply};

/// How much of a program's message is kept.
const MAX_MESSAGE: u64 = 1024;

/// Runs them all, until one fails.
pub fn run(wanted: &MapIds) -> Reply {
    for (program, made) in (0..).zip(wanted.programs.iter().map(|program| map(program, wanted.pid))) {
        if let Err(error) = made {
            let why = error.to_string();
            return Reply::IdsNotMapped { program, why };
        }
    }
    Reply::IdsMapped
}

fn map(program: &MapProgram, pid: i32) -> io::Result<()> {
    let numbers = program
        .ranges
        .iter()
        .flat_map(|(inside, outside, length)| [inside, outside, length]);
    let mut child = Command::new(OsStr::from_bytes(program.path.as_ref()))
        .arg(pid.to_string())
        .args(numbers.map(ToString::to_string))
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut message = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        stderr.take(MAX_MESSAGE).read_to_end(&mut message)?;
    }
    let status = child.wait()?;
    if status.success() {
        return Ok(());
    }
    let message = String::from_utf8_lossy(&message);
    Err(io::Error::other(match message.trim() {
        "" => status.to_string(),
        message => message.to_owned(),
    }))
}
