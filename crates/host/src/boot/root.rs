//! The contents of a VM's root file system, and the initial environment of its processes.
//!
//! The root shows the host's programs read-only: `/usr` and what belongs with it, and the settings and data of
//! installed programs ([`host_files`](super::host_files)). It has its own files where the host's would reveal something
//! about the host.

use std::fs;
use std::io::{self, Read};
use std::num::NonZero;
use std::path::Path;
use std::sync::OnceLock;
use std::thread;

use agent_vm_protocol::message::{BindSource, Isolation, RootEntry};

use super::directories::{Rootfs, depth};
use super::explain;
use super::host_files::{Node, Tree};
use super::options::{Network, Options};
use super::own_paths::{HOME, PRIVATE_DIRECTORIES, PROGRAM_DIRECTORIES, SOFTWARE_BINS, USR};
use super::server_node::ServerNode;
use crate::proxy;

/// Without a network, a package manager that retries only fails later: npm and pnpm after 71 s, uv after 10 s, pip and
/// Yarn (from version 2 on) after 8 s.
const WITHOUT_RETRIES: [(&str, &str); 5] = [
    ("npm_config_fetch_retries", "0"),
    // pip retries at once the first time, and only then prints the cause.
    ("PIP_RETRIES", "1"),
    ("UV_HTTP_RETRIES", "0"),
    ("YARN_HTTP_RETRY", "0"),
    ("CARGO_NET_RETRY", "0"),
];

/// Variables for programs that choose a number of threads without reading the limit in their cgroup: `nproc` and
/// everything that uses OpenMP, Go before 1.25, Python from 3.13 on.
const PROCESSOR_COUNTS: [&str; 3] = ["OMP_NUM_THREADS", "GOMAXPROCS", "PYTHON_CPU_COUNT"];

/// The directory for lock files, in a private directory; `/var/lock` links to it.
const LOCKS: &str = "/run/lock";

const ROOT: &str = "root:x:0:0:root:/root:/usr/sbin/nologin\n";
const USER: &str = "user:x:1000:1000:user:/home/user:/bin/sh\n";
const NOBODY: &str = "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n";
const USER_GROUP: &str = "user:x:1000:\n";
const NSSWITCH: &str = "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nservices: files\nprotocols: files\n\
     rpc: files\nethers: files\nnetworks: files\n";

/// Used if no package of the host owns a table of protocols.
const PROTOCOLS: &str = "ip\t0\tIP\nicmp\t1\tICMP\ntcp\t6\tTCP\nudp\t17\tUDP\n";

/// The domain that git and mail programs append to `user@` by default: without it git refuses to commit.
const MAIL_NAME: &str = "/etc/mailname";

const VAR_LINKS: [(&str, &str); 2] = [("/var/run", "../run"), ("/var/lock", "../run/lock")];

/// Read by an interactive bash that was built to read it, as Debian's is; others keep their short prompt. The prompt is
/// not in the environment, because other shells would print its escapes, and it does not replace an existing one.
const BASHRC: &str = r#"[ "$PS1" = '\s-\v\$ ' ] && PS1='\u@\h:\w\$ '
shopt -s checkwinsize
"#;

/// The entries of the root, in the order in which they are made. `rootfs` is the directory to which they are added,
/// `files` are the settings and data of installed programs, `node` is the server's Node.js, `shown` are host
/// directories.
pub fn entries(
    options: &Options,
    rootfs: Option<&Rootfs>,
    files: Vec<RootEntry>,
    node: Vec<RootEntry>,
    shown: Vec<RootEntry>,
) -> Vec<RootEntry> {
    let mut entries = match rootfs {
        Some(rootfs) => vec![
            file("/etc/passwd", &with_user(&rootfs.passwd, USER)),
            file("/etc/group", &with_user(&rootfs.group, USER_GROUP)),
        ],
        None => host_programs_once().to_vec(),
    };
    entries.extend(files);
    let mut own = names_of_host(options);
    if rootfs.is_some_and(|rootfs| rootfs.has_mailname) {
        own.retain(|(path, _)| *path != MAIL_NAME);
    }
    entries.extend(own.into_iter().map(|(path, content)| match rootfs {
        Some(_) => file(path, &content),
        // The host's files are not writable.
        None => RootEntry::Cover {
            path: path.to_owned(),
            content,
        },
    }));
    if rootfs.is_none() {
        entries.extend(VAR_LINKS.map(|(path, target)| RootEntry::Symlink {
            path: path.to_owned(),
            target: target.to_owned(),
        }));
        entries.extend(node);
        entries.extend(explain::entries(options));
    }
    entries.extend(options.bins.iter().map(|(name, target)| RootEntry::Symlink {
        path: format!("{SOFTWARE_BINS}/{name}"),
        target: target.clone(),
    }));
    let mut last: Vec<_> = PRIVATE_DIRECTORIES
        .iter()
        .filter(|(path, _)| *path != HOME || options.home.is_none())
        .map(|&(path, mode)| RootEntry::Private {
            path: path.to_owned(),
            mode,
            asked: false,
        })
        .chain(locks(options))
        .chain(options.directories.iter().map(|path| RootEntry::Private {
            path: path.clone(),
            mode: 0o755,
            asked: true,
        }))
        .chain(shown)
        .collect();
    // A mount below another one is made after it, so that it is not hidden.
    last.sort_by_key(|entry| depth(entry.path()));
    entries.extend(last);
    entries
}

/// The host's files and directories that a VM may read and execute if it sees them at their own paths.
pub fn readable(options: &Options, files: &Tree) -> Vec<String> {
    let mut paths: Vec<String> = host_programs_once()
        .iter()
        // A link can always be followed; whether its target can be read is a separate question.
        .filter(|entry| matches!(entry, RootEntry::Bind { .. } | RootEntry::File { .. }))
        .map(|entry| entry.path().to_owned())
        .collect();
    paths.extend(files.readable());
    paths.extend(options.node.iter().flat_map(ServerNode::paths));
    paths
}

fn host_programs_once() -> &'static [RootEntry] {
    static HOST: OnceLock<Vec<RootEntry>> = OnceLock::new();
    HOST.get_or_init(host_programs)
}

/// `/usr` and what belongs with it; the host is read once.
fn host_programs() -> Vec<RootEntry> {
    let mut entries = vec![bind(USR)];
    for path in PROGRAM_DIRECTORIES {
        match fs::symlink_metadata(path) {
            Ok(found) if found.is_symlink() => {
                if let Ok(target) = fs::read_link(path) {
                    entries.push(RootEntry::Symlink {
                        path: path.to_owned(),
                        target: target.to_string_lossy().into_owned(),
                    });
                }
            }
            Ok(found) if found.is_dir() => entries.push(bind(path)),
            _ => {}
        }
    }
    entries
}

/// `None` if the caller shows another /run.
fn locks(options: &Options) -> Option<RootEntry> {
    let is_shown = options
        .mounts
        .iter()
        .any(|mount| ["/run", LOCKS].contains(&mount.path.as_str()));
    (!is_shown).then(|| RootEntry::Directory {
        path: LOCKS.to_owned(),
    })
}

fn file(path: &str, content: &str) -> RootEntry {
    RootEntry::File {
        path: path.to_owned(),
        content: content.to_owned(),
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
pub fn own_files(files: &Tree) -> Vec<(String, Node)> {
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

fn bind(path: &str) -> RootEntry {
    RootEntry::Bind {
        path: path.to_owned(),
        source: BindSource::Path(path.to_owned()),
        read_only: true,
    }
}

/// How many processors a limit of `cpus` can keep busy; the machine may have fewer.
fn whole_processors(cpus: f64) -> usize {
    let most = thread::available_parallelism().map_or(usize::MAX, NonZero::get);
    (cpus.ceil() as usize).clamp(1, most)
}

/// The environment of every process: ours, then the caller's.
pub fn environment(options: &Options, rootfs: Option<&Rootfs>, home: &str) -> Vec<(String, String)> {
    let mut env: Vec<(String, String)> = Vec::new();
    let mut set = |name: &str, value: &str| match env.iter_mut().find(|(known, _)| known == name) {
        Some((_, old)) => value.clone_into(old),
        None => env.push((name.to_owned(), value.to_owned())),
    };
    let local = format!("{home}/.local");
    let usual = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let node = match (&options.node, options.isolation) {
        (Some(_), Isolation::Namespaces) if rootfs.is_none() => format!("{}:", ServerNode::path()),
        (Some(node), Isolation::Landlock) => node.own_directory(),
        _ => String::new(),
    };
    let software = if options.bins.is_empty() {
        String::new()
    } else {
        format!("{SOFTWARE_BINS}:")
    };
    let path = format!("{node}{local}/bin:{software}");
    set(
        "PATH",
        &explain::with_path(options, rootfs.is_some(), home, &path, usual),
    );
    set("HOME", home);
    set("USER", "user");
    set("LOGNAME", "user");
    let has_bash = rootfs.map_or_else(|| Path::new("/bin/bash").exists(), |rootfs| rootfs.has_bash);
    set("SHELL", if has_bash { "/bin/bash" } else { "/bin/sh" });
    set("LANG", "C.UTF-8");
    // Git's fallback for an address, for VMs that cannot show an /etc/mailname.
    if options.isolation == Isolation::Landlock {
        set("EMAIL", &format!("user@{}", options.hostname));
    }
    if let Some(processors) = options.resources.cpus.map(whole_processors) {
        for name in PROCESSOR_COUNTS {
            set(name, &processors.to_string());
        }
    }
    if let (Isolation::Landlock, Some(directory)) = (options.isolation, home.strip_suffix("/home")) {
        set("TMPDIR", &format!("{directory}/tmp"));
    }
    // pip installs for the user on its own if it cannot write to its own directories. If a variable told it to, it
    // would fail in virtual environments, which have no such place.
    if options.isolation == Isolation::None {
        set("PIP_USER", "1");
    }
    set("PIP_BREAK_SYSTEM_PACKAGES", "1");
    set("npm_config_prefix", &local);
    match &options.network {
        Network::None => {
            for (name, value) in WITHOUT_RETRIES {
                set(name, value);
            }
        }
        Network::Allow(rules) => {
            for (name, value) in proxy::environment(rules, &options.hostname) {
                set(name, &value);
            }
        }
        Network::Host => {}
    }
    for (name, value) in &options.env {
        set(name, value);
    }
    env
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_processors_is_a_number_that_can_be_busy() {
        let most = thread::available_parallelism().map_or(usize::MAX, NonZero::get);
        assert_eq!(whole_processors(0.1), 1);
        assert_eq!(whole_processors(1.0), 1);
        assert_eq!(whole_processors(1e9), most);
    }

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
