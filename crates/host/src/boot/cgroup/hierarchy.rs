//! Finds this process in the host's cgroup hierarchies.
//!
//! A host has the single hierarchy of version 2, or hierarchies of version 1 for the controllers, or both, with each
//! controller in one of them (`cgroups(7)`).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Identifies a hierarchy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hierarchy {
    /// Version 2.
    Unified,
    /// The hierarchy of version 1 with this controller.
    Legacy(&'static str),
}

/// This process's own directory in a hierarchy, if the hierarchy is mounted where this process can see that directory.
pub fn own_directory(hierarchy: Hierarchy) -> io::Result<Option<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let own = fs::read_to_string("/proc/self/cgroup")?;
    Ok(find(&mounts, &own, hierarchy))
}

fn find(mountinfo: &str, own: &str, hierarchy: Hierarchy) -> Option<PathBuf> {
    let own = own.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (number, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let matches = match hierarchy {
            Hierarchy::Unified => number == "0" && controllers.is_empty(),
            Hierarchy::Legacy(controller) => controllers.split(',').any(|name| name == controller),
        };
        matches.then_some(Path::new(path))
    })?;
    mountinfo.lines().find_map(|line| {
        // `proc_pid_mountinfo(5)`: ids and device, root, mount point, options … - type, source, the file system's options.
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(3);
        let (root, point) = (unescape(before.next()?), unescape(before.next()?));
        let mut after = after.split(' ');
        let (kind, options) = (after.next()?, after.nth(1)?);
        let matches = match hierarchy {
            Hierarchy::Unified => kind == "cgroup2",
            Hierarchy::Legacy(controller) => {
                kind == "cgroup" && options.split(',').any(|option| option == controller)
            }
        };
        // A container may see only its own part of the hierarchy; the mount's root is then that part.
        let below = own.strip_prefix(root).ok().filter(|_| matches)?;
        Some(Path::new(&point).join(below))
    })
}

/// Spaces and similar characters are written as three octal digits.
fn unescape(field: &str) -> String {
    let mut parts = field.split('\\');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part
            .get(..3)
            .and_then(|digits| u8::from_str_radix(digits, 8).ok())
        {
            Some(byte) if byte.is_ascii() => {
                text.push(char::from(byte));
                text.push_str(&part[3..]);
            }
            _ => {
                text.push('\\');
                text.push_str(part);
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "30 25 0:26 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro\n\
                          31 30 0:27 / /sys/fs/cgroup/unified rw,nosuid shared:10 - cgroup2 cgroup2 rw\n\
                          32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                          33 30 0:29 /docker/1 /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
    const OWN: &str =
        "4:memory:/docker/1/inner\n3:cpuset:/\n1:cpu,cpuacct:/work\n0::/system.slice/a.service\n";

    fn found(hierarchy: Hierarchy) -> Option<String> {
        find(HYBRID, OWN, hierarchy).map(|path| path.display().to_string())
    }

    #[test]
    fn the_unified_hierarchy_is_found_beside_version_one() {
        assert_eq!(
            found(Hierarchy::Unified).as_deref(),
            Some("/sys/fs/cgroup/unified/system.slice/a.service")
        );
    }

    #[test]
    fn a_controller_is_found_in_a_hierarchy_that_it_shares() {
        assert_eq!(
            found(Hierarchy::Legacy("cpu")).as_deref(),
            Some("/sys/fs/cgroup/cpu,cpuacct/work")
        );
    }

    #[test]
    fn a_container_that_sees_its_own_part_finds_itself_in_it() {
        assert_eq!(
            found(Hierarchy::Legacy("memory")).as_deref(),
            Some("/sys/fs/cgroup/memory/inner")
        );
    }

    #[test]
    fn a_hierarchy_that_is_not_mounted_is_not_found() {
        assert_eq!(found(Hierarchy::Legacy("cpuset")), None);
        assert_eq!(find(HYBRID, "4:memory:/\n", Hierarchy::Unified), None);
    }

    #[test]
    fn a_mount_that_does_not_show_this_process_is_none_of_its() {
        assert_eq!(
            find(HYBRID, "4:memory:/docker/2\n", Hierarchy::Legacy("memory")),
            None
        );
    }

    #[test]
    fn blanks_in_a_mount_point_are_read() {
        assert_eq!(unescape(r"/a\040b\134c"), r"/a b\c");
    }
}
