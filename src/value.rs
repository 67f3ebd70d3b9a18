//! Values to pass to JavaScript.

use std::os::fd::OwnedFd;

use agent_vm_host::Content;
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
    /// Becomes a `Buffer`, without a copy if it is large.
    Bytes(Vec<u8>),
    /// Becomes a `Buffer` with a copy of the bytes.
    Chunk(Bytes),
    List(Vec<Value>),
    /// Becomes a number; the receiver owns the descriptor.
    Descriptor(OwnedFd),
}

impl Value {
    /// Bytes as text; invalid sequences become U+FFFD, as in `TextDecoder`.
    pub fn lossy_text(bytes: Vec<u8>) -> Self {
        match String::from_utf8(bytes) {
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

/// The most bytes of one UTF-8 sequence; an incomplete one has fewer.
const LONGEST_CHARACTER: usize = 4;

/// Removes an incomplete UTF-8 sequence from the end of truncated output.
pub fn trim_partial_end(bytes: &mut Vec<u8>) {
    let end = bytes.len().saturating_sub(LONGEST_CHARACTER - 1);
    for at in (end..bytes.len()).rev() {
        let is_beginning = bytes[at] >= 0xc0;
        if is_beginning && std::str::from_utf8(&bytes[at..]).is_err_and(|error| error.error_len().is_none()) {
            bytes.truncate(at);
            break;
        }
    }
}

/// Removes an incomplete UTF-8 sequence from the start of output whose beginning was dropped.
pub fn trim_partial_start(bytes: &mut Vec<u8>) {
    let is_rest = |byte: &&u8| **byte & 0xc0 == 0x80;
    let rest = bytes
        .iter()
        .take(LONGEST_CHARACTER - 1)
        .take_while(is_rest)
        .count();
    bytes.drain(..rest);
}
