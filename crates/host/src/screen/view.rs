//! What a screen shows at one moment.

/// The text of a screen, and what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// The lines from top to bottom, each without the blanks at its end. There are as many as the screen has rows.
    pub lines: Vec<String>,
    /// The number of columns.
    pub cols: u16,
    /// The row of the cursor, from 0.
    pub cursor_row: usize,
    /// The column of the cursor, from 0.
    pub cursor_col: usize,
    /// Whether the cursor shows.
    pub cursor_visible: bool,
    /// The window's title; empty if none was set.
    pub title: String,
    /// Whether the alternate screen shows, as full-screen programs use it.
    pub alternate_screen: bool,
}

/// What a shell's screen shows, and how that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScreenView {
    /// What it shows.
    pub view: View,
    /// Whether everything that the terminal has brought is drawn: no byte was dropped.
    pub exact: bool,
    /// The position after the last byte that is drawn.
    pub next_seq: u64,
}
