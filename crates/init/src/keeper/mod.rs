//! A process that holds places in host directories which do not exist, so that a VM can mount something read-only there.
//!
//! A mount needs a file or directory to cover. Where none exists, the keeper makes a [placeholder](placeholders), and
//! removes it when the VM has ended. It is a copy of the zygote in the host's namespaces with the server's rights, and runs
//! no programs. It waits for the end of its socket, so it also does its work for a server that was killed.

mod hard_links;
mod mark;
mod owner;
mod place;
mod placeholder;
mod placeholders;
mod turn;

use std::os::fd::{AsFd, OwnedFd};

use agent_vm_protocol::message::{Keep, Reply, Unprotectable};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{Mode, umask};

use crate::control::{Attachments, Control, ControlError};
use crate::sys;
use placeholders::Placeholders;
use turn::PAUSE;

/// Holds the places, until the host has closed the socket and the VM has ended.
pub fn run(mut control: Control, keep: &Keep, mut attachments: Attachments) -> Result<(), ControlError> {
    sys::set_name(sys::KEEPER_NAME);
    // What ends the server together with everything that it has started must not leave placeholders behind.
    sys::ignore_ends();
    umask(Mode::S_IWGRP | Mode::S_IWOTH);
    let mut placeholders = Placeholders::default();
    let init_fd = attachments.take(0).ok_or_else(|| unseen((0, 0), Errno::EBADF));
    let held = init_fd.and_then(|init_fd| {
        let empty = hold(&mut placeholders, keep, &mut attachments)?;
        Ok((init_fd, empty))
    });
    // To remove something from a directory whose mode a program has changed, root's rights are needed.
    owner::act_as_oneself().unwrap_or_else(|errno| sys::log(&errno));
    let ended = match held {
        Ok((init_fd, empty)) => serve(&mut control, empty, &placeholders, &init_fd),
        Err(((directory, place), why)) => {
            let reply = Reply::NotKept {
                directory,
                place,
                why,
            };
            placeholders.remove();
            return control.send(&reply, Vec::new()).and_then(|()| control.drain());
        }
    };
    placeholders.remove();
    ended
}

/// The number of a directory, and of a place in it.
type Number = (u8, u16);

/// Checks and holds all places, and returns the numbers of those that are placeholders. If one cannot be held, returns
/// its number and the reason.
fn hold(
    placeholders: &mut Placeholders,
    keep: &Keep,
    attachments: &mut Attachments,
) -> Result<Vec<Number>, (Number, Unprotectable)> {
    let mut empty = Vec::new();
    for (number, kept) in (0..).zip(&keep.directories) {
        let directory_fd = attachments
            .take(kept.directory)
            .ok_or_else(|| unseen((number, 0), Errno::EBADF))?;
        kept.owner
            .map_or_else(owner::act_as_oneself, owner::act_as)
            .map_err(|errno| unseen((number, 0), errno))?;
        for (place_number, place) in (0..).zip(&kept.places) {
            let number = (number, place_number);
            if placeholders
                .hold(&directory_fd, place)
                .map_err(|why| (number, why))?
            {
                empty.push(number);
            }
        }
    }
    Ok(empty)
}

fn unseen(number: Number, errno: Errno) -> (Number, Unprotectable) {
    (number, Unprotectable::Unseen { errno: errno as i32 })
}

/// Waits for the end of the socket, and then for the VM's.
fn serve(
    control: &mut Control,
    empty: Vec<Number>,
    placeholders: &Placeholders,
    init_fd: &OwnedFd,
) -> Result<(), ControlError> {
    let answered = control.send(&Reply::Kept { empty }, Vec::new());
    if placeholders.are_none() {
        return answered.and_then(|()| control.drain());
    }
    // Whatever goes wrong with the socket, the placeholders stay while the VM runs, and go afterwards.
    let ended = answered
        .and_then(|()| control.drain())
        .and_then(|()| await_close(control));
    await_end(init_fd);
    ended
}

/// Waits until the process that the descriptor refers to has ended.
fn await_end(process_fd: &OwnedFd) {
    let mut watched = [PollFd::new(process_fd.as_fd(), PollFlags::POLLIN)];
    while !matches!(poll(&mut watched, PollTimeout::NONE), Ok(1..)) {
        // The kernel was out of memory.
        std::thread::sleep(PAUSE);
    }
}

fn await_close(control: &mut Control) -> Result<(), ControlError> {
    loop {
        match control.receive() {
            // The host sends nothing else.
            Ok(_) => {
                if let Err(errno) = sys::wait_readable(control) {
                    sys::log(&errno);
                    return Ok(());
                }
            }
            Err(ControlError::Closed) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}
