//! Commands that people and agents try by habit, and that cannot work in a VM: one script prints in a line what this
//! machine is and what to do instead.
//!
//! On the PATH, its directory comes after those of the VM's user and of `software`, and before the host's programs,
//! whose own messages would be misleading here. The script runs the host's program for what that can do, such as
//! `--version`. If the server has no Node.js to show, `node` is one of the commands. A VM with a `rootfs` has no such
//! commands: the root's own programs report what they lack.

use std::fs::{OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::Path;

use agent_vm_protocol::message::{Isolation, RootEntry};

use super::options::{Options, WantedIds};
use super::own_paths::EXPLAIN;
use super::packages::SUDO;

/// The directory's name below the private directory of a VM without a root of its own.
pub const OWN: &str = "explain";

const SCRIPT_NAME: &str = ".explain";
const SCRIPT: &str = include_str!("explain.sh");

/// The script knows the commands by these names. These are the most frequent ones.
const USUAL: [&str; 7] = ["apt", "apt-get", "sudo", "su", "docker", "systemctl", "service"];

/// Commands of other distributions and tools; only for roots where a name costs no file on a disk.
const OTHERS: [&str; 10] = [
    "aptitude",
    "dnf",
    "yum",
    "zypper",
    "apk",
    "pacman",
    "snap",
    "doas",
    "docker-compose",
    "podman",
];

/// In a VM with a root it runs commands for root.
const SUDO_NAME: &str = "sudo";

/// For a server without Node.js: the host's program of this name is another runtime.
const NODE: &str = "node";

/// The root's entries for the commands.
pub fn entries(options: &Options) -> Vec<RootEntry> {
    let own_sudo = options.ids.is_some_and(|ids| ids != WantedIds::Range);
    let mut entries = vec![
        RootEntry::Script {
            path: format!("{EXPLAIN}/{SCRIPT_NAME}"),
            content: SCRIPT.to_owned(),
        },
        RootEntry::Links {
            path: EXPLAIN.to_owned(),
            names: USUAL
                .iter()
                .chain(&OTHERS)
                .chain(absent(options))
                .filter(|name| **name != SUDO_NAME || !own_sudo)
                .map(|name| (*name).to_owned())
                .collect(),
            target: SCRIPT_NAME.to_owned(),
        },
    ];
    if own_sudo {
        entries.push(RootEntry::Script {
            path: format!("{EXPLAIN}/{SUDO_NAME}"),
            content: SUDO.to_owned(),
        });
    }
    entries
}

/// A command that is explained because it could not be shown.
fn absent(options: &Options) -> Option<&'static &'static str> {
    options.node.is_none().then_some(&NODE)
}

/// Writes the most frequent ones to a host directory, for a VM without a root of its own.
pub fn write(directory: &Path, options: &Options) -> io::Result<()> {
    let script = directory.join(SCRIPT_NAME);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o755)
        .open(script)?;
    file.write_all(SCRIPT.as_bytes())?;
    // Independent of the server's umask.
    file.set_permissions(Permissions::from_mode(0o755))?;
    USUAL
        .iter()
        .chain(absent(options))
        .try_for_each(|name| symlink(SCRIPT_NAME, directory.join(name)))
}

/// The PATH made of `first`, which ends with a colon, the directory of the commands if there are any, and `usual`.
pub fn with_path(options: &Options, has_rootfs: bool, home: &str, first: &str, usual: &str) -> String {
    let directory = match options.isolation {
        Isolation::Namespaces if !has_rootfs => EXPLAIN.to_owned(),
        Isolation::Landlock => format!("{}/{OWN}", home.trim_end_matches("/home")),
        Isolation::Namespaces | Isolation::None => return format!("{first}{usual}"),
    };
    // Programs that the caller mounts among the system's programs have precedence.
    if options
        .mounts
        .iter()
        .any(|mount| !mount.software && mount.path.starts_with("/usr/"))
    {
        format!("{first}{usual}:{directory}")
    } else {
        format!("{first}{directory}:{usual}")
    }
}
