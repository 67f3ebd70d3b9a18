//! Commands that people and agents try by habit, and that cannot work in a VM: one script says in a line what this machine is
//! and what to do instead.
//!
//! Its directory is on the PATH behind what the VM's user and `software` bring, and before the host's programs, which fail
//! here with messages that lead astray. The script runs a program of the host for what it can do, such as `--version`.
//! `node` is among them where the server has no Node.js to show.
//! A VM with a `rootfs` has no such commands: what that root lacks, and what it says, is the root's own matter.

use std::fs::{OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::Path;

use agent_vm_protocol::message::{Isolation, RootEntry};

use super::options::Options;

/// Where the commands are inside.
const DIRECTORY: &str = "/opt/node/explain";

/// The directory's name below the private directory of a VM without a root of its own.
pub const OWN: &str = "explain";

const SCRIPT_NAME: &str = ".explain";
const SCRIPT: &str = include_str!("explain.sh");

/// The script decides by these names. Those that are tried most.
const USUAL: [&str; 7] = ["apt", "apt-get", "sudo", "su", "docker", "systemctl", "service"];

/// Those of other distributions and tools, where a name costs no file on a disk.
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

/// Where the server has no Node.js: what goes by this name on the host is another runtime.
const NODE: &str = "node";

/// What the root holds of them.
pub fn entries(options: &Options) -> [RootEntry; 2] {
    [
        RootEntry::Script {
            path: format!("{DIRECTORY}/{SCRIPT_NAME}"),
            content: SCRIPT.to_owned(),
        },
        RootEntry::Links {
            path: DIRECTORY.to_owned(),
            names: USUAL
                .iter()
                .chain(&OTHERS)
                .chain(absent(options))
                .map(|name| (*name).to_owned())
                .collect(),
            target: SCRIPT_NAME.to_owned(),
        },
    ]
}

/// What is explained because it could not be shown.
fn absent(options: &Options) -> Option<&'static &'static str> {
    options.node.is_none().then_some(&NODE)
}

/// Writes the usual ones into a directory of the host that a VM without a root of its own sees at its place.
pub fn write(directory: &Path, options: &Options) -> io::Result<()> {
    let script = directory.join(SCRIPT_NAME);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o755)
        .open(script)?;
    file.write_all(SCRIPT.as_bytes())?;
    // Whatever the server's umask is.
    file.set_permissions(Permissions::from_mode(0o755))?;
    USUAL
        .iter()
        .chain(absent(options))
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
