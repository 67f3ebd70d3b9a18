//! The process that holds the protected places of a VM's mounts that do not exist on the host, by placeholders
//! (init's `keeper`). It ends when its socket is closed and the VM has ended, and has removed the placeholders then,
//! also if this process was killed.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use agent_vm_protocol::channel::Channel;
use agent_vm_protocol::message::{
    Attached, Keep, KeptDirectory, Launch, ProtectedPlace, Reply, Request, RootEntry,
};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::error::BootError;
use super::exchange::{await_reply, send, unasked};
use super::init_process::InitProcess;
use super::zygote::{self, Program};

/// How long the keeper may take to remove placeholders before it is left alone with that.
const PATIENCE: u16 = 5000;

/// A host directory with protected places.
#[derive(Debug)]
pub struct Guarded {
    /// The path of its mount in the VM.
    pub mount: String,
    /// The directory as the caller named it.
    pub path: PathBuf,
    /// The directory.
    pub fd: OwnedFd,
    /// The uid and gid of its owner, if this process is root.
    pub owner: Option<(u32, u32)>,
    /// The places.
    pub places: Vec<ProtectedPlace>,
}

/// A keeper with placeholders. Dropping it, after the VM's end, waits until they are removed.
#[derive(Debug)]
pub struct Keeper {
    channel: Option<Channel>,
    process: Option<InitProcess>,
}

impl Keeper {
    /// Checks the places, for the VM whose init `init_fd` refers to, and notes in the `root` which are placeholders.
    /// Returns `None` if none is.
    pub fn start(
        program: &Program,
        guarded: Vec<Guarded>,
        root: &mut [RootEntry],
        init_fd: BorrowedFd<'_>,
    ) -> Result<Option<Self>, BootError> {
        if guarded.is_empty() {
            return Ok(None);
        }
        let launch = Launch {
            namespaces: 0,
            cgroup: false,
            joins: 0,
            joins_after: 0,
            reports: false,
            own_map: None,
            take_ids: false,
        };
        let (process, channel) = zygote::launch(program, &launch, &[])?;
        let keeper = Self {
            channel: Some(channel),
            process: Some(process),
        };
        let mounts: Vec<String> = guarded.iter().map(|directory| directory.mount.clone()).collect();
        let empty = keeper.hold(guarded, init_fd)?;
        for (directory, place) in &empty {
            let mount = mounts.get(usize::from(*directory)).ok_or_else(unasked)?;
            note(root, mount, usize::from(*place)).ok_or_else(unasked)?;
        }
        Ok((!empty.is_empty()).then_some(keeper))
    }

    /// Returns the numbers of the placeholders.
    fn hold(&self, guarded: Vec<Guarded>, init_fd: BorrowedFd<'_>) -> Result<Vec<(u8, u16)>, BootError> {
        let channel = self.channel.as_ref().ok_or_else(unasked)?;
        let mut fds = vec![init_fd.try_clone_to_owned().map_err(BootError::Channel)?];
        let mut paths = Vec::with_capacity(guarded.len());
        let directories = guarded.into_iter().map(|directory| {
            paths.push(directory.path);
            fds.push(directory.fd);
            KeptDirectory {
                directory: (fds.len() - 1) as Attached,
                owner: directory.owner,
                places: directory.places,
            }
        });
        let keep = Keep {
            directories: directories.collect(),
        };
        send(channel, &Request::Keep(keep.clone()), fds)?;
        match await_reply(channel)? {
            (Reply::Kept { empty }, _) => Ok(empty),
            (
                Reply::NotKept {
                    directory,
                    place,
                    why,
                },
                _,
            ) => {
                let number = usize::from(directory);
                let path = paths.get(number).zip(keep.directories.get(number));
                let place = path.and_then(|(path, kept)| {
                    let place = kept.places.get(usize::from(place))?;
                    Some(path.join(&place.path))
                });
                Err(match place {
                    Some(path) => BootError::Protect { path, why },
                    None => unasked(),
                })
            }
            _ => Err(unasked()),
        }
    }
}

/// Notes that a place of a mount is a placeholder.
fn note(root: &mut [RootEntry], mount: &str, place: usize) -> Option<()> {
    let protect = root.iter_mut().find_map(|entry| match entry {
        RootEntry::Mount { path, protect, .. } if path == mount => Some(protect),
        _ => None,
    })?;
    protect.get_mut(place)?.is_placeholder = true;
    Some(())
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.channel.take());
        let Some(process) = self.process.take() else {
            return;
        };
        let mut watched = [PollFd::new(process.pidfd.as_fd(), PollFlags::POLLIN)];
        if poll(&mut watched, PollTimeout::from(PATIENCE)) == Ok(0) {
            tracing::warn!("the placeholders of a VM's protected places are not removed yet");
            // To drop it would kill it, and leave them.
            std::thread::spawn(move || {
                let mut watched = [PollFd::new(process.pidfd.as_fd(), PollFlags::POLLIN)];
                while !matches!(poll(&mut watched, PollTimeout::NONE), Ok(1..)) {}
            });
        }
    }
}
