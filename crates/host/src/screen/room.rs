//! How many cells the screens of one VM may have together.

use std::sync::Arc;

use parking_lot::Mutex;

use super::size::{MAX_CELLS, Size};
use crate::error::Error;

/// The most cells of all screens of a VM: four of the largest, or 136 of 80 columns and 24 rows.
const MAX_OF_VM: usize = 4 * MAX_CELLS;

/// The cells of a VM's screens.
#[derive(Debug, Clone, Default)]
pub struct ScreenRoom {
    reserved: Arc<Mutex<usize>>,
}

/// The cells of one screen, until it is dropped.
#[derive(Debug)]
pub struct ReservedCells {
    room: ScreenRoom,
    cells: Mutex<usize>,
}

impl ScreenRoom {
    /// Reserves the cells of one screen.
    pub fn reserve(&self, size: Size) -> Result<ReservedCells, Error> {
        let reserved = ReservedCells {
            room: self.clone(),
            cells: Mutex::new(0),
        };
        reserved.change(size)?;
        Ok(reserved)
    }
}

impl ReservedCells {
    /// Reserves the cells of another size instead. An error changes nothing.
    pub fn change(&self, size: Size) -> Result<(), Error> {
        let (mut all, mut own) = (self.room.reserved.lock(), self.cells.lock());
        let changed = *all - *own + size.cells();
        if changed > MAX_OF_VM {
            return Err(Error::LimitExceeded(format!(
                "The screens of a VM have at most {MAX_OF_VM} cells together: close a shell, or make terminals smaller"
            )));
        }
        (*all, *own) = (changed, size.cells());
        Ok(())
    }
}

impl Drop for ReservedCells {
    fn drop(&mut self) {
        *self.room.reserved.lock() -= *self.cells.get_mut();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_bounded_and_come_back() {
        let room = ScreenRoom::default();
        let largest = Size { cols: 256, rows: 256 };
        let small = Size { cols: 80, rows: 24 };
        let mut all: Vec<_> = (0..4).map(|_| room.reserve(largest).ok()).collect();
        assert!(all.iter().all(Option::is_some));
        assert!(room.reserve(small).is_err());
        if let Some(Some(one)) = all.first() {
            assert!(one.change(small).is_ok());
            assert!(one.change(largest).is_ok());
            assert!(one.change(small).is_ok());
        }
        assert!(room.reserve(small).is_ok());
        all.clear();
        assert_eq!(*room.reserved.lock(), 0);
    }
}
