//! The server's own Node.js, as the VM shows it.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use agent_vm_protocol::message::RootEntry;

use super::directories::{self, DirectoryError};

/// Where it stands inside; its `bin` is first on the PATH.
const PREFIX: &str = "/opt/node";

/// A Node.js installation of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerNode {
    executable: PathBuf,
    npm: Option<PathBuf>,
}

impl ServerNode {
    /// The installation that `executable` (`process.execPath`) belongs to, with its npm if it has one.
    #[must_use]
    pub fn of(executable: &Path) -> Self {
        let prefix = executable.parent().and_then(Path::parent);
        let npm = prefix
            .map(|prefix| prefix.join("lib/node_modules/npm"))
            .into_iter()
            .chain([PathBuf::from("/usr/share/nodejs/npm")])
            .find(|directory| directory.join("bin/npm-cli.js").is_file());
        Self {
            executable: executable.to_owned(),
            npm,
        }
    }

    /// The directory of its commands inside.
    #[must_use]
    pub fn path() -> String {
        format!("{PREFIX}/bin")
    }

    /// Its own directory of commands, as the beginning of a PATH; nothing where the usual PATH has it.
    pub(super) fn own_directory(&self) -> String {
        match self.executable.parent() {
            Some(directory) if !directory.starts_with("/usr") => format!("{}:", directory.display()),
            _ => String::new(),
        }
    }

    /// What of it has to be readable where it is seen at its own place.
    pub(super) fn paths(&self) -> impl Iterator<Item = String> {
        [Some(&self.executable), self.npm.as_ref()]
            .into_iter()
            .flatten()
            .map(|path| path.display().to_string())
    }

    /// What the VM's root holds of it: links where `/usr` has it already, read-only binds otherwise. `id` and `fds` as with
    /// the host's other directories.
    pub(super) fn entries(
        &self,
        id: Option<u32>,
        fds: &mut Vec<OwnedFd>,
    ) -> Result<Vec<RootEntry>, DirectoryError> {
        let mut entries = vec![show(&self.executable, &format!("{PREFIX}/bin/node"), id, fds)?];
        if let Some(npm) = &self.npm {
            entries.push(show(npm, &format!("{PREFIX}/lib/node_modules/npm"), id, fds)?);
            for (command, script) in [("npm", "npm-cli.js"), ("npx", "npx-cli.js")] {
                entries.push(RootEntry::Symlink {
                    path: format!("{PREFIX}/bin/{command}"),
                    target: format!("../lib/node_modules/npm/bin/{script}"),
                });
            }
        }
        Ok(entries)
    }
}

fn show(
    source: &Path,
    path: &str,
    id: Option<u32>,
    fds: &mut Vec<OwnedFd>,
) -> Result<RootEntry, DirectoryError> {
    let path = path.to_owned();
    if source.starts_with("/usr") {
        let target = source.to_string_lossy().into_owned();
        Ok(RootEntry::Symlink { path, target })
    } else {
        Ok(RootEntry::Bind {
            path,
            source: directories::installed(source, id, fds)?,
            read_only: true,
        })
    }
}
