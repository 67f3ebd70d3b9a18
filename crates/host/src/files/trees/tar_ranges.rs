//! Where a file of an archive has data: the forms in which archives describe files with holes.

use tar::{GnuExtSparseHeader, Header};

use super::bytes_in::BytesIn;
use super::tar_header::{BLOCK, broken, number, refused};
use crate::error::Error;

/// The most ranges of data of a file with holes.
const MOST_RANGES: usize = 65_536;

/// The ranges of a file in GNU tar's old form: in its header, and in blocks after it.
pub async fn in_header(from: &mut BytesIn, header: &Header) -> Result<Vec<(u64, u64)>, Error> {
    let gnu = header.as_gnu().ok_or_else(broken)?;
    let mut ranges = Vec::new();
    let range = |each: &tar::GnuSparseHeader| -> Result<(u64, u64), Error> {
        let read = |number: std::io::Result<u64>| number.map_err(|_| broken());
        Ok((read(each.offset())?, read(each.length())?))
    };
    for each in gnu.sparse.iter().filter(|each| !each.is_empty()) {
        ranges.push(range(each)?);
    }
    let mut goes_on = gnu.is_extended();
    while goes_on {
        let mut more = GnuExtSparseHeader::new();
        if !from.fill(more.as_mut_bytes()).await? || ranges.len() > MOST_RANGES {
            return Err(broken());
        }
        for each in more.sparse().iter().filter(|each| !each.is_empty()) {
            ranges.push(range(each)?);
        }
        goes_on = more.is_extended();
    }
    Ok(ranges)
}

/// The ranges of a file in the form 1.0: decimal numbers before its data. Also returns how many bytes they take.
pub async fn in_content(from: &mut BytesIn, stored: u64) -> Result<(Vec<(u64, u64)>, u64), Error> {
    let mut text = Vec::new();
    let mut block = [0; BLOCK];
    let mut whole = 0;
    loop {
        if text.len() as u64 + BLOCK as u64 > stored || !from.fill(&mut block).await? {
            return Err(broken());
        }
        whole += memchr::memchr_iter(b'\n', &block).count();
        text.extend_from_slice(&block);
        let mut lines = text.split(|byte| *byte == b'\n');
        // Its number of digits has a bound, or the text would not end.
        let count = lines.next().filter(|count| count.len() < 10).and_then(number);
        let count = count.ok_or_else(broken)? as usize;
        if count > MOST_RANGES {
            return Err(refused(&format!(
                "has a file with more than {MOST_RANGES} ranges of data"
            )));
        }
        if text.len() > 64 * (count + BLOCK) {
            return Err(broken());
        }
        if whole > 2 * count {
            let numbers = lines.take(2 * count).map(number).collect::<Option<Vec<_>>>();
            return Ok((pairs(&numbers.ok_or_else(broken)?), text.len() as u64));
        }
    }
}

/// Pairs of numbers between commas.
pub fn in_map(map: &[u8]) -> Result<Vec<(u64, u64)>, Error> {
    let numbers = map
        .split(|byte| *byte == b',')
        .map(number)
        .collect::<Option<Vec<_>>>();
    let numbers = numbers.ok_or_else(broken)?;
    if numbers.len() % 2 != 0 || numbers.len() > 2 * MOST_RANGES {
        return Err(broken());
    }
    Ok(pairs(&numbers))
}

fn pairs(numbers: &[u64]) -> Vec<(u64, u64)> {
    numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()
}

/// Fails unless the ranges are in order, within the file, and as long together as what is stored.
pub fn check(ranges: &[(u64, u64)], stored: u64, size: u64) -> Result<(), Error> {
    let mut end = 0;
    let mut all = 0_u64;
    for (at, length) in ranges {
        if *at < end {
            return Err(broken());
        }
        end = at.checked_add(*length).ok_or_else(broken)?;
        all += length;
    }
    if end > size || all != stored || i64::try_from(size).is_err() {
        return Err(broken());
    }
    Ok(())
}
