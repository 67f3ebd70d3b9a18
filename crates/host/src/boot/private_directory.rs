//! A directory on the host for the files of a VM without a root of its own; removed with the VM.

use std::fs;
use std::io;
use std::os::unix::fs::chown;
use std::path::PathBuf;

/// The directory. Dropping it removes it, which must happen after the end of the VM's last process.
#[derive(Debug)]
pub struct PrivateDirectory {
    path: PathBuf,
    text: String,
}

impl PrivateDirectory {
    /// Makes one below the server's directory for temporary files, with these directories in it. All of them are
    /// accessible only to `owner`, or to the server's user.
    pub fn make(directories: &[&str], owner: Option<u32>) -> io::Result<Self> {
        let template = std::env::temp_dir().join("agent-vm-home-XXXXXX");
        let path = nix::unistd::mkdtemp(&template)?;
        let made = Self {
            text: path.display().to_string(),
            path,
        };
        for name in directories {
            fs::create_dir(made.path.join(name))?;
        }
        if let Some(owner) = owner {
            for name in directories.iter().copied().chain([""]) {
                chown(made.path.join(name), Some(owner), Some(owner))?;
            }
        }
        Ok(made)
    }

    /// Its path.
    pub fn path(&self) -> &str {
        &self.text
    }
}

impl Drop for PrivateDirectory {
    fn drop(&mut self) {
        // Init may have removed it first.
        if let Err(error) = agent_vm_remove_tree::remove_all(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "a VM's directory was left behind");
        }
    }
}
