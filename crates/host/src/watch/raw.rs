//! What the kernel writes for each event (`inotify(7)`).

/// The fixed part of an event: the number of the watch, the mask, the cookie, the length of the name.
const HEADER: usize = 16;

/// A place among all events of an inotify instance: the bytes before it.
pub type Position = u64;

/// One event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawEvent<'a> {
    /// The number of the watch; -1 for an overflow.
    pub number: i32,
    /// What has happened.
    pub mask: u32,
    /// The same in both halves of a rename.
    pub cookie: u32,
    /// The name in the watched directory; empty if the event is about the watched file itself.
    pub name: &'a [u8],
    /// How many bytes it has.
    pub size: usize,
}

impl RawEvent<'_> {
    /// Whether any of these bits is set.
    pub fn is(&self, bits: u32) -> bool {
        self.mask & bits != 0
    }
}

/// The events in what one read has returned.
pub fn parse(mut bytes: &[u8]) -> impl Iterator<Item = RawEvent<'_>> {
    std::iter::from_fn(move || {
        let (header, rest) = bytes.split_at_checked(HEADER)?;
        let field = |at: usize| {
            let mut field = [0; 4];
            field.copy_from_slice(&header[at..at + 4]);
            u32::from_ne_bytes(field)
        };
        let length = field(12) as usize;
        let (name, rest) = rest.split_at_checked(length)?;
        bytes = rest;
        let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
        Some(RawEvent {
            number: field(0).cast_signed(),
            mask: field(4),
            cookie: field(8),
            name: &name[..end],
            size: HEADER + length,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(number: i32, name: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(number.to_ne_bytes());
        bytes.extend(libc::IN_CREATE.to_ne_bytes());
        bytes.extend(7u32.to_ne_bytes());
        bytes.extend((name.len() as u32).to_ne_bytes());
        bytes.extend(name);
        bytes
    }

    #[test]
    fn each_event_has_its_name_and_an_incomplete_one_is_none() {
        let bytes = [event(1, b"a\0\0\0"), event(-1, b""), event(2, b"\xff\0")].concat();
        let found: Vec<_> = parse(&bytes)
            .map(|event| (event.number, event.name.to_vec()))
            .collect();
        assert_eq!(found, [(1, b"a".to_vec()), (-1, vec![]), (2, vec![0xff])]);
        assert_eq!(parse(&bytes).map(|event| event.size).sum::<usize>(), bytes.len());
        for length in 0..bytes.len() {
            assert!(parse(&bytes[..length]).count() < 3);
        }
    }
}
