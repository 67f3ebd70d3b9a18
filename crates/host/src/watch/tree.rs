//! The watched directories of one watch, each as a name and its parent, never as a whole path.

use std::collections::{HashMap, HashSet};

/// The number of a directory in its tree.
pub type Place = u64;

/// The file or directory that the watch is about.
pub const ROOT: Place = 0;

/// A directory of the tree.
#[derive(Debug, Default)]
pub struct Directory {
    parent: Place,
    name: Vec<u8>,
    children: HashMap<Vec<u8>, Place>,
    /// The kernel's number of its watch, if it is watched.
    pub number: Option<i32>,
    /// Whether it must be opened and, if so, whether directories in it that are watched already are opened as well.
    pub queued: Option<bool>,
    /// The name that something has got by a rename from where nothing is watched, if no other name has changed since then.
    pub arrived: Option<Vec<u8>>,
    /// The names that a listing has reported although the kernel may report them as well.
    pub reported: Option<HashSet<Vec<u8>>>,
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
    /// below one of these; and the others.
    pub fn apart(&self, places: Vec<Place>, most: usize) -> (Vec<Place>, Vec<Place>) {
        let mut lengths: HashMap<Place, usize> = HashMap::new();
        let (mut far, mut near) = (Vec::new(), Vec::new());
        for place in places {
            let parent = self.get(place).map_or(ROOT, |directory| directory.parent);
            let above = lengths.get(&parent).copied();
            let above = above.unwrap_or_else(|| self.way_length(parent, most));
            let length = longer(above, self.name(place));
            lengths.insert(place, length);
            if length <= most {
                near.push(place);
            } else if above <= most {
                far.push(place);
            }
        }
        (far, near)
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
        let other = tree.add(b, b"o");
        assert_eq!((tree.way_length(d, 100), tree.way(d).len()), (11, 11));
        assert_eq!((tree.first_far(d, 11), tree.first_far(d, 10)), (None, Some(d)));
        assert_eq!((tree.first_far(d, 7), tree.first_far(d, 4)), (Some(c), Some(b)));
        let below = tree.with_below(b, |_| true);
        assert_eq!(tree.apart(below.clone(), 7), (vec![c], vec![b, other]));
        assert_eq!(tree.apart(below.clone(), 4), (vec![b], vec![]));
        // The directory above is too long already: it is reported itself.
        assert_eq!(tree.apart(below, 1), (vec![], vec![]));
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
