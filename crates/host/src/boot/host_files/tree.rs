//! The files of the host that a VM shows below `/etc`, `/var` and `/opt`: decided, and read where they are small.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use nix::sys::stat::{FileStat, lstat};

/// What shows at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A directory, with what else the tree has below it.
    Directory,
    /// A copy of a file.
    File(Copied),
    /// A symbolic link.
    Link(String),
    /// The host's file or directory itself, with all that is in it.
    Bind,
}

impl Node {
    /// A small file of the VM's own.
    pub fn file(content: &str) -> Self {
        Self::File(Copied {
            content: Arc::from(content.as_bytes()),
            is_executable: false,
            modified: (0, 0),
        })
    }
}

/// A file as it was when it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    pub content: Arc<[u8]>,
    /// Whether others may execute it.
    pub is_executable: bool,
    /// Seconds, and nanoseconds.
    pub modified: (i64, i64),
}

/// What shows, by paths that are absolute and of normal components. Directories on the way need no entry of their own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    pub nodes: BTreeMap<String, Node>,
    /// Directories in which there is nothing on the host that may not show.
    pub whole: BTreeSet<String>,
    /// Directories, and what was asked for, that others than root and the server's user can change.
    pub loose: BTreeSet<String>,
    /// What was looked at, to see a change by.
    pub seen: Vec<(String, Stamp)>,
}

/// What changes with a file or a directory.
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

    /// Of what is at `path` now, which may be nothing.
    pub fn at(path: &Path) -> Option<Self> {
        lstat(path).ok().map(|found| Self::of(&found))
    }
}

impl Tree {
    /// Whether all of it is on the host as it was looked at.
    pub fn is_current(&self) -> bool {
        self.seen
            .iter()
            .all(|(path, stamp)| Stamp::at(Path::new(path)) == Some(*stamp))
    }

    /// Bytes of all copies.
    pub fn copied(&self) -> usize {
        let files = self.nodes.values().map(|node| match node {
            Node::File(file) => file.content.len(),
            _ => 0,
        });
        files.sum()
    }

    /// Takes out what others than root and the server's user can change: where no copy shows, it may be something else by then.
    pub fn remove_loose(&mut self) {
        for path in std::mem::take(&mut self.loose) {
            self.remove(&path);
            for above in ancestors(&path) {
                self.whole.remove(above);
            }
        }
    }

    /// Whether something shows at `path`.
    pub fn shows(&self, path: &str) -> bool {
        self.nodes.contains_key(path)
            || ancestors(path).any(|above| matches!(self.nodes.get(above), Some(Node::Bind)))
    }

    /// Takes out what is at `path` and below it. What is shown as a whole above it is taken apart.
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

    /// Takes out what is at `path` and below it.
    pub fn remove(&mut self, path: &str) {
        self.nodes.remove(path);
        self.whole.remove(path);
        for below in self.paths_below(path) {
            self.nodes.remove(&below);
            self.whole.remove(&below);
        }
    }

    /// Shows one node for all that is at `path` and below it.
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

    /// Shows what is in the directory `bound` one by one, as far as `path` is not it, and so on down to `path`.
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

    /// The host's files and directories that must be readable where a VM sees them at their own places.
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
        let mut tree = Tree::default();
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
