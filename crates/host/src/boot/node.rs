//! The server's own Node.js, as the VM shows it.

use std::path::{Path, PathBuf};

use agent_vm_protocol::message::{BindSource, RootEntry};

/// Where it stands inside; its `bin` is first on the PATH.
const PREFIX: &str = "/opt/node";

/// A Node.js installation of the host.
#[derive(Debug, Clone)]
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
            .find(|folder| folder.join("bin/npm-cli.js").is_file());
        Self {
            executable: executable.to_owned(),
            npm,
        }
    }

    /// The folder of its commands inside.
    #[must_use]
    pub fn path() -> String {
        format!("{PREFIX}/bin")
    }

    /// What the VM's root holds of it: links where `/usr` has it already, read-only binds otherwise.
    pub(super) fn entries(&self) -> Vec<RootEntry> {
        let mut entries = vec![show(&self.executable, &format!("{PREFIX}/bin/node"))];
        if let Some(npm) = &self.npm {
            entries.push(show(npm, &format!("{PREFIX}/lib/node_modules/npm")));
            for (command, script) in [("npm", "npm-cli.js"), ("npx", "npx-cli.js")] {
                entries.push(RootEntry::Symlink {
                    path: format!("{PREFIX}/bin/{command}"),
                    target: format!("../lib/node_modules/npm/bin/{script}"),
                });
            }
        }
        entries
    }
}

fn show(source: &Path, path: &str) -> RootEntry {
    let source = source.to_string_lossy().into_owned();
    if source.starts_with("/usr/") {
        RootEntry::Symlink {
            path: path.to_owned(),
            target: source,
        }
    } else {
        RootEntry::Bind {
            path: path.to_owned(),
            source: BindSource::Path(source),
            read_only: true,
        }
    }
}
