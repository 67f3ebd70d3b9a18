//! The server's own Node.js, which the VM shows ([`directories`](super::directories) opens it).

use std::path::{Path, PathBuf};

use super::own_paths::NODE;

/// A Node.js installation of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerNode {
    pub(super) executable: PathBuf,
    pub(super) npm: Option<PathBuf>,
}

impl ServerNode {
    /// The installation that contains `executable` (`process.execPath`), with its npm if it has one.
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

    /// The directory of its commands in the VM.
    #[must_use]
    pub fn path() -> String {
        format!("{NODE}/bin")
    }

    /// Its own directory of commands, as the beginning of a PATH; empty if the usual PATH contains it.
    pub(super) fn own_directory(&self) -> String {
        match self.executable.parent() {
            Some(directory) if !directory.starts_with("/usr") => format!("{}:", directory.display()),
            _ => String::new(),
        }
    }

    /// The paths that must be readable if it is seen at its own path.
    pub(super) fn paths(&self) -> impl Iterator<Item = String> {
        [Some(&self.executable), self.npm.as_ref()]
            .into_iter()
            .flatten()
            .map(|path| path.display().to_string())
    }
}
