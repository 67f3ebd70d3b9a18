//! The screens of a VM's shells.

use std::sync::Arc;

use crate::error::Error;
use crate::records::Shell;
use crate::screen::{Drawing, ReservedCells, Size};
use crate::shared::Shared;

/// The screen of a shell that has just been opened.
pub(super) fn from_start(shared: &Shared, size: Size) -> Result<Drawing, Error> {
    let cells = reserve(shared, size)?;
    Ok(Drawing::new(size, 0, true, shared.screen_turns.clone(), cells))
}

/// The screen of a shell; if it has none, one that is built from the kept output.
pub(super) fn of(shared: &Shared, shell: &Shell) -> Result<Arc<Drawing>, Error> {
    if let Some(screen) = shell.screen() {
        return Ok(screen);
    }
    let (cols, rows) = shell.size();
    let cells = reserve(shared, Size::of_screen(cols, rows)?)?;
    shell.screen_or_build(shared.screen_turns.clone(), cells)
}

/// If the VM's screens have too many cells, those of shells that have exited make room, the oldest shell's first.
fn reserve(shared: &Shared, size: Size) -> Result<ReservedCells, Error> {
    loop {
        match shared.screen_room.reserve(size) {
            Err(_) if drop_one(shared) => {}
            reserved => return reserved,
        }
    }
}

/// Drops a screen of a shell that has exited. Returns whether there was one.
fn drop_one(shared: &Shared) -> bool {
    let shells = shared.shells.lock().all();
    let exited = shells
        .into_iter()
        .find(|shell| shell.record.status().is_some() && shell.screen().is_some());
    exited.is_some_and(|shell| {
        shell.drop_screen();
        true
    })
}
