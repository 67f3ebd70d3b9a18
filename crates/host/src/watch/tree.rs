//! The watched directories of one watch, each as a name and its parent, never as a whole path.

use std::collections::HashMap;

use super::raw::RawEvent;

/// The number of a directory in its tree.
pub type Place = u64;

/// The file or directory that the watch is about.
pub const ROOT: Place = 0;

/// What is known of the names in a directory.
#[derive(Debug, Default)]
pub enum Contents {
    /// Nothing: its events are ignored.
    #[default]
    Unknown,
    /// It is being opened and listed. The names that events since then were about: whether there is something and, if so, whether
    /// it is a directory.
    Looking(HashMap<Vec<u8>, Option<bool>>),
    /// What the events say.
    Known,
}

/// A name that something has got by a rename.
#[derive(Debug)]
pub struct Arrived {
    pub name: Vec<u8>,
    /// Where it comes from, if that is known.
    pub from: Option<(Place, Vec<u8>)>,
}

/// How far it is known whether something is at a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsure {
    /// It must be looked up.
    Queued,
    /// It is being looked up.
    Looking,
}

/// A directory of the tree.
#[derive(Debug, Default)]
pub struct Directory {
    parent: Place,
    name: Vec<u8>,
    children: HashMap<Vec<u8>, Place>,
    /// The kernel's number of its watch, if it is watched.
    pub number: Option<i32>,
    pub contents: Contents,
    /// Whether it will be opened.
    pub is_queued: bool,
    /// Whether it has no path: the first half of a rename has been read.
    pub is_held: bool,
    /// The number of the last rename of it.
    pub renamed: u64,
    /// What has arrived, if no name in it has changed since then.
    pub arrived: Option<Arrived>,
    /// The names at which something may be that was not reported. An event about a name says what is there.
    pub unsure: HashMap<Vec<u8>, Unsure>,
}

impl Directory {
    pub fn is_known(&self) -> bool {
        matches!(self.contents, Contents::Known)
    }

    /// Begins to open and list it.
    pub fn begin(&mut self) {
        self.contents = Contents::Looking(HashMap::new());
        self.arrived = None;
        self.unsure.clear();
    }

    /// Remembers what an event says about a name while the directory is opened and listed. An event that
    /// `is_before_listing` may be the end of a change that began before the directory was watched; the listing shows that change.
    pub fn remember(&mut self, event: RawEvent<'_>, is_before_listing: bool) {
        let Contents::Looking(names) = &mut self.contents else {
            return;
        };
        let name = event.name.to_vec();
        let arrived = self.arrived.take();
        if event.is(libc::IN_MOVED_TO) {
            let name = name.clone();
            self.arrived = Some(Arrived { name, from: None });
        }
        if is_before_listing {
            return;
        }
        self.unsure.remove(&name);
        if event.is(libc::IN_MOVED_FROM) && arrived.is_some_and(|arrived| arrived.name == name) {
            // It may be exchanged, and something is there still.
            self.unsure.insert(name.clone(), Unsure::Queued);
        }
        let is_there = event.is(libc::IN_CREATE | libc::IN_MOVED_TO);
        names.insert(name, is_there.then(|| event.is(libc::IN_ISDIR)));
    }
}

/// The directories.
#[derive(Debug)]
pub struct Tree {
    directories: HashMap<Place, Directory>,
    last: Place,
}

impl Tree {
    /// One with nothing but its root.
    pub fn new() -> Self {
        Self {
            directories: HashMap::from([(ROOT, Directory::default())]),
            last: ROOT,
        }
    }

    pub fn get(&self, place: Place) -> Option<&Directory> {
        self.directories.get(&place)
    }

    pub fn get_mut(&mut self, place: Place) -> Option<&mut Directory> {
        self.directories.get_mut(&place)
    }

    pub fn child(&self, parent: Place, name: &[u8]) -> Option<Place> {
        self.get(parent)?.children.get(name).copied()
    }

    pub fn children(&self, parent: Place) -> Vec<Place> {
        self.get(parent)
            .map(|directory| directory.children.values().copied().collect())
            .unwrap_or_default()
    }

    pub fn name(&self, place: Place) -> &[u8] {
        self.get(place).map_or(&[], |directory| &directory.name)
    }

    /// The parent of a directory, and its name there.
    pub fn named(&self, place: Place) -> (Place, Vec<u8>) {
        self.get(place).map_or((ROOT, Vec::new()), |directory| {
            (directory.parent, directory.name.clone())
        })
    }

    /// Adds a directory of a name that is free.
    pub fn add(&mut self, parent: Place, name: &[u8]) -> Place {
        self.last += 1;
        let directory = Directory {
            parent,
            name: name.to_vec(),
            ..Directory::default()
        };
        let place = self.last;
        self.directories.insert(place, directory);
        if let Some(parent) = self.get_mut(parent) {
            parent.children.insert(name.to_vec(), place);
        }
        place
    }

    /// Takes a directory, with what is below it, away from its parent.
    pub fn detach(&mut self, place: Place) {
        let Some(directory) = self.directories.get(&place) else {
            return;
        };
        let (parent, name) = (directory.parent, directory.name.clone());
        if let Some(parent) = self.get_mut(parent)
            && parent.children.get(&name) == Some(&place)
        {
            parent.children.remove(&name);
        }
    }

    /// Gives a detached directory a parent, and a name there that is free.
    pub fn attach(&mut self, place: Place, parent: Place, name: &[u8]) {
        if let Some(directory) = self.get_mut(place) {
            directory.parent = parent;
            directory.name = name.to_vec();
        }
        if let Some(parent) = self.get_mut(parent) {
            parent.children.insert(name.to_vec(), place);
        }
    }

    /// A directory, and all below it; without those, and what is below them, that are not `wanted`.
    pub fn with_below(&self, top: Place, mut wanted: impl FnMut(Place) -> bool) -> Vec<Place> {
        let mut found = Vec::from_iter(Some(top).filter(|top| wanted(*top)));
        let mut next = 0;
        while let Some(place) = found.get(next) {
            let children = self.children(*place).into_iter();
            found.extend(children.filter(|child| wanted(*child)));
            next += 1;
        }
        found
    }

    /// Removes a directory and all below it. Returns them.
    pub fn remove(&mut self, top: Place) -> Vec<(Place, Directory)> {
        self.detach(top);
        let places = self.with_below(top, |_| true);
        places
            .into_iter()
            .filter_map(|place| Some((place, self.directories.remove(&place)?)))
            .collect()
    }

    /// Whether a directory is `above`, or below that.
    pub fn is_below(&self, place: Place, above: Place) -> bool {
        self.upwards(place).any(|each| each == above)
    }

    /// Whether the path of a directory has been right ever since, with `renames` renames before that: all above it are known,
    /// and none on the way was renamed.
    pub fn is_steady(&self, place: Place, renames: u64) -> bool {
        let is_old = |each| {
            self.get(each)
                .is_some_and(|directory| !directory.is_held && directory.renamed <= renames)
        };
        self.is_reached(place) && self.upwards(place).all(is_old)
    }

    /// Whether all directories above this one are known.
    pub fn is_reached(&self, place: Place) -> bool {
        let mut above = self.upwards(place).skip(1);
        above.all(|each| self.get(each).is_some_and(Directory::is_known))
    }

    /// The relative path from the root.
    pub fn way(&self, place: Place) -> Vec<u8> {
        let mut names: Vec<_> = self
            .upwards(place)
            .filter(|place| *place != ROOT)
            .map(|place| self.name(place))
            .collect();
        names.reverse();
        names.join(&b'/')
    }

    /// How many bytes the relative path from the root has; more than `most` if it is longer, whatever its length.
    pub fn way_length(&self, place: Place, most: usize) -> usize {
        let mut length = 0;
        for place in self.upwards(place).take_while(|place| *place != ROOT) {
            length = longer(length, self.name(place));
            if length > most {
                break;
            }
        }
        length
    }

    /// The first directory on the way from the root to this one whose relative path has more than `most` bytes.
    pub fn first_far(&self, place: Place, most: usize) -> Option<Place> {
        let mut way: Vec<_> = self.upwards(place).take_while(|place| *place != ROOT).collect();
        way.reverse();
        let mut length = 0;
        way.into_iter().find(|place| {
            length = longer(length, self.name(*place));
            length > most
        })
    }

    /// Of directories that come after those above them, the ones whose relative path has more than `most` bytes, without what is
    /// below one of these.
    pub fn first_too_far(&self, places: Vec<Place>, most: usize) -> Vec<Place> {
        let mut lengths: HashMap<Place, usize> = HashMap::new();
        let mut far = Vec::new();
        for place in places {
            let parent = self.get(place).map_or(ROOT, |directory| directory.parent);
            let above = lengths.get(&parent).copied();
            let above = above.unwrap_or_else(|| self.way_length(parent, most));
            let length = longer(above, self.name(place));
            lengths.insert(place, length);
            if length > most && above <= most {
                far.push(place);
            }
        }
        far
    }

    fn upwards(&self, place: Place) -> impl Iterator<Item = Place> {
        std::iter::successors(Some(place), |place| {
            (*place != ROOT).then(|| self.get(*place).map_or(ROOT, |directory| directory.parent))
        })
    }
}

/// The length of a path with one name more.
fn longer(length: usize, name: &[u8]) -> usize {
    length + usize::from(length > 0) + name.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_too_long_is_found_wherever_it_begins_to_be() {
        let mut tree = Tree::new();
        let a = tree.add(ROOT, b"aa");
        let b = tree.add(a, b"bb");
        let c = tree.add(b, b"cc");
        let d = tree.add(c, b"dd");
        tree.add(b, b"o");
        assert_eq!((tree.way_length(d, 100), tree.way(d).len()), (11, 11));
        assert_eq!((tree.first_far(d, 11), tree.first_far(d, 10)), (None, Some(d)));
        assert_eq!((tree.first_far(d, 7), tree.first_far(d, 4)), (Some(c), Some(b)));
        let below = tree.with_below(b, |_| true);
        assert_eq!(tree.first_too_far(below.clone(), 7), [c]);
        assert_eq!(tree.first_too_far(below.clone(), 4), [b]);
        // The directory above is too long already: it is reported itself.
        assert!(tree.first_too_far(below, 1).is_empty());
        assert!(tree.way_length(d, 3) > 3 && tree.way_length(ROOT, 3) == 0);
    }

    #[test]
    fn a_directory_that_moves_takes_what_is_below_it_along() {
        let mut tree = Tree::new();
        let a = tree.add(ROOT, b"a");
        let b = tree.add(a, b"b");
        let c = tree.add(b, b"c");
        let d = tree.add(ROOT, b"d");
        assert_eq!(tree.way(c), b"a/b/c");
        tree.detach(b);
        tree.attach(b, d, b"e");
        assert_eq!(tree.way(c), b"d/e/c");
        assert_eq!((tree.child(a, b"b"), tree.child(d, b"e")), (None, Some(b)));
        assert!(tree.is_below(c, d) && !tree.is_below(c, a) && tree.is_below(c, ROOT));
        let removed: Vec<_> = tree.remove(b).into_iter().map(|(place, _)| place).collect();
        assert_eq!(removed, [b, c]);
        assert!(tree.get(c).is_none() && tree.child(d, b"e").is_none());
    }
}
