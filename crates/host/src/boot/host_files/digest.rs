//! MD5 digests, as dpkg records them for its files. They detect changes but need not prevent forgery: a program that
//! could forge a file here can already write to /etc.

/// A digest in binary.
pub type Digest = [u8; 16];

/// The digest of `bytes`.
pub fn digest(bytes: &[u8]) -> Digest {
    md5::compute(bytes).0
}

/// Parses a digest in hexadecimal.
pub fn parse(text: &[u8]) -> Option<Digest> {
    let text: &[u8; 32] = text.try_into().ok()?;
    let mut digest = [0; 16];
    for (byte, pair) in digest.iter_mut().zip(text.as_chunks::<2>().0) {
        let digit = |character: u8| (character as char).to_digit(16);
        *byte = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_read_as_dpkg_writes_it() {
        assert_eq!(parse(b"900150983cd24fb0d6963f7d28e17f72"), Some(digest(b"abc")));
        assert_eq!(parse(b"newconffile"), None);
    }
}
