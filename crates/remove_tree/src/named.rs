//! The file that a path names.

use nix::errno::Errno;

/// A path, split by what its last name requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Named<'a> {
    /// The path without the slashes after its last name: with them, the kernel would follow a link.
    pub path: &'a [u8],
    /// Whether slashes followed the last name, which must then be a directory.
    pub needs_directory: bool,
}

impl<'a> Named<'a> {
    /// The path, and what its last name requires.
    ///
    /// # Errors
    /// EINVAL if the last name is `.` or `..`: such a path does not name the file that it leads to.
    pub fn of(path: &'a [u8]) -> Result<Self, Errno> {
        let Some(last) = path.iter().rposition(|byte| *byte != b'/') else {
            // The root, or an empty path.
            return Ok(Self {
                path: &path[..path.len().min(1)],
                needs_directory: false,
            });
        };
        let (name, slashes) = path.split_at(last + 1);
        let start = name.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
        if matches!(&name[start..], b"." | b"..") {
            return Err(Errno::EINVAL);
        }
        Ok(Self {
            path: name,
            needs_directory: !slashes.is_empty(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(path: &str) -> Option<(&str, bool)> {
        let named = Named::of(path.as_bytes()).ok()?;
        Some((std::str::from_utf8(named.path).ok()?, named.needs_directory))
    }

    #[test]
    fn slashes_behind_a_name_are_no_part_of_it() {
        assert_eq!(named("/x/link"), Some(("/x/link", false)));
        assert_eq!(named("/x/link///"), Some(("/x/link", true)));
        assert_eq!(named("x/"), Some(("x", true)));
        assert_eq!(named("/x/..."), Some(("/x/...", false)));
        assert_eq!(named("/x/.hidden/"), Some(("/x/.hidden", true)));
        assert_eq!(named("///"), Some(("/", false)));
        assert_eq!(named(""), Some(("", false)));
    }

    #[test]
    fn dots_name_nothing() {
        for path in [
            ".", "..", "/.", "/..", "/x/.", "/x/..", "/x/./", "/x/..//", "./", "../",
        ] {
            assert_eq!(named(path), None, "{path}");
        }
    }
}
