//! A file in which the servers of a machine lock the ids that they use.
//!
//! Each id is one byte of the file, which has no content. The bytes are locked through the open file description
//! (`F_OFD_SETLK`, `fcntl(2)`): a server needs one descriptor for all its ids, and the kernel unlocks them however the
//! server ends. Locks of one description never conflict, so this server also remembers its own ids here.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, openat};
use nix::sys::stat::Mode;

/// Only its owner may search the directory, and so open and lock the file in it.
const DIRECTORY_MODE: u32 = 0o700;
const FILE: &str = "ids";

/// A lock file.
#[derive(Debug)]
pub struct LockFile {
    directory: PathBuf,
    /// The user who must own the directory.
    owner: u32,
    file: File,
    /// The ranges that this server holds, by their first ids.
    held: BTreeMap<u32, u32>,
}

impl LockFile {
    /// Opens the file in `directory`. The directory is made if it does not exist; it must belong to `owner`, and no
    /// other user may write to it.
    pub fn open(directory: &Path, owner: u32) -> io::Result<Self> {
        Ok(Self {
            directory: directory.to_owned(),
            owner,
            file: open(directory, owner)?,
            held: BTreeMap::new(),
        })
    }

    /// Locks the ids; returns false if a server, this one or another, has one of them.
    pub fn lock(&mut self, ids: &Range<u32>) -> io::Result<bool> {
        self.follow()?;
        let locked = !self.holds(ids) && set(&self.file, libc::F_WRLCK, ids)?;
        if locked {
            self.held.insert(ids.start, ids.end);
        }
        Ok(locked)
    }

    /// Whether this server has one of the ids. The ranges that it has do not overlap.
    fn holds(&self, ids: &Range<u32>) -> bool {
        self.held
            .range(..ids.end)
            .next_back()
            .is_some_and(|(_, end)| *end > ids.start)
    }

    /// Unlocks ids that were locked together.
    pub fn unlock(&mut self, ids: &Range<u32>) {
        self.held.remove(&ids.start);
        if let Err(error) = set(&self.file, libc::F_UNLCK, ids) {
            tracing::warn!(?ids, %error, "ids of a VM that has ended stay locked");
        }
    }

    /// If somebody has removed the file, servers that start later use a new one. Locks this server's ids in the new
    /// file too.
    fn follow(&mut self) -> io::Result<()> {
        let held = self.file.metadata()?;
        match fs::symlink_metadata(self.directory.join(FILE)) {
            Ok(named) if (named.dev(), named.ino()) == (held.dev(), held.ino()) => return Ok(()),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = open(&self.directory, self.owner)?;
        for (&start, &end) in &self.held {
            if !set(&file, libc::F_WRLCK, &(start..end))? {
                tracing::error!(id = start, path = %self.directory.display(), "two servers use one id for a VM: their lock file was removed");
            }
        }
        self.file = file;
        Ok(())
    }
}

fn open(directory: &Path, owner: u32) -> io::Result<File> {
    match DirBuilder::new().mode(DIRECTORY_MODE).create(directory) {
        // A read-only file system may contain it, and reports that first.
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists && !directory.exists() => {
            return Err(error);
        }
        _ => {}
    }
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let directory_fd = File::from(nix::fcntl::open(
        directory,
        flags | OFlag::O_RDONLY,
        Mode::empty(),
    )?);
    let found = directory_fd.metadata()?;
    if found.uid() != owner || found.mode() & 0o022 != 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!(
                "{} must be a directory of user {owner} that nobody else may write to",
                directory.display()
            ),
        ));
    }
    let flags = OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_RDWR | OFlag::O_NONBLOCK;
    let fd: OwnedFd = openat(&directory_fd, FILE, flags, Mode::from_bits_truncate(0o600))?;
    let file = File::from(fd);
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{} must be a file", directory.join(FILE).display()),
        ));
    }
    Ok(file)
}

/// Returns whether the kernel set the lock; false if another process has it.
fn set(file: &File, kind: i32, ids: &Range<u32>) -> io::Result<bool> {
    let lock = libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: libc::off_t::from(ids.start),
        l_len: libc::off_t::from(ids.end - ids.start),
        l_pid: 0,
    };
    match fcntl(file, FcntlArg::F_OFD_SETLK(&lock)) {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Child, Command, Stdio};

    use super::*;

    const CHILD: &str = "AGENT_VM_TEST_LOCKS_IDS_IN";

    fn one(id: u32) -> Range<u32> {
        id..id + 1
    }

    fn here() -> u32 {
        nix::unistd::geteuid().as_raw()
    }

    fn test_directory(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("agent-vm-ids-{name}-{}", std::process::id()))
    }

    /// Another process that locks ten ids from 100 on in the file, until it is killed.
    fn other(directory: &Path) -> Child {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args([
                "--exact",
                "boot::ids::lock_file::tests::locks_in_a_child",
                "--nocapture",
                "--ignored",
            ])
            .env(CHILD, directory)
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child");
        let printed = BufReader::new(child.stdout.take().expect("a pipe"));
        assert!(
            printed
                .lines()
                .any(|line| line.is_ok_and(|line| line.contains("10 ids are locked")))
        );
        child
    }

    #[test]
    #[ignore = "the other process of other tests"]
    #[allow(clippy::print_stdout, reason = "its parent reads it")]
    fn locks_in_a_child() {
        let directory = PathBuf::from(std::env::var_os(CHILD).expect("its directory"));
        let mut file = LockFile::open(&directory, here()).expect("a file");
        let locked = (100..110)
            .filter(|&id| file.lock(&one(id)).expect("a lock"))
            .count();
        println!("{locked} ids are locked");
        loop {
            std::thread::park();
        }
    }

    #[test]
    fn an_id_of_another_process_is_not_free_until_that_has_ended() {
        let directory = test_directory("processes");
        let mut child = other(&directory);
        let mut file = LockFile::open(&directory, here()).expect("a file");
        assert!(!file.lock(&one(105)).expect("an answer"));
        assert!(file.lock(&one(110)).expect("an answer"));
        child.kill().expect("killed");
        child.wait().expect("ended");
        assert!(file.lock(&one(105)).expect("an answer"));
        fs::remove_dir_all(directory).expect("removed");
    }

    #[test]
    fn an_id_is_locked_once_in_a_process_and_free_when_it_is_given_back() {
        let directory = test_directory("once");
        let mut file = LockFile::open(&directory, here()).expect("a file");
        let taken: Vec<bool> = (0..2).map(|_| file.lock(&one(7)).expect("an answer")).collect();
        file.unlock(&one(7));
        assert_eq!(
            (taken, file.lock(&one(7)).expect("an answer")),
            (vec![true, false], true)
        );
        fs::remove_dir_all(directory).expect("removed");
    }

    #[test]
    fn ranges_that_overlap_are_not_held_at_the_same_time() {
        let directory = test_directory("ranges");
        let mut child = other(&directory);
        let mut file = LockFile::open(&directory, here()).expect("a file");
        // The other process has 100 to 109.
        assert!(!file.lock(&(50..101)).expect("an answer"));
        assert!(file.lock(&(50..100)).expect("an answer"));
        for taken in [0..51, 99..100, 60..70, 50..100, 99..120] {
            assert!(!file.lock(&taken).expect("an answer"), "{taken:?}");
        }
        assert!(file.lock(&(110..200)).expect("an answer"));
        file.unlock(&(50..100));
        assert!(file.lock(&(99..100)).expect("an answer"));
        child.kill().expect("killed");
        child.wait().expect("ended");
        fs::remove_dir_all(directory).expect("removed");
    }

    #[test]
    fn ids_are_carried_over_when_the_file_was_removed() {
        let directory = test_directory("removed");
        let mut file = LockFile::open(&directory, here()).expect("a file");
        assert!(file.lock(&one(105)).expect("an answer"));
        fs::remove_dir_all(&directory).expect("removed");
        assert!(file.lock(&one(106)).expect("an answer"));
        let mut other = LockFile::open(&directory, here()).expect("a file");
        assert!(!other.lock(&one(105)).expect("an answer"));
        assert!(!other.lock(&one(106)).expect("an answer"));
        fs::remove_dir_all(directory).expect("removed");
    }

    #[test]
    fn a_directory_that_others_may_write_to_and_a_link_are_refused() {
        let directory = test_directory("refused");
        DirBuilder::new().create(&directory).expect("a directory");
        let mode = |mode| fs::set_permissions(&directory, fs::Permissions::from_mode(mode)).expect("a mode");
        mode(0o777);
        let error = LockFile::open(&directory, here()).expect_err("refused");
        assert!(error.to_string().contains("nobody else may write"), "{error}");
        mode(0o700);
        let error = LockFile::open(&directory, here() + 1).expect_err("refused");
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        let link = test_directory("link");
        std::os::unix::fs::symlink(&directory, &link).expect("a link");
        LockFile::open(&link, here()).expect_err("a link is refused");
        std::os::unix::fs::symlink("/etc/passwd", directory.join(FILE)).expect("a link");
        LockFile::open(&directory, here()).expect_err("a link is refused");
        fs::remove_file(link).expect("removed");
        fs::remove_dir_all(directory).expect("removed");
    }

    use std::os::unix::fs::PermissionsExt;
}
