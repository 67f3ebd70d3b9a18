//! Reads dpkg's database: which paths packages own, and the digests of the files that they installed.
//!
//! Only root writes to the database. A line that makes no sense is skipped, and its file is not shown.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::digest::{Digest, digest, parse};

const DATABASE: &str = "/var/lib/dpkg";

/// Configuration files that package scripts install with ucf, which dpkg does not know: `digest  path`.
const UCF: &str = "/var/lib/ucf/hashfile";

/// The beginnings of the relevant paths, in bytes.
const STARTS: [&[u8]; 3] = [b"/etc/", b"/var/lib/", b"/opt/"];

/// The files of installed packages below those.
#[derive(Debug, Default)]
pub struct Packages {
    /// Every path that a package owns, with the digests of the files that packages installed there; directories and
    /// links have none.
    owned: HashMap<PathBuf, Vec<Digest>>,
}

impl Packages {
    /// Reads the database; the result is empty if there is none.
    pub fn read() -> Self {
        Self::read_at(Path::new(DATABASE), Path::new(UCF))
    }

    fn read_at(database: &Path, ucf: &Path) -> Self {
        let mut packages = Self::default();
        let Ok(status) = fs::read(database.join("status")) else {
            return packages;
        };
        packages.add_conffiles(&status);
        drop(status);
        let diversions = Diversions::parse(&fs::read(database.join("diversions")).unwrap_or_default());
        packages.add_lists(&database.join("info"), &diversions);
        for line in lines(&fs::read(ucf).unwrap_or_default()) {
            packages.add_digest(line, b"");
        }
        packages
    }

    /// Whether a package owns the path, whatever is there now.
    pub fn owns(&self, path: &Path) -> bool {
        self.owned.contains_key(path)
    }

    /// Whether `content` is what a package installed at `path`.
    pub fn brought(&self, path: &Path, content: &[u8]) -> bool {
        match self.owned.get(path) {
            Some(digests) if !digests.is_empty() => digests.contains(&digest(content)),
            _ => false,
        }
    }

    /// Reads the `Conffiles` fields of dpkg's status: lines of ` path digest`, possibly followed by words like `
    /// obsolete`.
    fn add_conffiles(&mut self, status: &[u8]) {
        let mut is_list = false;
        for line in lines(status) {
            if let Some(line) = line.strip_prefix(b" ").filter(|_| is_list) {
                let mut words = line.split(|byte| *byte == b' ');
                let (Some(path), Some(digest)) = (words.next(), words.next()) else {
                    continue;
                };
                if let (true, Some(digest)) = (matters(path), parse(digest)) {
                    self.owned
                        .entry(as_path(path).to_owned())
                        .or_default()
                        .push(digest);
                }
            } else {
                is_list = line == b"Conffiles:";
            }
        }
    }

    /// Reads the lists of files and, for packages with relevant files other than conffiles, their digests.
    fn add_lists(&mut self, info: &Path, diversions: &Diversions) {
        let mut buffer = Buffer::default();
        for entry in fs::read_dir(info).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(package) = name.as_bytes().strip_suffix(b".list") else {
                continue;
            };
            let path = info.join(&name);
            let Some(list) = buffer.read(&path) else { continue };
            let mut is_digested = true;
            for line in lines(list).filter(|line| matters(line)) {
                let path = diversions.place(package, line);
                // Conffiles have their digests already.
                if !self.owned.contains_key(path) {
                    self.owned.insert(path.to_owned(), Vec::new());
                    is_digested = false;
                }
            }
            // Directories have no digests, and most packages have no other relevant files.
            if !is_digested {
                let digests = buffer.read(&path.with_extension("md5sums"));
                for line in lines(digests.unwrap_or_default()) {
                    let rest = line.get(34..).unwrap_or_default();
                    if STARTS.iter().any(|start| rest.starts_with(&start[1..])) {
                        self.add_diverted(line, package, diversions);
                    }
                }
            }
        }
    }

    fn add_diverted(&mut self, line: &[u8], package: &[u8], diversions: &Diversions) {
        let path = [b"/", line.get(34..).unwrap_or_default()].concat();
        if let Some(digest) = line.get(..32).and_then(parse) {
            let place = diversions.place(package, &path).to_owned();
            self.owned.entry(place).or_default().push(digest);
        }
    }

    /// Reads a line of `digest  path`, whose path may lack `start`.
    fn add_digest(&mut self, line: &[u8], start: &[u8]) {
        let (Some(digest), Some(path)) = (line.get(..32).and_then(parse), line.get(34..)) else {
            return;
        };
        let path = [start, path].concat();
        if matters(&path) {
            self.owned
                .entry(as_path(&path).to_owned())
                .or_default()
                .push(digest);
        }
    }
}

/// Where files are that a package installed, and that another package or the administrator has moved (dpkg-divert(1)).
#[derive(Debug, Default)]
struct Diversions {
    /// By the path in the package: where the file is now, and which package's file stays at the path.
    by_path: HashMap<Vec<u8>, (Vec<u8>, Vec<u8>)>,
}

impl Diversions {
    fn parse(text: &[u8]) -> Self {
        let mut by_path = HashMap::new();
        let mut lines = lines(text);
        while let (Some(path), Some(place), Some(by)) = (lines.next(), lines.next(), lines.next()) {
            if matters(path) {
                by_path.insert(path.to_owned(), (place.to_owned(), by.to_owned()));
            }
        }
        Self { by_path }
    }

    /// Where the file is that `package` installed as `path`. `package` may be followed by a colon and an architecture.
    fn place<'a>(&'a self, package: &[u8], path: &'a [u8]) -> &'a Path {
        let name = package.split(|byte| *byte == b':').next();
        match self.by_path.get(path) {
            Some((place, by)) if name != Some(by.as_slice()) => as_path(place),
            _ => as_path(path),
        }
    }
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends = memchr::memchr_iter(b'\n', text).chain([text.len()]);
    ends.scan(0, |start, end| {
        let line = text.get(*start..end).unwrap_or_default();
        *start = end + 1;
        Some(line)
    })
}

fn matters(path: &[u8]) -> bool {
    // Most paths are below /usr, so this is tested first.
    matches!(path.get(1), Some(b'e' | b'v' | b'o')) && STARTS.iter().any(|start| path.starts_with(start))
}

fn as_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

/// A buffer that is reused for one file after the other.
#[derive(Default)]
struct Buffer(Vec<u8>);

impl Buffer {
    /// The content of the file; `None` if it cannot be read. It makes as few calls as possible, because there is a file
    /// for each package.
    fn read(&mut self, path: &Path) -> Option<&[u8]> {
        const PART: usize = 64 * 1024;
        let mut file = fs::File::open(path).ok()?;
        let mut length = 0;
        loop {
            if self.0.len() < length + PART {
                self.0.resize(length + 2 * PART, 0);
            }
            let room = self.0.len() - length;
            let more = file.read(&mut self.0[length..]).ok()?;
            length += more;
            // A read of a regular file is short only at its end.
            if more < room {
                return Some(&self.0[..length]);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may end with a panic")]
mod tests {
    use super::*;

    const ONE: &str = "0cc175b9c0f1b6a831c399e269772661";

    /// Makes a database below a new directory, which is returned for removal.
    fn database(name: &str, files: &[(&str, &str)]) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("agent-vm-packages-{name}-{}", std::process::id()));
        fs::create_dir_all(directory.join("info")).unwrap();
        for (path, content) in files {
            fs::write(directory.join(path), content).unwrap();
        }
        directory
    }

    #[test]
    fn only_what_a_package_brought_as_it_is_now_counts() {
        let status = format!(
            "Package: a\nConffiles:\n /etc/a.conf {ONE}\n /etc/new newconffile\n /etc/old {ONE} obsolete\nDescription: x\n \
             /etc/described {ONE}\n"
        );
        let directory = database(
            "all",
            &[
                ("status", &status),
                (
                    "info/a.list",
                    "/.\n/etc\n/etc/a.conf\n/etc/a.d\n/usr/bin/a\n/var/lib/a/data\n",
                ),
                (
                    "info/a.md5sums",
                    &format!("{ONE}  var/lib/a/data\n{ONE}  usr/bin/a\n"),
                ),
                ("info/b:amd64.list", "/etc/b.conf\n/etc/undigested\n"),
                ("info/b:amd64.md5sums", &format!("{ONE}  etc/b.conf\n")),
                ("diversions", "/etc/b.conf\n/etc/b.conf.away\nc\n"),
                ("ucf", &format!("{ONE}  /etc/u.conf\nnonsense\n")),
            ],
        );
        let packages = Packages::read_at(&directory, &directory.join("ucf"));
        fs::remove_dir_all(&directory).unwrap();
        for path in [
            "/etc/a.conf",
            "/etc/old",
            "/var/lib/a/data",
            "/etc/b.conf.away",
            "/etc/u.conf",
        ] {
            assert!(packages.brought(Path::new(path), b"a"), "{path}");
            assert!(!packages.brought(Path::new(path), b"a\n# token"), "{path}");
        }
        for path in [
            "/etc/new",
            "/etc/described",
            "/etc/b.conf",
            "/etc/undigested",
            "/usr/bin/a",
            "/etc/a.d",
        ] {
            assert!(!packages.brought(Path::new(path), b"a"), "{path}");
        }
        assert!(packages.owns(Path::new("/etc/a.d")) && packages.owns(Path::new("/etc/undigested")));
        assert!(!packages.owns(Path::new("/etc/b.conf")));
    }

    #[test]
    fn a_host_without_dpkg_has_no_packages() {
        let packages = Packages::read_at(Path::new("/nonexistent"), Path::new("/nonexistent"));
        assert!(packages.owned.is_empty());
    }
}
