//! The headers of tar archives (POSIX pax), to write and to read. What an archive says is hostile: everything has a bound.

use tar::{EntryType, Header};

use super::entry::Kept;
use crate::error::Error;

/// The unit of an archive.
pub const BLOCK: usize = 512;
/// The longest extended header of one entry: a path as deep as a tree may be, and its target.
pub const MOST_EXTENDED: u64 = 2 * 1024 * 1024;
/// The owner that archives name: the user of VMs.
const OWNER: u64 = 1000;

/// How many bytes follow so many bytes of content, up to the next block.
pub fn padding(length: u64) -> u64 {
    (BLOCK as u64 - length % BLOCK as u64) % BLOCK as u64
}

/// What an entry is written as.
pub enum Written<'a> {
    /// A directory.
    Directory,
    /// A link, and what it contains.
    Symlink(&'a [u8]),
    /// A file of so many bytes.
    File(u64),
    /// A file with holes: the size of its map and data in the archive, and its own.
    Sparse { stored: u64, size: u64 },
}

/// Appends the header of an entry, with an extended one before it if that is needed.
pub fn write(to: &mut Vec<u8>, path: &[u8], kept: Kept, written: &Written<'_>) {
    let mut extended = Vec::new();
    let mut header = Header::new_ustar();
    let (kind, size) = match written {
        Written::Directory => (EntryType::Directory, 0),
        Written::Symlink(_) => (EntryType::Symlink, 0),
        Written::File(size) => (EntryType::Regular, *size),
        Written::Sparse { stored, .. } => (EntryType::Regular, *stored),
    };
    header.set_entry_type(kind);
    header.set_mode(kept.mode);
    header.set_uid(OWNER);
    header.set_gid(OWNER);
    // More than the field has digits for.
    if size >= 1 << 33 {
        record(&mut extended, b"size", size.to_string().as_bytes());
    }
    header.set_size(if size >= 1 << 33 { 0 } else { size });
    let (seconds, nanoseconds) = kept.modified.unwrap_or_default();
    let fits = (0..1 << 33).contains(&seconds);
    header.set_mtime(if fits { seconds as u64 } else { 0 });
    if !fits || nanoseconds != 0 {
        record(&mut extended, b"mtime", time(seconds, nanoseconds).as_bytes());
    }
    if let Written::Symlink(target) = written
        && !put(&mut header.as_old_mut().linkname, target)
    {
        record(&mut extended, b"linkpath", target);
    }
    let mut name = path.to_vec();
    if let Written::Sparse { size, .. } = written {
        record(&mut extended, b"GNU.sparse.major", b"1");
        record(&mut extended, b"GNU.sparse.minor", b"0");
        record(&mut extended, b"GNU.sparse.name", path);
        record(&mut extended, b"GNU.sparse.realsize", size.to_string().as_bytes());
        let at = path.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
        name.splice(at..at, *b"GNUSparseFile.0/");
    }
    if matches!(written, Written::Directory) {
        name.push(b'/');
    }
    if !put(&mut header.as_old_mut().name, &name) {
        record(&mut extended, b"path", &name);
    }
    if !extended.is_empty() {
        let mut before = Header::new_ustar();
        before.set_entry_type(EntryType::XHeader);
        put(&mut before.as_old_mut().name, b"PaxHeader");
        before.set_mode(0o644);
        before.set_size(extended.len() as u64);
        before.set_mtime(0);
        before.set_cksum();
        to.extend_from_slice(before.as_bytes());
        let padding = padding(extended.len() as u64) as usize;
        to.append(&mut extended);
        to.resize(to.len() + padding, 0);
    }
    header.set_cksum();
    to.extend_from_slice(header.as_bytes());
}

/// Fills a field; as much of it as fits, if not all does.
fn put(field: &mut [u8], value: &[u8]) -> bool {
    let fits = value.len() <= field.len();
    let length = value.len().min(field.len());
    field[..length].copy_from_slice(&value[..length]);
    fits
}

/// A record of an extended header: its length, which counts itself, a key and a value.
fn record(to: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    to.extend_from_slice(length.to_string().as_bytes());
    to.push(b' ');
    to.extend_from_slice(key);
    to.push(b'=');
    to.extend_from_slice(value);
    to.push(b'\n');
}

fn time(seconds: i64, nanoseconds: u32) -> String {
    if seconds >= 0 || nanoseconds == 0 {
        return format!("{seconds}.{nanoseconds:09}");
    }
    // The fraction counts from zero on: 1.5 s before the epoch are -2 s and 0.5 s for the kernel.
    format!("-{}.{:09}", -(seconds + 1), 1_000_000_000 - nanoseconds)
}

/// What extended headers say of the next entry.
#[derive(Debug, Default)]
pub struct Extended {
    pub path: Option<Vec<u8>>,
    pub link: Option<Vec<u8>>,
    pub size: Option<u64>,
    pub modified: Option<(i64, u32)>,
    pub sparse: Sparse,
}

/// What they say of its holes.
#[derive(Debug, Default)]
pub struct Sparse {
    pub major: Option<u64>,
    pub name: Option<Vec<u8>>,
    pub size: Option<u64>,
    /// Offsets and lengths, of version 0.1.
    pub map: Option<Vec<u8>>,
}

impl Extended {
    /// Reads the records of an extended header.
    pub fn read(&mut self, mut records: &[u8]) -> Result<(), Error> {
        while records.iter().any(|byte| *byte != 0) {
            let space = records.iter().position(|byte| *byte == b' ').ok_or_else(broken)?;
            let length = number(&records[..space]).ok_or_else(broken)? as usize;
            if length <= space + 1 || length > records.len() {
                return Err(broken());
            }
            let (record, rest) = records.split_at(length);
            let record = &record[space + 1..];
            let record = record.strip_suffix(b"\n").ok_or_else(broken)?;
            let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(broken)?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            let count = || number(value).ok_or_else(broken).map(Some);
            match key {
                b"path" => self.path = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"size" => self.size = count()?,
                b"mtime" => self.modified = Some(parse_time(value).ok_or_else(broken)?),
                b"GNU.sparse.major" => self.sparse.major = count()?,
                b"GNU.sparse.name" => self.sparse.name = Some(value.to_vec()),
                b"GNU.sparse.realsize" | b"GNU.sparse.size" => self.sparse.size = count()?,
                b"GNU.sparse.map" => self.sparse.map = Some(value.to_vec()),
                b"GNU.sparse.offset" => {
                    return Err(refused(
                        "has a file with holes in the form 0.0 of GNU tar; 0.1 and 1.0 are read",
                    ));
                }
                _ => {}
            }
            records = rest;
        }
        Ok(())
    }
}

/// A decimal number.
pub fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn parse_time(value: &[u8]) -> Option<(i64, u32)> {
    let text = std::str::from_utf8(value).ok()?;
    let (is_negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds = i64::try_from(number(whole.as_bytes())?).ok()?;
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let mut digits: String = fraction.chars().take(9).collect();
    while digits.len() < 9 {
        digits.push('0');
    }
    let nanoseconds: u32 = digits.parse().ok()?;
    Some(match (is_negative, nanoseconds) {
        (false, _) => (seconds, nanoseconds),
        (true, 0) => (-seconds, 0),
        (true, _) => (-seconds - 1, 1_000_000_000 - nanoseconds),
    })
}

/// Whether a header's checksum is right.
pub fn is_intact(header: &Header) -> bool {
    let bytes = header.as_bytes();
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>();
    let found = sum(&bytes[..148]) + 8 * u32::from(b' ') + sum(&bytes[156..]);
    header.cksum().is_ok_and(|stored| stored == found)
}

/// An archive that is no archive, or a damaged one.
pub fn broken() -> Error {
    refused("is not a tar archive, or a damaged one")
}

/// An archive that is not written.
pub fn refused(why: &str) -> Error {
    Error::InvalidArgument(format!("The archive {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_counts_its_own_length() {
        for length in [0, 1, 80, 86, 87, 88, 89, 90, 980, 990, 9980] {
            let mut records = Vec::new();
            record(&mut records, b"path", &vec![b'x'; length]);
            record(&mut records, b"linkpath", b"new\nline=");
            let mut extended = Extended::default();
            extended.read(&records).expect("it is whole");
            assert_eq!(extended.path.map(|path| path.len()), Some(length));
            assert_eq!(extended.link.as_deref(), Some(&b"new\nline="[..]));
        }
    }

    #[test]
    fn times_before_the_epoch_are_kept() {
        for modified in [
            (0, 0),
            (1, 5),
            (-1, 0),
            (-2, 500_000_000),
            (-1, 999_999_999),
            (i64::MAX / 2, 1),
        ] {
            assert_eq!(
                parse_time(time(modified.0, modified.1).as_bytes()),
                Some(modified)
            );
        }
        assert_eq!(parse_time(b"1.5"), Some((1, 500_000_000)));
        assert_eq!(parse_time(b"-1.5"), Some((-2, 500_000_000)));
    }

    #[test]
    fn broken_records_are_refused() {
        for records in [
            &b"5 x=1"[..],
            b"x",
            b"99 path=x\n",
            b"0 path=x\n",
            b"9 pathxx\n",
            b"99999999999999999999999 a=b\n",
            b"9 size=-\n",
        ] {
            assert!(
                Extended::default().read(records).is_err(),
                "{}",
                String::from_utf8_lossy(records)
            );
        }
    }
}
