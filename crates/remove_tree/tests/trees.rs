//! Trees as a hostile process could make them.
#![allow(clippy::unwrap_used, reason = "a test may end with a panic")]

use std::ffi::OsStr;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use agent_vm_remove_tree::{MOST_OPEN, remove_all};
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{Uid, chown, setfsuid};

/// A new directory, removed when the test ends.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("agent-vm-remove-tree-{name}-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // If something is left, the test reports the error.
        drop(fs::remove_dir_all(&self.0));
    }
}

fn deep(top: &Path, name: &str, depth: usize) -> OwnedFd {
    fs::create_dir(top).unwrap();
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut fd = openat(AT_FDCWD, top, flags, Mode::empty()).unwrap();
    for _ in 0..depth {
        mkdirat(&fd, name, Mode::S_IRWXU).unwrap();
        fd = openat(&fd, name, flags, Mode::empty()).unwrap();
    }
    fd
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn a_tree_of_any_depth_goes_at_a_constant_number_of_descriptors() {
    let place = Place::new("deep");
    let top = place.at("top");
    drop(deep(&top, &"x".repeat(200), 20_000));
    let (done, before) = (AtomicBool::new(false), descriptors());
    let most = std::thread::scope(|scope| {
        let counting = scope.spawn(|| {
            let mut most = 0;
            while !done.load(Ordering::Relaxed) {
                most = most.max(descriptors());
            }
            most
        });
        remove_all(&top).unwrap();
        done.store(true, Ordering::Relaxed);
        counting.join().unwrap()
    });
    assert!(!top.exists());
    // Other tests run at the same time, each with as many open directories.
    assert!(most < before + 8 * (MOST_OPEN + 4), "{most} after {before}");
}

#[test]
fn side_branches_all_the_way_down_go_too() {
    let place = Place::new("branches");
    let top = place.at("top");
    let mut path = top.clone();
    for _ in 0..60 {
        fs::create_dir_all(path.join("aside/below")).unwrap();
        fs::write(path.join("aside/below/file"), "x").unwrap();
        fs::create_dir_all(path.join("zside/below")).unwrap();
        fs::write(path.join("file"), "x").unwrap();
        path = path.join("middle");
    }
    remove_all(&top).unwrap();
    assert!(!top.exists());
}

#[test]
fn fifty_thousand_names_and_names_that_are_not_utf8_go() {
    let place = Place::new("wide");
    let top = place.at("top");
    fs::create_dir(&top).unwrap();
    for number in 0..50_000 {
        fs::write(top.join(number.to_string()), "").unwrap();
    }
    let odd = top.join(OsStr::from_bytes(b"caf\xe9"));
    fs::create_dir(&odd).unwrap();
    fs::write(odd.join(OsStr::from_bytes(b"\xff\n\x01")), "x").unwrap();
    remove_all(&top).unwrap();
    assert!(!top.exists());
    remove_all(&top).unwrap();
}

#[test]
fn what_links_lead_to_stays() {
    let place = Place::new("links");
    let (top, kept) = (place.at("top"), place.at("kept"));
    fs::create_dir_all(top.join("below")).unwrap();
    fs::create_dir(&kept).unwrap();
    fs::write(kept.join("file"), "kept").unwrap();
    symlink(&kept, top.join("below/link")).unwrap();
    symlink(&kept, place.at("direct")).unwrap();
    remove_all(&top).unwrap();
    remove_all(&place.at("direct")).unwrap();
    assert!(!top.exists() && !place.at("direct").is_symlink());
    assert_eq!(fs::read(kept.join("file")).unwrap(), b"kept");
}

#[test]
fn directories_that_lock_their_owner_out_go() {
    let place = Place::new("locked");
    if Uid::effective().is_root() {
        chown(&place.0, Some(Uid::from_raw(65_534)), None).unwrap();
    }
    let top = place.at("top");
    std::thread::scope(|scope| {
        scope
            .spawn(|| {
                // Only for this thread: root can open every directory.
                if Uid::effective().is_root() {
                    setfsuid(Uid::from_raw(65_534));
                }
                for mode in [0o0, 0o100, 0o400, 0o500] {
                    fs::create_dir_all(top.join("closed/below/more")).unwrap();
                    fs::write(top.join("closed/below/file"), "x").unwrap();
                    for name in ["closed/below", "closed", "."] {
                        fs::set_permissions(top.join(name), PermissionsExt::from_mode(mode)).unwrap();
                    }
                    remove_all(&top).unwrap();
                    assert!(!top.exists());
                }
            })
            .join()
            .unwrap();
    });
}

#[test]
fn directories_that_are_moved_out_meanwhile_lead_nowhere_else() {
    let place = Place::new("moved");
    let (top, kept) = (place.at("top"), place.at("kept"));
    fs::create_dir(&kept).unwrap();
    fs::write(kept.join("file"), "kept").unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // A deep directory is moved outside, beside the kept file, and back.
            let (inside, outside) = (top.join(["d"; 30].join("/")), kept.join("moved"));
            while !done.load(Ordering::Relaxed) {
                if fs::rename(&inside, &outside).is_ok() {
                    drop(fs::rename(&outside, top.join("d")).or_else(|_| fs::rename(&outside, &inside)));
                }
            }
        });
        for _ in 0..50 {
            drop(fs::create_dir_all(top.join(["d"; 60].join("/"))));
            // The tree may change faster than it is removed.
            drop(remove_all(&top));
            drop(remove_all(&kept.join("moved")));
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(fs::read(kept.join("file")).unwrap(), b"kept");
}

#[test]
fn a_path_that_ends_in_dots_or_in_a_slash_behind_a_link_removes_nothing() {
    let place = Place::new("last-names");
    let top = place.at("top");
    fs::create_dir_all(top.join("sub")).unwrap();
    fs::write(top.join("file"), "kept").unwrap();
    symlink("top", place.at("link")).unwrap();
    let kept = || {
        assert_eq!(fs::read(top.join("file")).unwrap(), b"kept");
        assert!(top.join("sub").is_dir() && place.at("link").is_symlink());
    };
    for (name, errno) in [
        ("top/.", libc::EINVAL),
        ("top/./", libc::EINVAL),
        ("top/..", libc::EINVAL),
        ("top/sub/..", libc::EINVAL),
        ("link/.", libc::EINVAL),
        ("link/sub/..", libc::EINVAL),
        ("link/", libc::ENOTDIR),
        ("link//", libc::ENOTDIR),
        ("top/file/", libc::ENOTDIR),
    ] {
        let error = remove_all(&PathBuf::from(format!("{}/{name}", place.0.display()))).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(errno), "{name}");
        kept();
    }
    remove_all(&place.at("link")).unwrap();
    assert!(top.join("file").exists());
    remove_all(&PathBuf::from(format!("{}//", top.display()))).unwrap();
    assert!(!top.exists());
}
