//! The directories of a tree, each as a name and the number of its parent, never as a whole path.

/// The depth of the deepest directory that is entered; the directory where a walk begins has depth 0.
pub const MAX_DEPTH: u32 = 4096;

/// The longest relative path from an open directory, in bytes and in names; the kernel allows 4,095 bytes, and 255 for
/// a name. A listing within its bounds needs about a hundred open directories.
const LONGEST_WAY: (usize, u32) = (3072, 64);

/// A directory that was found: its name, and the directory that contains it.
struct FoundDirectory {
    above: usize,
    name: Vec<u8>,
    depth: u32,
}

/// The directories that a walk has found. The first one, with the number 0, is where it begins.
pub struct Places(Vec<FoundDirectory>);

impl Places {
    /// The beginning of a walk at `path`.
    pub fn new(path: Vec<u8>) -> Self {
        Self(vec![FoundDirectory {
            above: 0,
            name: path,
            depth: 0,
        }])
    }

    /// Adds a directory. Returns its number.
    pub fn add(&mut self, above: usize, name: Vec<u8>) -> usize {
        let depth = self.depth(above) + 1;
        self.0.push(FoundDirectory { above, name, depth });
        self.0.len() - 1
    }

    /// How far a directory is below the first one.
    pub fn depth(&self, place: usize) -> u32 {
        self.0[place].depth
    }

    /// The relative path from one directory down to another.
    pub fn way(&self, from: usize, to: usize) -> Vec<u8> {
        let mut names: Vec<_> = self.upwards(from, to).collect();
        names.reverse();
        names.join(&b'/')
    }

    /// Whether a way is so long that directories further down need another base.
    pub fn is_far(&self, from: usize, to: usize, way: &[u8]) -> bool {
        way.len() > LONGEST_WAY.0 || self.depth(to) - self.depth(from) > LONGEST_WAY.1
    }

    /// The whole path of a directory, as the caller sees it.
    pub fn path(&self, place: usize) -> String {
        let top = String::from_utf8_lossy(&self.0[0].name);
        let names: Vec<_> = self.upwards(0, place).map(String::from_utf8_lossy).collect();
        let mut path = if names.is_empty() {
            top.into_owned()
        } else {
            top.trim_end_matches('/').to_owned()
        };
        for name in names.iter().rev() {
            path.push('/');
            path.push_str(name);
        }
        path
    }

    /// The names on the way from one directory down to another, the deepest first.
    fn upwards(&self, top: usize, place: usize) -> impl Iterator<Item = &[u8]> {
        std::iter::successors(Some(place), |place| Some(self.0[*place].above))
            .take_while(move |place| *place != top)
            .map(|place| self.0[place].name.as_slice())
    }
}
