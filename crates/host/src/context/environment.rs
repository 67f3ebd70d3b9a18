//! The exported variables that a shell prints: lines such as `declare -x NAME="value"` and `export NAME='value'`, with the
//! quotes of bash, zsh and the shells of POSIX.

use std::collections::BTreeMap;
use std::sync::Arc;

/// The maximum number of variables; more are passed over.
const MOST_VARIABLES: usize = 4096;

/// What a shell has printed of its exported variables. Kept as it came, and read only where somebody asks: a command may print
/// any amount of short lines.
#[derive(Debug, Clone)]
pub struct Environment(Arc<[u8]>);

impl Environment {
    /// Of this text.
    pub fn new(text: &[u8]) -> Self {
        Self(text.into())
    }

    /// The text.
    #[cfg(test)]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The variables, with their values, by name.
    pub fn variables(&self) -> Vec<(String, String)> {
        exported(&self.0)
    }
}

/// The variables in `text`, with their values. Text that is no such line is passed over; so are variables whose names no shell takes
/// and those without a value.
fn exported(text: &[u8]) -> Vec<(String, String)> {
    let mut found = BTreeMap::new();
    let mut rest = text;
    while !rest.is_empty() && found.len() < MOST_VARIABLES {
        match line(rest) {
            Some((pair, after)) => {
                found.extend(pair);
                rest = after;
            }
            None => rest = after_newline(rest),
        }
    }
    found.into_iter().collect()
}

fn after_newline(text: &[u8]) -> &[u8] {
    memchr::memchr(b'\n', text).map_or(&[], |at| &text[at + 1..])
}

type Pair = (String, String);

/// One line, or none where `text` does not begin with one.
fn line(text: &[u8]) -> Option<(Option<Pair>, &[u8])> {
    let begins = [
        &b"declare -x "[..],
        b"export ",
        b"declare -rx ",
        b"declare -ix ",
        b"typeset -x ",
    ];
    let rest = begins.iter().find_map(|begin| text.strip_prefix(*begin))?;
    let length = rest
        .iter()
        .take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_')
        .count();
    let (name, rest) = rest.split_at(length);
    if name.first().is_none_or(u8::is_ascii_digit) {
        return None;
    }
    let name = String::from_utf8_lossy(name).into_owned();
    match rest.split_first()? {
        (b'\n', after) => Some((None, after)),
        (b'=', rest) => {
            // No shell prints quotes that do not end. Looking at what is left line by line would cost the square of it.
            let Some((value, after)) = word(rest) else {
                return Some((None, &[]));
            };
            let value = String::from_utf8(value).ok();
            Some((value.map(|value| (name, value)), after))
        }
        _ => None,
    }
}

/// A word of the shell, to the end of its line; none if its quotes do not end.
fn word(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut value = Vec::new();
    let mut rest = text;
    loop {
        match rest {
            [] => return Some((value, rest)),
            [b'\n', after @ ..] => return Some((value, after)),
            [b'\'', after @ ..] => {
                let end = memchr::memchr(b'\'', after)?;
                value.extend_from_slice(&after[..end]);
                rest = &after[end + 1..];
            }
            [b'$', b'\'', after @ ..] => rest = ansi(after, &mut value)?,
            [b'"', after @ ..] => rest = double(after, &mut value)?,
            [b'\\', byte, after @ ..] | [byte, after @ ..] => {
                value.push(*byte);
                rest = after;
            }
        }
    }
}

/// The rest of `"…"`, in which a backslash quotes the characters that the shell would act on.
fn double<'a>(mut text: &'a [u8], value: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match text {
            [] => return None,
            [b'"', after @ ..] => return Some(after),
            [b'\\', byte @ (b'"' | b'\\' | b'$' | b'`'), after @ ..] | [byte, after @ ..] => {
                value.push(*byte);
                text = after;
            }
        }
    }
}

/// The rest of `$'…'`, in which control characters are escapes.
fn ansi<'a>(mut text: &'a [u8], value: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match text {
            [] => return None,
            [b'\'', after @ ..] => return Some(after),
            [b'\\', b'0'..=b'7', ..] => {
                let digits = text[1..]
                    .iter()
                    .take(3)
                    .take_while(|byte| (b'0'..=b'7').contains(byte));
                let digits: Vec<u8> = digits.map(|digit| digit - b'0').collect();
                value.push(
                    digits
                        .iter()
                        .fold(0, |sum: u8, digit| sum.wrapping_mul(8).wrapping_add(*digit)),
                );
                text = &text[1 + digits.len()..];
            }
            [b'\\', escaped, after @ ..] => {
                value.push(match escaped {
                    b'a' => 7,
                    b'b' => 8,
                    b't' => b'\t',
                    b'n' => b'\n',
                    b'v' => 11,
                    b'f' => 12,
                    b'r' => b'\r',
                    b'e' | b'E' => 27,
                    other => *other,
                });
                text = after;
            }
            [byte, after @ ..] => {
                value.push(*byte);
                text = after;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_shell_prints_is_bounded_however_short_its_lines_are() {
        let again = Environment::new(&b"export a=\n".repeat(100_000));
        assert_eq!(again.variables(), [("a".to_owned(), String::new())]);
        let lines: Vec<String> = (0..100_000)
            .map(|number| format!("export v{number}=\n"))
            .collect();
        assert_eq!(
            Environment::new(lines.concat().as_bytes()).variables().len(),
            MOST_VARIABLES
        );
    }

    #[test]
    fn quotes_that_do_not_end_end_the_text() {
        // Each of these lines would be read to the end of the text.
        let text = format!("export A=1\n{}", "export A=\\'\"'\n".repeat(50_000));
        assert_eq!(pairs(&text), [pair("A", "1")]);
    }

    fn pairs(text: &str) -> Vec<(String, String)> {
        exported(text.as_bytes())
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn what_bash_prints_is_read() {
        let text = "declare -x A=\"a \\\"b\\\" \\$c \\\\ \\`d\\` 'e'\"\ndeclare -x B\ndeclare -x C=$'it\\'s\\n\\t\\001\\\\'\ndeclare -rx D=\"\"\n";
        let expected = [
            pair("A", "a \"b\" $c \\ `d` 'e'"),
            pair("C", "it's\n\t\u{1}\\"),
            pair("D", ""),
        ];
        assert_eq!(pairs(text), expected);
    }

    #[test]
    fn what_other_shells_print_is_read() {
        let text = "export A='it'\"'\"'s\n\"b\"'\nexport B='it'\\''s'\nexport C=plain\nexport D\n";
        assert_eq!(
            pairs(text),
            [pair("A", "it's\n\"b\""), pair("B", "it's"), pair("C", "plain")]
        );
    }

    #[test]
    fn what_is_no_variable_is_passed_over() {
        let text =
            "noise\nexport 1A='x'\nexport A-B='x'\nexport =x\nexport A='ok'\ndeclare -x B=\"never ends\n";
        assert_eq!(pairs(text), [pair("A", "ok")]);
    }

    #[test]
    fn a_value_that_is_not_utf_8_is_passed_over() {
        assert_eq!(exported(b"export A='\xff'\nexport B='b'\n"), [pair("B", "b")]);
    }
}
