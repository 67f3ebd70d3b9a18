//! The paths that a VM provides itself. JavaScript refuses to mount something else there; it gets the lists from here.

/// The user's home, in a VM that has its own root.
pub const HOME: &str = "/home/user";

/// The home of root, in a VM with a root.
pub const ROOT_HOME: &str = "/root";

/// Files that a VM with a root adds to a root file system that lacks them, where it has their directories.
pub const ADDED_FOR_ROOT: [&str; 4] = [APT_SETTINGS, DPKG_SETTINGS, SERVICE_POLICY, ROOTFS_SUDO];

/// Settings of apt.
pub const APT_SETTINGS: &str = "/etc/apt/apt.conf.d/90agent-vm";

/// Settings of dpkg.
pub const DPKG_SETTINGS: &str = "/etc/dpkg/dpkg.cfg.d/90agent-vm";

/// The program that Debian's packages ask whether they may start a service.
pub const SERVICE_POLICY: &str = "/usr/sbin/policy-rc.d";

/// `sudo`.
pub const ROOTFS_SUDO: &str = "/usr/local/bin/sudo";

/// Tables that describe users, beside `passwd` and `group`.
pub const SHADOWS: [&str; 2] = ["/etc/shadow", "/etc/gshadow"];

/// The host's programs, which every VM shows.
pub const USR: &str = "/usr";

/// Directories that are links into `/usr` on merged systems, and separate directories elsewhere.
pub const PROGRAM_DIRECTORIES: [&str; 8] = [
    "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/libo32", "/libexec",
];

/// The kernel's file systems.
pub const KERNEL: [&str; 3] = ["/dev", "/proc", "/sys"];

/// What agent-vm adds.
pub const ADDED: [&str; 2] = [NODE, AGENT_VM];

/// The server's Node.js; its `bin` is first on the PATH.
pub const NODE: &str = "/opt/node";

/// The commands that explain what does not work in a VM.
pub const EXPLAIN: &str = "/opt/node/explain";

/// The software that the VM shows.
pub const AGENT_VM: &str = "/opt/agent-vm";

/// The commands of that software.
pub const SOFTWARE_BINS: &str = "/opt/agent-vm/bin";

/// The packages of that software.
pub const SOFTWARE: &str = "/opt/agent-vm/software";

/// The directories of which the host's settings and data are shown, in addition to the programs.
pub const HOST_FILES: [&str; 4] = ["/etc", "/var/lib", "/var/cache", "/opt"];

/// What exists only while the VM runs.
pub const RUN: &str = "/run";

/// Private writable directories, with their permission bits.
pub const PRIVATE_DIRECTORIES: [(&str, u32); 4] = [
    (HOME, 0o755),
    ("/tmp", 0o1777),
    (RUN, 0o755),
    ("/var/tmp", 0o1777),
];
