//! The paths that a VM provides itself, for the checks of options.

use agent_vm_host::boot::own_paths;
use napi_derive::napi;

/// The paths that a VM provides itself.
#[napi(object)]
pub struct VmPaths {
    /// The user's home.
    pub home: String,
    /// The directories of programs.
    pub programs: Vec<String>,
    /// What the kernel shows.
    pub kernel: Vec<String>,
    /// What agent-vm adds.
    pub added: Vec<String>,
    /// Writable directories, the home among them.
    pub writable: Vec<String>,
    /// The directories of which the host's settings and data are shown.
    pub host_files: Vec<String>,
    /// The packages of the software that the VM shows.
    pub software: String,
}

/// Returns the paths that a VM provides itself. They are the same for all VMs that have their own root.
#[napi]
#[must_use]
#[cfg_attr(
    test,
    allow(dead_code, reason = "exported to JavaScript, but not by a test's binary")
)]
pub fn vm_paths() -> VmPaths {
    let owned = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect();
    VmPaths {
        home: own_paths::HOME.to_owned(),
        programs: owned(&[&[own_paths::USR][..], &own_paths::PROGRAM_DIRECTORIES].concat()),
        kernel: owned(&own_paths::KERNEL),
        added: owned(&own_paths::ADDED),
        writable: owned(&own_paths::PRIVATE_DIRECTORIES.map(|(path, _)| path)),
        host_files: owned(&own_paths::HOST_FILES),
        software: own_paths::SOFTWARE.to_owned(),
    }
}
