//! A shell's screen for JavaScript.

use agent_vm_host::{ScreenView, View};
use serde::Serialize;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'view> {
    rows: usize,
    cols: u16,
    lines: &'view [String],
    cursor: Cursor,
    title: &'view str,
    alternate_screen: bool,
    exact: bool,
    next_seq: u64,
    resizes: u64,
}

#[derive(Serialize)]
struct Cursor {
    row: usize,
    col: usize,
    visible: bool,
}

/// A `ShellScreen` without its exit status, as the only item of a JSON array.
pub fn screen(screen: &ScreenView, resizes: u64) -> String {
    let ScreenView {
        view,
        exact,
        next_seq,
    } = screen;
    let View {
        lines,
        cols,
        cursor_row,
        cursor_col,
        cursor_visible,
        title,
        alternate_screen,
    } = view;
    let screen = Shown {
        rows: lines.len(),
        cols: *cols,
        lines,
        cursor: Cursor {
            row: *cursor_row,
            col: *cursor_col,
            visible: *cursor_visible,
        },
        title,
        alternate_screen: *alternate_screen,
        exact: *exact,
        next_seq: *next_seq,
        resizes,
    };
    // Nothing in it can fail to become JSON.
    serde_json::to_string(&[screen]).unwrap_or_default()
}
