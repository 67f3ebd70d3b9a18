//! The environment that the processes of a VM start with.

use std::num::NonZero;
use std::path::Path;
use std::thread;

use agent_vm_protocol::message::Isolation;

use super::directories::Rootfs;
use super::options::{Network, Options};
use super::own_paths::SOFTWARE_BINS;
use super::server_node::ServerNode;
use super::{explain, packages};
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

/// A user, as `passwd(5)` describes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The name.
    pub name: String,
    /// The home directory.
    pub home: String,
    /// The login shell, if it is known.
    pub shell: Option<String>,
}

/// The environment of every process of a user: ours, then the caller's.
pub fn environment(options: &Options, rootfs: Option<&Rootfs>, person: &Person) -> Vec<(String, String)> {
    let home = &person.home;
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
    set("USER", &person.name);
    set("LOGNAME", &person.name);
    let has_bash = rootfs.map_or_else(|| Path::new("/bin/bash").exists(), |rootfs| rootfs.has_bash);
    let shell = if has_bash { "/bin/bash" } else { "/bin/sh" };
    set("SHELL", person.shell.as_deref().unwrap_or(shell));
    set("LANG", "C.UTF-8");
    if options.ids.is_some() && rootfs.is_some_and(Rootfs::has_apt) {
        let (name, value) = packages::NO_QUESTIONS;
        set(name, value);
    }
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

/// How many processors a limit of `cpus` can keep busy; the machine may have fewer.
fn whole_processors(cpus: f64) -> usize {
    let most = thread::available_parallelism().map_or(usize::MAX, NonZero::get);
    (cpus.ceil() as usize).clamp(1, most)
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
}
