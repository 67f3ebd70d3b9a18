//! A VM's view of the file system.

use std::os::fd::OwnedFd;

use agent_vm_protocol::message::{BindSource, Isolation, LandlockFiles, Layers, OwnDisk, RootEntry};
use nix::unistd::{getegid, geteuid};

use super::directories::{self, Rootfs};
use super::error::BootError;
use super::keeper::Guarded;
use super::options::Options;
use super::own_paths::HOME;
use super::private_directory::PrivateDirectory;
use super::users;
use super::{accounts, explain, host_files, root};

/// A VM's view of the file system.
pub struct View {
    /// The host directory that is the root, if there is one.
    pub rootfs: Option<Rootfs>,
    /// Its source for init.
    pub rootfs_source: Option<BindSource>,
    /// The entries that make the root.
    pub root: Vec<RootEntry>,
    /// Where its own files are, if not in memory.
    pub disk: Option<OwnDisk>,
    /// What it begins with.
    pub layers: Layers,
    /// The files that programs may use, if Landlock restricts them.
    pub landlock: Option<LandlockFiles>,
    /// The directories with protected places.
    pub guarded: Vec<Guarded>,
    /// The directory on the host for the VM's files, if it has one.
    pub directory: Option<PrivateDirectory>,
    /// The home of its processes.
    pub home: String,
}

impl View {
    /// The view for `options`; the descriptors that it names are added to `fds`. `id` is the host id of the VM's user
    /// if it is not the server's own, and `first` the first of 65,536 leased ids, if the VM has them.
    pub fn of(
        options: &Options,
        id: Option<u32>,
        first: Option<u32>,
        fds: &mut Vec<OwnedFd>,
    ) -> Result<Self, BootError> {
        let mut view = Self {
            rootfs: None,
            rootfs_source: None,
            root: Vec::new(),
            disk: None,
            layers: Layers::default(),
            landlock: None,
            guarded: Vec::new(),
            directory: None,
            home: HOME.to_owned(),
        };
        match (options.isolation, &options.home) {
            (Isolation::Namespaces, _) => {
                if let Some(path) = &options.rootfs {
                    let (rootfs, opened) = Rootfs::open(path, options.ids.is_some())?;
                    view.rootfs = Some(rootfs);
                    view.rootfs_source = Some(opened.into_source(id, first, fds)?);
                }
                // The default user's, where the VM has real ones.
                let ids = users::guest_ids(options, view.rootfs.as_ref(), id, first)?;
                let node = match &options.node {
                    Some(node) if view.rootfs.is_none() => directories::node_entries(node, ids, fds)?,
                    _ => Vec::new(),
                };
                let files = if view.rootfs.is_none() {
                    host_files::entries(options, fds)?
                } else {
                    Vec::new()
                };
                let shown = directories::entries(options, ids, fds, &mut view.guarded)?;
                view.root = root::entries(options, view.rootfs.as_ref(), files, node, shown);
            }
            (Isolation::Landlock, _) => {
                let directory = PrivateDirectory::make(&["home", "tmp", explain::OWN], id)
                    .map_err(BootError::PrivateDirectory)?;
                view.home = format!("{}/home", directory.path());
                let (uid, gid) = id.map_or_else(|| (geteuid().as_raw(), getegid().as_raw()), |id| (id, id));
                view.landlock = Some(LandlockFiles {
                    directory: directory.path().to_owned(),
                    readable: root::readable(options, &host_files::tree_in_place(&options.host_files)?),
                    replaced: accounts::tables(uid, gid, &view.home),
                    path_offsets: accounts::path_offsets().to_vec(),
                });
                view.directory = Some(directory);
            }
            (Isolation::None, Some(home)) => {
                directories::check_home(home)?;
                view.home = home.display().to_string();
            }
            (Isolation::None, None) => {
                let directory = PrivateDirectory::make(&[], id).map_err(BootError::PrivateDirectory)?;
                directory.path().clone_into(&mut view.home);
                view.directory = Some(directory);
            }
        }
        Ok(view)
    }
}
