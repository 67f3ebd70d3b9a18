//! A list of paths that is kept by the events of a watch.

use std::collections::BTreeSet;

use crate::watch::queue::WatchEvent;

#[derive(Debug, Default)]
pub struct Mirror {
    paths: BTreeSet<String>,
    pub has_lost: bool,
}

impl Mirror {
    pub fn take(&mut self, events: &[WatchEvent]) {
        for event in events {
            match event {
                WatchEvent::Created(path) => {
                    self.paths.insert(path.to_string());
                }
                WatchEvent::Removed(path) => {
                    self.remove(path);
                }
                WatchEvent::Renamed { from, to } => {
                    let moved = self.remove(from);
                    self.remove(to);
                    self.paths.insert(to.to_string());
                    self.paths.extend(
                        moved
                            .into_iter()
                            .map(|path| format!("{to}{}", &path[from.len()..])),
                    );
                }
                WatchEvent::Changed(_) => {}
                WatchEvent::Overflow(_) | WatchEvent::Unwatched { .. } => self.has_lost = true,
            }
        }
    }

    /// Removes a path, and what is below it. Returns them.
    fn remove(&mut self, top: &str) -> Vec<String> {
        let below = |path: &String| {
            path.strip_prefix(top)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.paths.extract_if(.., below).collect()
    }

    /// How it differs from what is there.
    pub fn wrong(&self, paths: &BTreeSet<String>) -> Vec<String> {
        let missing = paths
            .difference(&self.paths)
            .map(|path| format!("{path} is missing"));
        let extra = self
            .paths
            .difference(paths)
            .map(|path| format!("{path} is too much"));
        missing.chain(extra).collect()
    }
}
