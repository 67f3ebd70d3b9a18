//! What lets the package manager of a root file system work for a root.

use agent_vm_protocol::message::RootEntry;

use super::directories::Rootfs;
use super::options::{Options, WantedIds};
use super::own_paths::{APT_SETTINGS, DPKG_SETTINGS, ROOTFS_SUDO, SERVICE_POLICY};

/// `sudo` for a caller who is root already.
pub const SUDO: &str = include_str!("sudo.sh");

/// Downloads by another user would fail: there is none.
const APT: (&str, &str) = (APT_SETTINGS, "APT::Sandbox::User \"root\";\n");

/// A VM's files are in memory, and lost with it: waiting for a disk gains nothing.
const DPKG: (&str, &str) = (DPKG_SETTINGS, "force-unsafe-io\n");

/// Packages start no services (`invoke-rc.d(8)`): nothing stops or restarts them here.
const POLICY: (&str, &str) = (SERVICE_POLICY, "#!/bin/sh\nexit 101\n");

/// The files for a VM with this root file system, if it has a root. None takes the place of a file of the root.
pub fn entries(options: &Options, rootfs: &Rootfs) -> Vec<RootEntry> {
    if options.ids.is_none() {
        return Vec::new();
    }
    // With a range of ids, the root's own files have their owners, and its sudo works.
    let is_single = options.ids != Some(WantedIds::Range);
    let mut entries: Vec<_> = rootfs
        .shadows
        .iter()
        .filter(|_| is_single)
        .map(|(path, content)| RootEntry::File {
            path: (*path).to_owned(),
            content: content.clone(),
        })
        .collect();
    for (path, content) in [APT, DPKG] {
        if rootfs.places.contains(&path) {
            entries.push(RootEntry::File {
                path: path.to_owned(),
                content: content.to_owned(),
            });
        }
    }
    for (path, content) in [POLICY, (ROOTFS_SUDO, SUDO)] {
        if rootfs.places.contains(&path) && (is_single || path != ROOTFS_SUDO) {
            entries.push(RootEntry::Script {
                path: path.to_owned(),
                content: content.to_owned(),
            });
        }
    }
    entries
}

/// The variable by which Debian's packages ask nothing.
pub const NO_QUESTIONS: (&str, &str) = ("DEBIAN_FRONTEND", "noninteractive");
