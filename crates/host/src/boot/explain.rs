//! Commands that people and agents try by habit, and that cannot work in a VM: one script says in a line what this machine is
//! and what to do instead.
//!
//! Its directory is on the PATH behind what the VM's user and `software` bring, and before the host's programs, which fail
//! here with messages that lead astray. The script runs a program of the host for what it can do, such as `--version`.
//! A VM with a `rootfs` has no such commands: what that root lacks, and what it says, is the root's own matter.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use agent_vm_protocol::message::RootEntry;

use super::{Isolation, Options};

/// Where the commands are inside.
const DIRECTORY: &str = "/opt/node/explain";

/// The directory's name below the private directory of a VM without a root of its own.
pub const OWN: &str = "explain";

const SCRIPT_NAME: &str = ".explain";
const SCRIPT: &str = include_str!("explain.sh");

/// The script decides by these names.
const NAMES: [&str; 17] = [
    "apt",
    "apt-get",
    "aptitude",
    "dnf",
    "yum",
    "zypper",
    "apk",
    "pacman",
    "snap",
    "sudo",
    "su",
    "doas",
    "docker",
    "docker-compose",
    "podman",
    "systemctl",
    "service",
];

/// What the root holds of them.
pub fn entries() -> [RootEntry; 2] {
    [
        RootEntry::Script {
            path: format!("{DIRECTORY}/{SCRIPT_NAME}"),
            content: SCRIPT.to_owned(),
        },
        RootEntry::Links {
            path: DIRECTORY.to_owned(),
            names: NAMES.map(str::to_owned).into(),
            target: SCRIPT_NAME.to_owned(),
        },
    ]
}

/// Writes them into a directory of the host that a VM without a root of its own sees at its place.
pub fn write(directory: &Path) -> io::Result<()> {
    let script = directory.join(SCRIPT_NAME);
    fs::write(&script, SCRIPT)?;
    fs::set_permissions(&script, Permissions::from_mode(0o755))?;
    NAMES
        .iter()
        .try_for_each(|name| symlink(SCRIPT_NAME, directory.join(name)))
}

/// The PATH of `first`, which ends with a colon, and `usual`, with the directory of the commands where they are.
pub fn with_path(options: &Options, has_rootfs: bool, home: &str, first: &str, usual: &str) -> String {
    let directory = match options.isolation {
        Isolation::Namespaces if !has_rootfs => DIRECTORY.to_owned(),
        Isolation::Landlock => format!("{}/{OWN}", home.trim_end_matches("/home")),
        Isolation::Namespaces | Isolation::None => return format!("{first}{usual}"),
    };
    // What the VM's owner shows among the system's programs comes first.
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
