//! What a transfer leaves out.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::error::Error;

/// The most patterns of one call, and the longest.
const MOST_PATTERNS: usize = 256;
const LONGEST_PATTERN: usize = 1024;

/// Patterns of names and paths. They are compiled into automata, so no pattern takes longer than a name is long.
#[derive(Debug, Clone)]
pub struct Exclude(Arc<Compiled>);

#[derive(Debug)]
struct Compiled {
    /// Of names at any depth, and those of them that are for directories only.
    names: GlobSet,
    directory_names: GlobSet,
    /// Of paths from the top.
    paths: GlobSet,
    directory_paths: GlobSet,
}

impl Exclude {
    /// Compiles patterns. One without a slash is for names at any depth; another one is for paths relative to the top. One with a
    /// slash at its end is for directories only.
    pub fn new(patterns: &[String]) -> Result<Self, Error> {
        if patterns.len() > MOST_PATTERNS {
            return Err(Error::InvalidArgument(format!(
                "exclude has {} patterns; at most {MOST_PATTERNS} are possible",
                patterns.len()
            )));
        }
        let mut sets: [GlobSetBuilder; 4] = std::array::from_fn(|_| GlobSetBuilder::new());
        for pattern in patterns {
            if pattern.len() > LONGEST_PATTERN {
                return Err(Error::InvalidArgument(format!(
                    "a pattern of exclude has {} bytes; at most {LONGEST_PATTERN} are possible",
                    pattern.len()
                )));
            }
            let (text, for_directories) = match pattern.strip_suffix('/') {
                Some(text) => (text, true),
                None => (pattern.as_str(), false),
            };
            let is_path = text.contains('/');
            let text = text.strip_prefix('/').unwrap_or(text);
            let glob = GlobBuilder::new(text)
                .literal_separator(true)
                .build()
                .map_err(|error| {
                    Error::InvalidArgument(format!("exclude has a pattern that is not valid: {error}"))
                })?;
            sets[usize::from(is_path) * 2 + usize::from(for_directories)].add(glob);
        }
        let [names, directory_names, paths, directory_paths] = sets.map(|set| set.build());
        let built = |set: Result<GlobSet, globset::Error>| {
            set.map_err(|error| {
                Error::InvalidArgument(format!("the patterns of exclude are too large: {error}"))
            })
        };
        Ok(Self(Arc::new(Compiled {
            names: built(names)?,
            directory_names: built(directory_names)?,
            paths: built(paths)?,
            directory_paths: built(directory_paths)?,
        })))
    }

    /// Whether it matters in which directory a name is.
    #[must_use]
    pub fn has_paths(&self) -> bool {
        !(self.0.paths.is_empty() && self.0.directory_paths.is_empty())
    }

    /// Whether there are no patterns.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Compiled {
            names,
            directory_names,
            paths,
            directory_paths,
        } = &*self.0;
        [names, directory_names, paths, directory_paths]
            .iter()
            .all(|set| set.is_empty())
    }

    /// Whether something in the directory with these names on its way from the top is left out.
    #[must_use]
    pub fn matches(&self, way: &[impl AsRef<[u8]>], name: &[u8], is_directory: bool) -> bool {
        let Compiled {
            names,
            directory_names,
            paths,
            directory_paths,
        } = &*self.0;
        let named = path_of(name);
        if names.is_match(named) || (is_directory && directory_names.is_match(named)) {
            return true;
        }
        if paths.is_empty() && (!is_directory || directory_paths.is_empty()) {
            return false;
        }
        let mut path = Vec::new();
        for each in way {
            path.extend_from_slice(each.as_ref());
            path.push(b'/');
        }
        path.extend_from_slice(name);
        let path = path_of(&path);
        paths.is_match(path) || (is_directory && directory_paths.is_match(path))
    }
}

fn path_of(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excludes(pattern: &str, path: &str) -> bool {
        let exclude = Exclude::new(&[pattern.to_owned()]).expect("it is valid");
        let is_directory = path.ends_with('/');
        let path = path.trim_end_matches('/');
        let (prefix, name) = path.rsplit_once('/').unwrap_or(("", path));
        let way: Vec<_> = prefix.split('/').filter(|name| !name.is_empty()).collect();
        exclude.matches(&way, name.as_bytes(), is_directory)
    }

    #[test]
    fn a_pattern_without_a_slash_is_for_names_at_any_depth() {
        assert!(excludes("node_modules", "node_modules/"));
        assert!(excludes("node_modules", "a/b/node_modules"));
        assert!(!excludes("node_modules", "a/node_modules2"));
        assert!(excludes("*.log", "a/b/x.log"));
        assert!(excludes("*.{log,tmp}", "a/x.tmp"));
        assert!(excludes("[a-c]?", "bx"));
        assert!(!excludes("*.log", "a.log/x"));
    }

    #[test]
    fn a_pattern_with_a_slash_is_for_paths_from_the_top() {
        assert!(excludes("/dist", "dist/"));
        assert!(!excludes("/dist", "a/dist/"));
        assert!(excludes("build/*.o", "build/x.o"));
        assert!(!excludes("build/*.o", "build/a/x.o"));
        assert!(excludes("build/**/*.o", "build/a/b/x.o"));
        assert!(excludes("**/cache", "a/b/cache"));
    }

    #[test]
    fn a_pattern_with_a_slash_at_its_end_is_for_directories_only() {
        assert!(excludes("target/", "a/target/"));
        assert!(!excludes("target/", "a/target"));
        assert!(excludes("/a/target/", "a/target/"));
        assert!(!excludes("/a/target/", "a/target"));
    }

    #[test]
    fn names_need_not_be_utf8() {
        let exclude = Exclude::new(&["*.log".to_owned()]).expect("it is valid");
        assert!(exclude.matches(&[] as &[&[u8]], b"\xff.log", false));
        assert!(!exclude.matches(&[] as &[&[u8]], b"\xff.txt", false));
    }

    #[test]
    fn what_is_no_pattern_or_too_large_is_refused() {
        assert!(Exclude::new(&["[".to_owned()]).is_err());
        assert!(Exclude::new(&["x".repeat(LONGEST_PATTERN + 1)]).is_err());
        assert!(Exclude::new(&vec!["x".to_owned(); MOST_PATTERNS + 1]).is_err());
    }
}
