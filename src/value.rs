//! Values to pass to JavaScript.

use std::os::fd::OwnedFd;

use agent_vm_host::{Content, Printed};
use bytes::Bytes;

/// A value to pass to JavaScript.
#[derive(Debug)]
pub enum Value {
    Undefined,
    Bool(bool),
    Number(f64),
    Name(&'static str),
    /// Valid UTF-8, passed as a string.
    Text(Vec<u8>),
    /// ASCII text. A long one becomes a string without a copy.
    Ascii(Vec<u8>),
    /// Becomes a `Buffer`, without a copy if it is large. Its share of memory is then returned.
    Content(Content),
    /// Becomes a `Buffer` with a copy of the bytes.
    Chunk(Bytes),
    List(Vec<Value>),
    /// Becomes a number; the receiver owns the descriptor.
    Descriptor(OwnedFd),
}

impl Value {
    /// Output as text; invalid sequences become U+FFFD, as in `TextDecoder`.
    pub fn printed(printed: Printed) -> Self {
        if printed.ascii {
            return Self::Ascii(printed.bytes);
        }
        match String::from_utf8(trim_partial_utf8(printed.bytes, printed.truncated)) {
            Ok(text) => Self::Text(text.into_bytes()),
            Err(error) => Self::Text(
                String::from_utf8_lossy(error.as_bytes())
                    .into_owned()
                    .into_bytes(),
            ),
        }
    }

    /// A string.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into().into_bytes())
    }

    /// Plain values as JSON, which lib/wire.js parses.
    pub fn json(value: &serde_json::Value) -> Self {
        Self::text(value.to_string())
    }
}

/// Truncated output without an incomplete UTF-8 sequence at its end.
fn trim_partial_utf8(mut bytes: Vec<u8>, truncated: bool) -> Vec<u8> {
    if truncated {
        // A sequence has at most four bytes, so an incomplete one has at most three.
        let tail = bytes.len().saturating_sub(3);
        for at in (tail..bytes.len()).rev() {
            let is_beginning = bytes[at] >= 0xc0;
            if is_beginning
                && std::str::from_utf8(&bytes[at..]).is_err_and(|error| error.error_len().is_none())
            {
                bytes.truncate(at);
                break;
            }
        }
    }
    bytes
}
