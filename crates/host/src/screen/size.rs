//! The size of a screen, and its bounds.

use crate::error::Error;

/// The fewest columns of a screen: a wide character has two, and the emulator cannot wrap lines into fewer.
const MIN_COLS: u16 = 2;

/// The most rows of a screen, and the most columns.
const MAX_SIDE: u16 = 1024;

/// The most cells of a screen: each costs the server 50 bytes, and a few hundred where programs pile up accents.
pub const MAX_CELLS: usize = 65_536;

/// The size of a screen, in cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// The number of columns.
    pub cols: u16,
    /// The number of rows.
    pub rows: u16,
}

impl Size {
    /// A size within the bounds of a screen.
    pub fn of_screen(cols: u16, rows: u16) -> Result<Self, Error> {
        let size = Self { cols, rows };
        let fits = (MIN_COLS..=MAX_SIDE).contains(&cols)
            && (1..=MAX_SIDE).contains(&rows)
            && size.cells() <= MAX_CELLS;
        fits.then_some(size).ok_or_else(|| {
            Error::LimitExceeded(format!(
                "A terminal of {cols} columns and {rows} rows has no screen: a screen has {MIN_COLS} to {MAX_SIDE} \
                 columns, at most {MAX_SIDE} rows, and at most {MAX_CELLS} cells"
            ))
        })
    }

    /// The number of cells.
    pub fn cells(self) -> usize {
        usize::from(self.cols) * usize::from(self.rows)
    }
}
