//! A shell's screen for JavaScript.

use agent_vm_host::{ExitStatus, ScreenView};
use serde_json::json;

use super::results::status_value;
use crate::value::Value;

/// A `ShellScreen` without its exit status, as JSON, and the exit status.
pub fn screen_value((screen, exited): (ScreenView, Option<ExitStatus>)) -> Value {
    let ScreenView {
        view,
        exact,
        next_seq,
    } = screen;
    let json = Value::json(&json!({
        "rows": view.lines.len(),
        "cols": view.cols,
        "lines": view.lines,
        "cursor": { "row": view.cursor_row, "col": view.cursor_col, "visible": view.cursor_visible },
        "title": view.title,
        "alternateScreen": view.alternate_screen,
        "exact": exact,
        "nextSeq": next_seq,
    }));
    Value::List(vec![json, exited.map_or(Value::Undefined, status_value)])
}
