//! The VM's `/sys`: what programs ask about the processors, and nothing else of the host.
//!
//! It is a tmpfs of plain files, never the kernel's sysfs. Its content is the same for all VMs of a server, so a
//! process that becomes no VM makes it once ([`describe`]), and each VM mounts it read-only ([`show`]).

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use agent_vm_mount::{attach_mount, attr, clone_mount, new_mount, restrict_mount};
use agent_vm_protocol::message::{BootStep, Hardware};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::linkat;

use super::error::{At, BootError};
use super::place::{directory, new_file, open_path};
use crate::control::Attachments;

/// Directories that programs list: `lsblk` lists the last ones, which are empty.
const DIRECTORIES: [&str; 5] = ["fs/cgroup", "block", "bus", "class/block", "dev/block"];

const PROCESSORS: &str = "devices/system/cpu";
const PROCESSOR_FILES: [&str; 5] = ["kernel_max", "offline", "online", "possible", "present"];
const TOPOLOGY_FILES: [&str; 24] = [
    "book_id",
    "book_siblings",
    "book_siblings_list",
    "cluster_cpus",
    "cluster_cpus_list",
    "cluster_id",
    "core_cpus",
    "core_cpus_list",
    "core_id",
    "core_siblings",
    "core_siblings_list",
    "die_cpus",
    "die_cpus_list",
    "die_id",
    "drawer_id",
    "drawer_siblings",
    "drawer_siblings_list",
    "package_cpus",
    "package_cpus_list",
    "physical_package_id",
    "polarization",
    "thread_siblings",
    "thread_siblings_list",
    "address",
];
const CACHE_FILES: [&str; 10] = [
    "coherency_line_size",
    "id",
    "level",
    "number_of_sets",
    "physical_line_partition",
    "shared_cpu_list",
    "shared_cpu_map",
    "size",
    "type",
    "ways_of_associativity",
];

const NODES: &str = "devices/system/node";
const NODES_FILES: [&str; 5] = ["has_cpu", "has_memory", "has_normal_memory", "online", "possible"];
const NODE_FILES: [&str; 3] = ["cpulist", "cpumap", "distance"];

/// The maximum number of processors, of nodes, and of caches of one processor. Files with equal content are hard links,
/// so each costs little.
const PROCESSOR_BOUND: usize = 1024;
const NODE_BOUND: usize = 128;
const CACHE_BOUND: usize = 16;
/// A file of sysfs is at most a page.
const FILE_BOUND: usize = 4096;

const OPTIONS: [(&CStr, &CStr); 3] = [(c"mode", c"0755"), (c"size", c"64m"), (c"nr_inodes", c"65536")];
const ATTRIBUTES: u64 = attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC;

/// How many VMs one description serves if each VM needs a mount that has never been attached.
const COPIES: usize = 8;

/// Makes the description: one mount that VMs can clone, or several mounts, one for each VM.
pub fn describe(directories: &[String]) -> Result<(bool, Vec<OwnedFd>), BootError> {
    let mount_fd = new_mount(c"tmpfs", &OPTIONS, attr::NOSUID | attr::NODEV | attr::NOEXEC)
        .at(BootStep::DescribeProcessors)?;
    Description {
        root_fd: &mount_fd,
        files: HashMap::new(),
    }
    .make(directories)
    .at(BootStep::DescribeProcessors)?;
    restrict_mount(mount_fd.as_fd(), ATTRIBUTES, false).at(BootStep::DescribeProcessors)?;
    // Possible since Linux 6.15.
    if clone_mount(mount_fd.as_fd(), c"", false).is_ok() {
        return Ok((true, vec![mount_fd]));
    }
    let place_fd = open_path(AT_FDCWD, c"/proc").at(BootStep::DescribeProcessors)?;
    attach_mount(&mount_fd, &place_fd).at(BootStep::DescribeProcessors)?;
    let copies = (0..COPIES).map(|_| clone_mount(mount_fd.as_fd(), c"", false));
    Ok((
        false,
        copies
            .collect::<Result<_, _>>()
            .at(BootStep::DescribeProcessors)?,
    ))
}

/// Mounts the description as the VM's `/sys`.
pub fn show(root_fd: &OwnedFd, hardware: Hardware, attachments: &mut Attachments) -> Result<(), BootError> {
    let attached_fd = attachments
        .take(hardware.mount)
        .ok_or(Errno::EBADF)
        .at(BootStep::MountSys)?;
    let mount_fd = if hardware.can_clone {
        clone_mount(attached_fd.as_fd(), c"", false).at(BootStep::MountSys)?
    } else {
        attached_fd
    };
    restrict_mount(mount_fd.as_fd(), ATTRIBUTES, false).at(BootStep::MountSys)?;
    let place_fd = directory(root_fd.as_fd(), c"sys").at(BootStep::MakeSys)?;
    attach_mount(&mount_fd, &place_fd).at(BootStep::AttachSys)
}

struct Description<'a> {
    root_fd: &'a OwnedFd,
    /// The path of the file with each content.
    files: HashMap<Vec<u8>, CString>,
}

impl Description<'_> {
    fn make(mut self, directories: &[String]) -> Result<(), Errno> {
        for path in DIRECTORIES
            .into_iter()
            .chain(directories.iter().map(String::as_str))
        {
            self.make_directories(path)?;
        }
        self.make_directories(PROCESSORS)?;
        self.copy(PROCESSORS, &PROCESSOR_FILES)?;
        for processor in numbered(PROCESSORS, "cpu", PROCESSOR_BOUND) {
            self.make_directories(&processor)?;
            let topology = format!("{processor}/topology");
            self.make_directories(&topology)?;
            self.copy(&topology, &TOPOLOGY_FILES)?;
            let caches = format!("{processor}/cache");
            for cache in numbered(&caches, "index", CACHE_BOUND) {
                self.make_directories(&cache)?;
                self.copy(&cache, &CACHE_FILES)?;
            }
        }
        self.make_directories(NODES)?;
        self.copy(NODES, &NODES_FILES)?;
        for node in numbered(NODES, "node", NODE_BOUND) {
            self.make_directories(&node)?;
            self.copy(&node, &NODE_FILES)?;
        }
        Ok(())
    }

    fn make_directories(&self, path: &str) -> Result<(), Errno> {
        let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
        for end in ends {
            match mkdirat(self.root_fd, &path[..end], Mode::from_bits_truncate(0o755)) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    /// Copies the listed files from the directory `path` of the host's sysfs, if they exist and all users may read
    /// them.
    fn copy(&mut self, path: &str, names: &[&str]) -> Result<(), Errno> {
        for name in names {
            let Ok(content) = fs::read(Path::new("/sys").join(path).join(name)) else {
                continue;
            };
            if content.len() > FILE_BOUND {
                continue;
            }
            let file = CString::new(format!("{path}/{name}")).map_err(|_| Errno::EINVAL)?;
            if let Some(equal) = self.files.get(&content) {
                linkat(self.root_fd, &**equal, self.root_fd, &*file, AtFlags::empty())?;
                continue;
            }
            let mode = Mode::from_bits_truncate(0o444);
            new_file(self.root_fd.as_fd(), &file, &content, mode)?;
            self.files.insert(content, file);
        }
        Ok(())
    }
}

/// The directories in `path` of the host's sysfs whose names are `name` and a number: the lowest numbers first, at most
/// `bound`.
fn numbered(path: &str, name: &str, bound: usize) -> Vec<String> {
    let number = |entry: fs::DirEntry| {
        entry
            .file_name()
            .to_str()?
            .strip_prefix(name)?
            .parse::<usize>()
            .ok()
    };
    let mut numbers: Vec<usize> = fs::read_dir(Path::new("/sys").join(path))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(number)
        .collect();
    numbers.sort_unstable();
    numbers.truncate(bound);
    numbers
        .into_iter()
        .map(|number| format!("{path}/{name}{number}"))
        .collect()
}
