//! The VM's own files in `/etc`.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use agent_vm_protocol::message::RootEntry;

use super::directories::Rootfs;
use super::host_files::{Node, ShownTree};
use super::options::{Network, Options, WantedIds};
use super::tables::Tables;

const ROOT: &str = "root:x:0:0:root:/root:/usr/sbin/nologin\n";
/// In a VM with a root.
const LIVING_ROOT: &str = "root:x:0:0:root:/root:/bin/sh\n";
const USER: &str = "user:x:1000:1000:user:/home/user:/bin/sh\n";
/// In a VM whose users are real: no password, and no entry in the table of passwords either, so that sudo serves the user.
const REAL_USER: &str = "user:*:1000:1000:user:/home/user:/bin/sh\n";
const NOBODY: &str = "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n";
const USER_GROUP: &str = "user:x:1000:\n";
const NSSWITCH: &str = "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nservices: files\nprotocols: files\n\
     rpc: files\nethers: files\nnetworks: files\n";

/// Used if no package of the host owns a table of protocols.
const PROTOCOLS: &str = "ip\t0\tIP\nicmp\t1\tICMP\ntcp\t6\tTCP\nudp\t17\tUDP\n";

/// The domain that git and mail programs append to `user@` by default: without it git refuses to commit.
const MAIL_NAME: &str = "/etc/mailname";

/// Read by an interactive bash that was built to read it, as Debian's is; others keep their short prompt. The prompt is
/// not in the environment, because other shells would print its escapes, and it does not replace an existing one.
const BASHRC: &str = r#"[ "$PS1" = '\s-\v\$ ' ] && PS1='\u@\h:\w\$ '
shopt -s checkwinsize
"#;

/// The tables of users and groups of a directory that is the root, with the VM's user in them.
pub fn tables(options: &Options, rootfs: &Rootfs) -> [RootEntry; 2] {
    let user = if options.ids == Some(WantedIds::Range) {
        REAL_USER
    } else {
        USER
    };
    [
        file("/etc/passwd", with_user(&rootfs.passwd, user)),
        file("/etc/group", with_user(&rootfs.group, USER_GROUP)),
    ]
}

/// The tables of users and groups of a VM whose users are real.
pub fn users(rootfs: Option<&Rootfs>) -> Tables {
    match rootfs {
        Some(rootfs) => Tables {
            passwd: with_user(&rootfs.passwd, USER),
            group: with_user(&rootfs.group, USER_GROUP),
        },
        None => Tables {
            passwd: format!("{LIVING_ROOT}{USER}{NOBODY}"),
            group: USER_GROUP.to_owned(),
        },
    }
}

/// The files with the names of the VM and of what it reaches.
pub fn names(options: &Options, rootfs: Option<&Rootfs>) -> Vec<RootEntry> {
    let mut own = names_of_host(options);
    if rootfs.is_some_and(|rootfs| rootfs.has_mailname) {
        own.retain(|(path, _)| *path != MAIL_NAME);
    }
    let entries = own.into_iter().map(|(path, content)| match rootfs {
        Some(_) => file(path, content),
        // The host's files are not writable.
        None => RootEntry::Cover {
            path: path.to_owned(),
            content,
        },
    });
    entries
        .chain(roots_entry(options, rootfs))
        .chain(sudo_rule(options, rootfs))
        .collect()
}

/// Lets `user` use sudo without a password, in a VM whose users are real.
fn sudo_rule(options: &Options, rootfs: Option<&Rootfs>) -> Option<RootEntry> {
    (options.ids == Some(WantedIds::Range) && rootfs.is_some()).then(|| {
        file(
            "/etc/sudoers.d/agent-vm",
            "user ALL=(ALL:ALL) NOPASSWD: ALL\n".to_owned(),
        )
    })
}

/// The table of users of a VM with a root and with the host's programs. With a root file system, root is who is root there.
fn roots_entry(options: &Options, rootfs: Option<&Rootfs>) -> Option<RootEntry> {
    (options.ids.is_some() && rootfs.is_none()).then(|| RootEntry::Cover {
        path: "/etc/passwd".to_owned(),
        content: format!("{LIVING_ROOT}{USER}{NOBODY}"),
    })
}

fn file(path: &str, content: String) -> RootEntry {
    RootEntry::File {
        path: path.to_owned(),
        content,
    }
}

/// The contents of the files with the names of the VM and of what it reaches.
///
/// The host's own `/etc/hosts` and `/etc/resolv.conf` are useful only with the host's network. They are copied when the
/// VM is made: a resolver's file is often replaced, and a mount would keep the old one.
fn names_of_host(options: &Options) -> Vec<(&'static str, String)> {
    let hostname = &options.hostname;
    let mut hosts = format!("127.0.0.1\tlocalhost {hostname}\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    let mut resolvers = String::new();
    if matches!(options.network, Network::Host) {
        let read = |path: &str| read_start(path).unwrap_or_default();
        hosts.push_str(&read("/etc/hosts"));
        resolvers = read("/etc/resolv.conf");
    }
    vec![
        ("/etc/hostname", format!("{hostname}\n")),
        (MAIL_NAME, format!("{hostname}\n")),
        ("/etc/hosts", hosts),
        ("/etc/resolv.conf", resolvers),
    ]
}

/// The complete lines in the first MiB of a file: a list of blocked hosts can be longer than a control message may be.
fn read_start(path: &str) -> io::Result<String> {
    const MOST: u64 = 1024 * 1024;
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(MOST).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == MOST {
        bytes.truncate(
            bytes
                .iter()
                .rposition(|byte| *byte == b'\n')
                .map_or(0, |at| at + 1),
        );
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A table of users or groups, with the VM's user replacing the entry of the same name or id.
fn with_user(table: &str, entry: &str) -> String {
    let is_same = |line: &str| {
        let mut fields = line.split(':');
        fields.next() == Some("user") || fields.nth(1) == Some("1000")
    };
    let others = table.lines().filter(|line| !is_same(line));
    others
        .chain([entry.trim_end()])
        .fold(String::new(), |mut text, line| {
            text.push_str(line);
            text.push('\n');
            text
        })
}

/// Files below `/etc` that the VM has in place of those in `files`, which are the host's. The ones of [`names_of_host`]
/// are empty, because they are covered by mounts.
pub fn own_files(files: &ShownTree) -> Vec<(String, Node)> {
    let mut own: Vec<(&str, Node)> = [
        ("/etc/passwd", format!("{ROOT}{USER}{NOBODY}").as_str()),
        (
            "/etc/group",
            &format!("root:x:0:\ntty:x:5:\n{USER_GROUP}nogroup:x:65534:\n"),
        ),
        ("/etc/nsswitch.conf", NSSWITCH),
        ("/etc/bash.bashrc", BASHRC),
        ("/etc/shells", "/bin/sh\n/bin/bash\n"),
        ("/etc/hostname", ""),
        (MAIL_NAME, ""),
        ("/etc/hosts", ""),
        ("/etc/resolv.conf", ""),
    ]
    .map(|(path, content)| (path, Node::file(content)))
    .into();
    own.push(("/etc/mtab", Node::Link("../proc/self/mounts".to_owned())));
    if !files.shows("/etc/protocols") {
        own.push(("/etc/protocols", Node::file(PROTOCOLS)));
    }
    if !files.shows("/etc/os-release") && Path::new("/usr/lib/os-release").exists() {
        own.push(("/etc/os-release", Node::Link("../usr/lib/os-release".to_owned())));
    }
    own.into_iter()
        .map(|(path, node)| (path.to_owned(), node))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_takes_the_place_of_whoever_has_the_name_or_the_number() {
        let table = "root:x:0:0::/root:/bin/sh\nuser:x:5:5::/:/bin/sh\ndebian:x:1000:1000::/:/bin/sh\nbin:x:2:1000::/:/\n";
        assert_eq!(
            with_user(table, USER),
            format!("root:x:0:0::/root:/bin/sh\nbin:x:2:1000::/:/\n{USER}")
        );
        assert_eq!(with_user("", USER_GROUP), USER_GROUP);
    }
}
