//! Draws what the parser finds in a terminal's output.
//!
//! The grids are those of `alacritty_terminal`. Nothing reaches it but what changes the text, the cursor and the choice
//! of the screen: colors, links, the clipboard, the mouse, the keyboard and all queries end here, so that nothing is
//! answered and nothing of them is kept. Each function costs a bounded time, and keeps a bounded memory.

use alacritty_terminal::Term;
use alacritty_terminal::event::VoidListener;
use alacritty_terminal::grid::Dimensions;
use alacritty_terminal::index::{Column, Line};
use alacritty_terminal::term::cell::Flags;
use alacritty_terminal::term::{Config, TermMode};
use alacritty_terminal::vte::ansi::{
    CharsetIndex, ClearMode, Handler, LineClearMode, Mode, NamedPrivateMode, PrivateMode, StandardCharset,
    TabulationClearMode,
};
use unicode_width::UnicodeWidthChar;

use super::size::Size;
use super::title::Title;
use super::view::View;

/// The most bytes that are drawn at a time. Few bytes can ask for work on the whole screen: this bounds what one call takes.
pub const PIECE: usize = 64;

/// The most bytes that are drawn at a time on the largest screens.
const SMALLEST_PIECE: usize = 4;

/// The most cells of a screen that is drawn in pieces of [`PIECE`]; those of larger screens are smaller accordingly.
const USUAL_CELLS: usize = 80 * 24;

/// The most characters without a width of their own, such as accents, in one cell; more are ignored.
const MAX_MARKS: usize = 6;

/// The grids of a terminal, and its title.
pub struct Canvas {
    term: Term<VoidListener>,
    size: Size,
    /// The first row that scrolls, and the first below these.
    region: (usize, usize),
    title: Title,
    printed: usize,
}

impl Dimensions for Size {
    fn total_lines(&self) -> usize {
        self.screen_lines()
    }

    fn screen_lines(&self) -> usize {
        usize::from(self.rows)
    }

    fn columns(&self) -> usize {
        usize::from(self.cols)
    }
}

impl Canvas {
    /// An empty one.
    pub fn new(size: Size) -> Self {
        let config = Config {
            scrolling_history: 0,
            ..Config::default()
        };
        Self {
            term: Term::new(config, &size, VoidListener),
            size,
            region: (0, size.screen_lines()),
            title: Title::default(),
            printed: 0,
        }
    }

    /// The most bytes that are drawn at a time.
    pub fn piece(&self) -> usize {
        (PIECE * USUAL_CELLS / self.size.cells()).clamp(SMALLEST_PIECE, PIECE)
    }

    /// Called before each piece of output.
    pub fn begin_piece(&mut self) {
        self.printed = 0;
    }

    /// Changes the size, and wraps the lines of the ordinary screen again.
    pub fn resize(&mut self, size: Size) {
        self.term.resize(size);
        self.size = size;
        self.region = (0, size.screen_lines());
    }

    /// What shows.
    pub fn view(&self) -> View {
        let cursor = &self.term.grid().cursor;
        View {
            lines: (0..self.size.screen_lines()).map(|row| self.line(row)).collect(),
            cols: self.size.cols,
            cursor_row: cursor.point.line.0.max(0) as usize,
            cursor_col: cursor.point.column.0,
            cursor_visible: self.term.mode().contains(TermMode::SHOW_CURSOR),
            title: self.title.shown().to_owned(),
            alternate_screen: self.is_alternate(),
        }
    }

    fn line(&self, row: usize) -> String {
        let mut line = String::new();
        let cells = &self.term.grid()[Line(row as i32)][..];
        for cell in cells.iter().take(self.size.columns()) {
            // The second half of a wide character.
            if cell.flags.contains(Flags::WIDE_CHAR_SPACER) {
                continue;
            }
            line.push(cell.c);
            line.extend(cell.zerowidth().into_iter().flatten());
        }
        line.truncate(line.trim_end_matches(' ').len());
        line
    }

    fn is_alternate(&self) -> bool {
        self.term.mode().contains(TermMode::ALT_SCREEN)
    }

    fn row(&self) -> usize {
        self.term.grid().cursor.point.line.0.max(0) as usize
    }

    /// Moves the cursor to a row and, if given, a column of the screen, whatever the origin mode.
    fn move_to(&mut self, row: usize, col: Option<usize>) {
        let (last_row, last_col) = (self.size.screen_lines() - 1, self.size.columns() - 1);
        let cursor = &mut self.term.grid_mut().cursor;
        cursor.point.line = Line(row.min(last_row) as i32);
        if let Some(col) = col {
            cursor.point.column = Column(col.min(last_col));
        }
        cursor.input_needs_wrap = false;
    }

    fn is_in_region(&self) -> bool {
        (self.region.0..self.region.1).contains(&self.row())
    }

    /// The row that is `count` rows higher, or the top margin if that comes first.
    fn above(&self, count: usize) -> usize {
        let (row, (top, _)) = (self.row(), self.region);
        let least = if row >= top { top } else { 0 };
        row.saturating_sub(count).max(least)
    }

    /// The row that is `count` rows lower, or the bottom margin if that comes first.
    fn below(&self, count: usize) -> usize {
        let (row, (_, end)) = (self.row(), self.region);
        let end = if row < end { end } else { self.size.screen_lines() };
        (row + count).min(end - 1)
    }

    /// Whether the cell that a mark would join has room for it.
    fn has_room_for_mark(&self) -> bool {
        let grid = self.term.grid();
        let mut column = grid.cursor.point.column.0;
        if !grid.cursor.input_needs_wrap {
            column = column.saturating_sub(1);
        }
        let row = &grid[grid.cursor.point.line];
        if row[Column(column)].flags.contains(Flags::WIDE_CHAR_SPACER) {
            column = column.saturating_sub(1);
        }
        row[Column(column)].zerowidth().map_or(0, <[char]>::len) < MAX_MARKS
    }

    /// Whether a character is drawn. A repetition (REP) of more characters than the screen has cells is cut short: it
    /// has filled the screen.
    fn may_print(&mut self) -> bool {
        let most = if self.term.mode().contains(TermMode::INSERT) {
            // Each one moves the rest of its line.
            self.size.columns()
        } else {
            self.size.cells()
        };
        self.printed += 1;
        self.printed <= most + PIECE
    }

    /// Changes the screen and leaves the cursor where it is, as the modes 47 and 1047 do.
    fn swap_screens(&mut self, to_alternate: bool) {
        if self.is_alternate() != to_alternate {
            let cursor = self.term.grid().cursor.clone();
            self.term.swap_alt();
            self.term.grid_mut().cursor = cursor;
        }
    }
}

/// A count of columns or rows beyond the screen's has no more effect than the screen's.
fn bounded(count: u16, most: usize) -> u16 {
    count.min(most.try_into().unwrap_or(u16::MAX))
}

impl Handler for Canvas {
    fn set_title(&mut self, title: Option<String>) {
        self.title.set(&title.unwrap_or_default());
    }

    fn push_title(&mut self) {
        self.title.save();
    }

    fn pop_title(&mut self) {
        self.title.restore();
    }

    fn input(&mut self, character: char) {
        if !self.may_print() {
            return;
        }
        let fits = character.is_ascii()
            || match character.width() {
                Some(0) => self.has_room_for_mark(),
                Some(width) => width <= self.size.columns(),
                None => false,
            };
        if fits {
            self.term.input(character);
        }
    }

    fn goto(&mut self, line: i32, col: usize) {
        self.term.goto(line, col);
    }

    fn goto_line(&mut self, line: i32) {
        self.term.goto_line(line);
    }

    fn goto_col(&mut self, col: usize) {
        self.move_to(self.row(), Some(col));
    }

    fn insert_blank(&mut self, count: usize) {
        self.term.insert_blank(count);
    }

    fn move_up(&mut self, count: usize) {
        self.move_to(self.above(count), None);
    }

    fn move_down(&mut self, count: usize) {
        self.move_to(self.below(count), None);
    }

    fn move_forward(&mut self, count: usize) {
        self.term.move_forward(count);
    }

    fn move_backward(&mut self, count: usize) {
        self.term.move_backward(count);
    }

    fn move_down_and_cr(&mut self, count: usize) {
        self.move_to(self.below(count), Some(0));
    }

    fn move_up_and_cr(&mut self, count: usize) {
        self.move_to(self.above(count), Some(0));
    }

    fn put_tab(&mut self, count: u16) {
        self.move_forward_tabs(count);
    }

    fn backspace(&mut self) {
        self.term.backspace();
    }

    fn carriage_return(&mut self) {
        self.term.carriage_return();
    }

    fn linefeed(&mut self) {
        self.term.linefeed();
    }

    fn newline(&mut self) {
        self.term.newline();
    }

    fn set_horizontal_tabstop(&mut self) {
        self.term.set_horizontal_tabstop();
    }

    fn scroll_up(&mut self, count: usize) {
        self.term.scroll_up(count);
    }

    fn scroll_down(&mut self, count: usize) {
        self.term.scroll_down(count);
    }

    fn insert_blank_lines(&mut self, count: usize) {
        if self.is_in_region() {
            self.term.insert_blank_lines(count);
            self.term.carriage_return();
        }
    }

    fn delete_lines(&mut self, count: usize) {
        if self.is_in_region() {
            self.term.delete_lines(count);
            self.term.carriage_return();
        }
    }

    fn erase_chars(&mut self, count: usize) {
        self.term.erase_chars(count);
    }

    fn delete_chars(&mut self, count: usize) {
        self.term.delete_chars(count);
    }

    fn move_backward_tabs(&mut self, count: u16) {
        self.term.move_backward_tabs(bounded(count, self.size.columns()));
    }

    fn move_forward_tabs(&mut self, count: u16) {
        self.term.move_forward_tabs(bounded(count, self.size.columns()));
    }

    fn save_cursor_position(&mut self) {
        self.term.save_cursor_position();
    }

    fn restore_cursor_position(&mut self) {
        self.term.restore_cursor_position();
    }

    fn clear_line(&mut self, mode: LineClearMode) {
        self.term.clear_line(mode);
    }

    fn clear_screen(&mut self, mode: ClearMode) {
        if matches!(mode, ClearMode::Above) && self.row() > 0 {
            let row = self.term.grid().cursor.point.line;
            self.term.grid_mut().reset_region(..row);
        }
        self.term.clear_screen(mode);
    }

    fn clear_tabs(&mut self, mode: TabulationClearMode) {
        self.term.clear_tabs(mode);
    }

    fn reset_state(&mut self) {
        self.term.reset_state();
        self.region = (0, self.size.screen_lines());
    }

    fn reverse_index(&mut self) {
        self.term.reverse_index();
    }

    fn set_mode(&mut self, mode: Mode) {
        self.term.set_mode(mode);
    }

    fn unset_mode(&mut self, mode: Mode) {
        self.term.unset_mode(mode);
    }

    fn set_private_mode(&mut self, mode: PrivateMode) {
        match mode {
            PrivateMode::Named(
                NamedPrivateMode::Origin
                | NamedPrivateMode::LineWrap
                | NamedPrivateMode::ShowCursor
                | NamedPrivateMode::SwapScreenAndSetRestoreCursor,
            ) => self.term.set_private_mode(mode),
            PrivateMode::Unknown(47 | 1047) => self.swap_screens(true),
            PrivateMode::Unknown(1048) => self.term.save_cursor_position(),
            PrivateMode::Named(_) | PrivateMode::Unknown(_) => {}
        }
    }

    fn unset_private_mode(&mut self, mode: PrivateMode) {
        match mode {
            PrivateMode::Named(
                NamedPrivateMode::Origin
                | NamedPrivateMode::LineWrap
                | NamedPrivateMode::ShowCursor
                | NamedPrivateMode::SwapScreenAndSetRestoreCursor,
            ) => self.term.unset_private_mode(mode),
            PrivateMode::Unknown(47 | 1047) => self.swap_screens(false),
            PrivateMode::Unknown(1048) => self.term.restore_cursor_position(),
            PrivateMode::Named(_) | PrivateMode::Unknown(_) => {}
        }
    }

    fn set_scrolling_region(&mut self, top: usize, bottom: Option<usize>) {
        let rows = self.size.screen_lines();
        let bottom = bottom.unwrap_or(rows).min(rows);
        if top >= 1 && top < bottom {
            self.term.set_scrolling_region(top, Some(bottom));
            self.region = (top - 1, bottom);
        }
    }

    fn set_active_charset(&mut self, index: CharsetIndex) {
        self.term.set_active_charset(index);
    }

    fn configure_charset(&mut self, index: CharsetIndex, charset: StandardCharset) {
        self.term.configure_charset(index, charset);
    }

    fn decaln(&mut self) {
        self.term.decaln();
    }
}
