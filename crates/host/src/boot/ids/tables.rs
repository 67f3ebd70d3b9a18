//! The host's tables of users and of subordinate ids, as bytes: names in them need not be UTF-8.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;

/// How much of a table is read.
const MAX_TABLE: u64 = 16 * 1024 * 1024;

const SUBUID: &str = "/etc/subuid";
const SUBGID: &str = "/etc/subgid";

/// A line of a table of subordinate ids (`subuid(5)`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// A name or an id.
    pub owner: Vec<u8>,
    /// The ids.
    pub ids: Range<u32>,
}

/// The content of a table; empty if there is none.
pub fn read(path: &str) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    match File::open(path) {
        Ok(file) => file.take(MAX_TABLE + 1).read_to_end(&mut content)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(content),
        Err(error) => return Err(error),
    };
    if content.len() as u64 > MAX_TABLE {
        return Err(io::Error::from_raw_os_error(libc::EFBIG));
    }
    Ok(content)
}

/// The subordinate uids, and the subordinate gids.
pub fn subordinate() -> io::Result<[Vec<Given>; 2]> {
    Ok([parse(&read(SUBUID)?), parse(&read(SUBGID)?)])
}

/// Every id that a user, a group or a subordinate range of this host has.
pub fn given_ids() -> io::Result<Vec<Range<u32>>> {
    let [uids, gids] = subordinate()?;
    let mut given: Vec<_> = uids.into_iter().chain(gids).map(|line| line.ids).collect();
    for path in ["/etc/passwd", "/etc/group"] {
        given.extend(third_fields(&read(path)?).map(|id| id..id.saturating_add(1)));
    }
    Ok(given)
}

/// The lines of a table of subordinate ids that are valid.
fn parse(table: &[u8]) -> Vec<Given> {
    let line = |line: &[u8]| {
        let mut fields = line.split(|byte| *byte == b':');
        let owner = fields.next().filter(|owner| !owner.is_empty())?.to_vec();
        let start = number(fields.next()?)?;
        let length = number(fields.next()?)?;
        let end = start.checked_add(length)?;
        (length > 0).then_some(Given {
            owner,
            ids: start..end,
        })
    };
    table.split(|byte| *byte == b'\n').filter_map(line).collect()
}

/// The ids in a table of users or groups.
fn third_fields(table: &[u8]) -> impl Iterator<Item = u32> {
    table
        .split(|byte| *byte == b'\n')
        .filter_map(|line| number(line.split(|byte| *byte == b':').nth(2)?))
}

/// The entry of a user with this uid in the table of users: its name and its gid.
pub fn user(passwd: &[u8], uid: u32) -> Option<(&[u8], u32)> {
    passwd.split(|byte| *byte == b'\n').find_map(|line| {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b':').take(4).collect();
        let [name, _, id, gid] = fields[..] else {
            return None;
        };
        (number(id) == Some(uid)).then_some((name, number(gid)?))
    })
}

/// Digits alone: Rust's own parser would accept a sign.
fn number(text: &[u8]) -> Option<u32> {
    let digits = text.iter().all(u8::is_ascii_digit);
    digits.then(|| std::str::from_utf8(text).ok()?.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_subordinate_ids_are_read_as_bytes_and_invalid_ones_left_out() {
        let table = b"ann:100000:65536\n1001:200000:10\nb\xff:300000:1\n\n#x\nc:-1:5\nd:5:0\ne:4294967295:2\n:7:7\nf:1\ng:+5:1\nh:8:1:x\r";
        let read: Vec<_> = parse(table)
            .into_iter()
            .map(|line| (line.owner, line.ids))
            .collect();
        let line = |owner: &[u8], ids| (owner.to_vec(), ids);
        assert_eq!(
            read,
            [
                line(b"ann", 100_000..165_536),
                line(b"1001", 200_000..200_010),
                line(b"b\xff", 300_000..300_001),
                line(b"h", 8..9),
            ]
        );
    }

    #[test]
    fn users_are_found_by_uid() {
        let passwd = b"root:x:0:0:root:/root:/bin/sh\nann:x:1001:100::/home/ann:/bin/sh\nshort:x:7\n";
        assert_eq!(user(passwd, 1001), Some((&b"ann"[..], 100)));
        assert_eq!(user(passwd, 7), None);
        assert_eq!(third_fields(passwd).collect::<Vec<_>>(), [0, 1001, 7]);
    }

    #[test]
    fn a_table_that_is_not_there_is_empty_and_one_without_end_is_refused() {
        assert_eq!(read("/nonexistent/subuid").expect("an answer"), b"");
        assert!(read("/dev/zero").is_err());
    }
}
