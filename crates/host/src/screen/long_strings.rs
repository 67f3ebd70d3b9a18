//! Bounds the control strings of a terminal's output.
//!
//! The parser keeps the text of an operating system command (OSC), such as a window's title, until the command ends. A
//! program may never end one. So the bytes beyond a bound are left out before the parser sees them. All other strings
//! (DCS, SOS, PM, APC) are ignored by the parser, which keeps nothing of them.

use std::ops::Range;

/// The most bytes of one operating system command; the rest of a longer one is ignored.
const MAX_COMMAND: usize = 4096;

const BELL: u8 = 0x07;
const CANCEL: u8 = 0x18;
const SUBSTITUTE: u8 = 0x1a;
const ESCAPE: u8 = 0x1b;

/// Where in the output the parser is. It mirrors `vte`, which enters a command only by ESC and `]`.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    #[default]
    Elsewhere,
    AfterEscape,
    Command {
        length: usize,
    },
}

/// Follows the control strings in a terminal's output.
#[derive(Debug, Default)]
pub struct LongStrings {
    place: Place,
}

impl LongStrings {
    /// Returns the first part of `bytes` that the parser may have, which may be empty, and how many bytes were looked at.
    pub fn next_part(&mut self, bytes: &[u8]) -> (Range<usize>, usize) {
        let mut at = 0;
        while at < bytes.len() {
            match self.place {
                Place::Elsewhere => match memchr::memchr(ESCAPE, &bytes[at..]) {
                    Some(found) => {
                        self.place = Place::AfterEscape;
                        at += found + 1;
                    }
                    None => at = bytes.len(),
                },
                Place::AfterEscape => {
                    self.place = match bytes[at] {
                        b']' => Place::Command { length: 0 },
                        CANCEL | SUBSTITUTE | 0x20..=0x7e => Place::Elsewhere,
                        _ => Place::AfterEscape,
                    };
                    at += 1;
                }
                Place::Command { length } => match bytes[at] {
                    BELL | CANCEL | SUBSTITUTE => {
                        self.place = Place::Elsewhere;
                        at += 1;
                    }
                    ESCAPE => {
                        self.place = Place::AfterEscape;
                        at += 1;
                    }
                    _ if length < MAX_COMMAND => {
                        self.place = Place::Command { length: length + 1 };
                        at += 1;
                    }
                    _ => {
                        let is_end = |byte: &u8| matches!(*byte, BELL | CANCEL | SUBSTITUTE | ESCAPE);
                        let left_out = bytes[at..].iter().take_while(|byte| !is_end(byte)).count();
                        return (0..at, at + left_out);
                    }
                },
            }
        }
        (0..at, at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the parser gets, if the output comes in pieces of `size`.
    fn passed(output: &[u8], size: usize) -> Vec<u8> {
        let mut strings = LongStrings::default();
        let mut passed = Vec::new();
        for mut piece in output.chunks(size) {
            while !piece.is_empty() {
                let (part, seen) = strings.next_part(piece);
                assert!(seen > 0 && part.end <= seen);
                passed.extend_from_slice(&piece[part]);
                piece = &piece[seen..];
            }
        }
        passed
    }

    #[test]
    fn a_command_without_end_keeps_its_beginning() {
        let long = [b"text\x1b]2;".as_slice(), &vec![b'x'; 1_000_000]].concat();
        for size in [1, 7, 100_000, 2_000_000] {
            assert_eq!(passed(&long, size), long[..4 + 2 + MAX_COMMAND]);
        }
    }

    #[test]
    fn what_follows_a_long_command_is_whole() {
        for end in [
            b"\x07".as_slice(),
            b"\x1b\\",
            b"\x18",
            b"\x1a",
            b"\x1b]0;short\x07",
        ] {
            let output = [
                b"\x1b]2;",
                vec![b'x'; 10_000].as_slice(),
                end,
                b"after \xe2\x82\xac",
            ]
            .concat();
            let expected = [&output[..2 + MAX_COMMAND], end, b"after \xe2\x82\xac"].concat();
            for size in [1, 3, 4096, 20_000] {
                assert_eq!(passed(&output, size), expected, "{end:?} {size}");
            }
        }
    }

    #[test]
    fn everything_else_is_left_as_it_is() {
        let output = [
            b"]]]\x1b[31m]\x1bP1;2q".as_slice(),
            &vec![b'#'; 10_000],
            b"\x1b\\\x1b\x00\x1b7]",
            &vec![b'y'; 9000],
        ]
        .concat();
        for size in [1, 5, 50_000] {
            assert_eq!(passed(&output, size), output);
        }
    }
}
