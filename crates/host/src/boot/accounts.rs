//! The tables of users and groups for a VM that has the host's own root: copies with the VM's user and without the
//! host's users.
//!
//! Nothing can be mounted in that root, so init answers the calls that open the tables (init's `mediate`). A filter
//! cannot read a path. It can only compare the path's position within its page of memory, which is the same in every
//! program whose C library opens the file.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use agent_vm_protocol::message::ReplacedFile;

const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";

/// More copies of a path than any C library has.
const MOST_OFFSETS: usize = 16;

const PAGE: usize = 4096;

/// The tables, for a user with these ids and this home.
pub fn tables(uid: u32, gid: u32, home: &str) -> Vec<ReplacedFile> {
    // The user comes first, because programs use the first entry with an id.
    let file = |path: &str, content: String| ReplacedFile {
        path: path.to_owned(),
        content,
    };
    vec![
        file(
            PASSWD,
            format!(
                "user:x:{uid}:{gid}:user:{home}:/bin/sh\nroot:x:0:0:root:/root:/usr/sbin/nologin\n\
                 nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
            ),
        ),
        file(
            GROUP,
            format!("user:x:{gid}:\nroot:x:0:\ntty:x:5:\nnogroup:x:65534:\n"),
        ),
    ]
}

/// The positions within a page at which the host's C library has the paths of the tables; determined once.
pub fn path_offsets() -> &'static [u16] {
    static OFFSETS: OnceLock<Vec<u16>> = OnceLock::new();
    OFFSETS.get_or_init(|| {
        let mut offsets: Vec<u16> = libraries()
            .iter()
            .filter_map(|path| fs::read(path).ok())
            .flat_map(|content| [PASSWD, GROUP].map(|path| offsets_in(&content, path)))
            .flatten()
            .collect();
        offsets.sort_unstable();
        offsets.dedup();
        offsets.truncate(MOST_OFFSETS);
        offsets
    })
}

/// The C library of this process, and the library that reads the tables for glibc before 2.34.
fn libraries() -> Vec<PathBuf> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let library = maps
        .lines()
        .filter_map(|line| line.find('/').map(|at| &line[at..]))
        .find(|path| {
            let name = Path::new(path).file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| {
                ["libc.so.", "libc-", "ld-musl-"]
                    .iter()
                    .any(|start| name.starts_with(start))
            })
        });
    let Some(library) = library.map(Path::new) else {
        return Vec::new();
    };
    vec![library.to_owned(), library.with_file_name("libnss_files.so.2")]
}

/// A segment's position in memory and its position in the file differ by whole pages (elf(5)).
fn offsets_in(content: &[u8], path: &str) -> Vec<u16> {
    let text = [path.as_bytes(), b"\0"].concat();
    content
        .windows(text.len())
        .enumerate()
        .filter(|(_, found)| *found == text)
        .map(|(at, _)| (at % PAGE) as u16)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_paths_are_found_in_a_library_and_nowhere_else() {
        let mut content = vec![0; 5000];
        content[4990..].copy_from_slice(b"etc/group\0");
        content[4989] = b'/';
        assert_eq!(offsets_in(&content, GROUP), [4989 - 4096]);
        assert_eq!(offsets_in(&content, PASSWD), [0_u16; 0]);
        assert!(!path_offsets().is_empty(), "the C library of this test has both");
    }

    #[test]
    fn the_tables_have_the_user_first() {
        let starts = tables(65534, 7, "/h").into_iter().map(|table| {
            let first = table.content.lines().next().unwrap_or_default().to_owned();
            (table.path, first)
        });
        let expected = [(PASSWD, "user:x:65534:7:user:/h:/bin/sh"), (GROUP, "user:x:7:")];
        assert!(starts.eq(expected.map(|(path, first)| (path.to_owned(), first.to_owned()))));
    }
}
