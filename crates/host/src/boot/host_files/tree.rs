//! The host's files that a VM shows below `/etc`, `/var` and `/opt`: the decision for each path, with the content of
//! small files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use nix::sys::stat::{FileStat, lstat};

/// What is shown at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A directory with the other nodes of the tree below it.
    Directory,
    /// A copy of a file.
    File(Copied),
    /// A symbolic link.
    Link(String),
    /// The host's file or directory itself, with everything in it.
    Bind,
}

impl Node {
    /// A small file that the VM makes itself.
    pub fn file(content: &str) -> Self {
        Self::File(Copied {
            content: Arc::from(content.as_bytes()),
            is_executable: false,
            modified: (0, 0),
        })
    }
}

/// A file in the state in which it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    pub content: Arc<[u8]>,
    /// Whether others may execute it.
    pub is_executable: bool,
    /// When it was modified: seconds, and nanoseconds.
    pub modified: (i64, i64),
}

/// What is shown, by absolute, normalized paths. Directories on the way need no entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShownTree {
    pub nodes: BTreeMap<String, Node>,
    /// Directories in which nothing on the host has to be hidden.
    pub whole: BTreeSet<String>,
    /// Directories, and requested paths, that users other than root and the server's can change.
    pub loose: BTreeSet<String>,
    /// What was checked, to detect changes.
    pub seen: Vec<(String, Stamp)>,
}

/// Properties that change when a file or a directory changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: i64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    pub fn of(found: &FileStat) -> Self {
        Self {
            device: found.st_dev,
            inode: found.st_ino,
            size: found.st_size,
            modified: (found.st_mtime, found.st_mtime_nsec),
            changed: (found.st_ctime, found.st_ctime_nsec),
        }
    }

    /// The stamp of what is at `path` now; `None` if nothing is.
    pub fn at(path: &Path) -> Option<Self> {
        lstat(path).ok().map(|found| Self::of(&found))
    }
}

impl ShownTree {
    /// Whether everything on the host is still as it was checked.
    pub fn is_current(&self) -> bool {
        self.seen
            .iter()
            .all(|(path, stamp)| Stamp::at(Path::new(path)) == Some(*stamp))
    }

    /// The bytes of all copies.
    pub fn copied(&self) -> usize {
        let files = self.nodes.values().map(|node| match node {
            Node::File(file) => file.content.len(),
            _ => 0,
        });
        files.sum()
    }

    /// Removes what users other than root and the server's can change: where no copy is shown, it could be something
    /// else by now.
    pub fn remove_loose(&mut self) {
        for path in std::mem::take(&mut self.loose) {
            self.remove(&path);
            for above in ancestors(&path) {
                self.whole.remove(above);
            }
        }
    }

    /// Whether something is shown at `path`.
    pub fn shows(&self, path: &str) -> bool {
        self.nodes.contains_key(path)
            || ancestors(path).any(|above| matches!(self.nodes.get(above), Some(Node::Bind)))
    }

    /// Hides what is at `path` and below it. If a directory above is shown as a whole, shows its entries separately
    /// instead.
    pub fn hide(&mut self, path: &str) {
        for above in ancestors(path) {
            self.whole.remove(above);
        }
        let bound = ancestors(path).find(|above| matches!(self.nodes.get(*above), Some(Node::Bind)));
        if let Some(bound) = bound.map(str::to_owned) {
            self.take_apart(&bound, path);
        }
        self.remove(path);
    }

    /// Removes what is at `path` and below it.
    pub fn remove(&mut self, path: &str) {
        self.nodes.remove(path);
        self.whole.remove(path);
        for below in self.paths_below(path) {
            self.nodes.remove(&below);
            self.whole.remove(&below);
        }
    }

    /// Shows a single node instead of everything that is at `path` and below it.
    pub fn replace(&mut self, path: &str, node: Node) {
        self.remove(path);
        self.nodes.insert(path.to_owned(), node);
    }

    fn paths_below(&self, path: &str) -> Vec<String> {
        let start = format!("{path}/");
        let below = self.nodes.range(start.clone()..).map(|(path, _)| path);
        below
            .take_while(|path| path.starts_with(&start))
            .cloned()
            .collect()
    }

    /// Shows the entries of the directory `bound` separately, except the one that leads to `path`, and so on down to
    /// `path`.
    fn take_apart(&mut self, bound: &str, path: &str) {
        let mut directory = bound.to_owned();
        while directory != path {
            self.nodes.insert(directory.clone(), Node::Directory);
            self.whole.remove(&directory);
            let rest = path[directory.len() + 1..].split('/').next().unwrap_or_default();
            let mut next = None;
            for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
                let (Ok(name), Ok(kind)) = (entry.file_name().into_string(), entry.file_type()) else {
                    continue;
                };
                let place = format!("{directory}/{name}");
                if name == rest {
                    next = kind.is_dir().then_some(place);
                    continue;
                }
                let node = if kind.is_symlink() {
                    let Some(target) = std::fs::read_link(&place)
                        .ok()
                        .and_then(|to| to.into_os_string().into_string().ok())
                    else {
                        continue;
                    };
                    Node::Link(target)
                } else if kind.is_dir() || kind.is_file() {
                    Node::Bind
                } else {
                    continue;
                };
                self.nodes.insert(place, node);
            }
            match next {
                Some(next) => directory = next,
                None => break,
            }
        }
    }

    /// The host's files and directories that must be readable for a VM that sees them at their own paths.
    pub fn readable(&self) -> Vec<String> {
        let is_covered = |path: &str| ancestors(path).any(|above| self.whole.contains(above));
        let files = self
            .nodes
            .iter()
            .filter(|(_, node)| matches!(node, Node::File(_) | Node::Bind));
        let paths = files.map(|(path, _)| path).chain(&self.whole);
        paths.filter(|path| !is_covered(path)).cloned().collect()
    }
}

/// The directories above `path`, the nearest first, without the root.
pub fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| path.rsplit_once('/').map(|(above, _)| above))
        .skip(1)
        .filter(|above| !above.is_empty())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may end with a panic")]
mod tests {
    use super::*;

    #[test]
    fn what_is_hidden_in_a_directory_that_shows_whole_is_gone_and_its_neighbours_stay() {
        let root = std::env::temp_dir().join(format!("agent-vm-tree-{}", std::process::id()));
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        for file in ["a/b/secret", "a/b/other", "a/one"] {
            std::fs::write(root.join(file), "").unwrap();
        }
        let top = root.to_str().unwrap();
        let mut tree = ShownTree::default();
        tree.nodes.insert(top.to_owned(), Node::Bind);
        tree.whole.insert(top.to_owned());
        tree.hide(&format!("{top}/a/b/secret"));
        std::fs::remove_dir_all(&root).unwrap();
        let shown = |path: &str| tree.shows(&format!("{top}/{path}"));
        assert!(!shown("a/b/secret") && shown("a/b/other") && shown("a/one"));
        let mut readable = tree.readable();
        readable.sort();
        assert_eq!(readable, [format!("{top}/a/b/other"), format!("{top}/a/one")]);
    }

    #[test]
    fn ancestors_are_the_directories_above() {
        assert_eq!(ancestors("/etc/a/b").collect::<Vec<_>>(), ["/etc/a", "/etc"]);
    }
}
