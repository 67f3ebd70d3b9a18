//! What the host sees of the ports that a VM's processes listen on.

use std::collections::HashSet;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::holders::holders;
use super::listeners::{Counts, listeners};
use super::port::ListeningPort;
use crate::error::Error;
use crate::process_table::members;

/// How to look at a VM's ports. Looking reads files that other processes can keep locked, so it belongs on a guest thread.
#[derive(Debug)]
pub struct Sight {
    /// The VM's own `/proc`.
    pub proc_fd: Arc<OwnedFd>,
    /// Init's pid there.
    pub init: i32,
    /// The pids there of the processes that work for init.
    pub helpers: Vec<u32>,
    /// Whether that `/proc` contains only the VM's processes.
    pub whole: bool,
    /// Whose network the VM has.
    pub network: NetworkSight,
}

/// Whose network the VM has.
#[derive(Debug, Clone, Copy)]
pub enum NetworkSight {
    /// Its own. The inode is that of the socket on which the host serves the proxy, if there is one.
    Own {
        /// The inode.
        proxy: Option<u64>,
    },
    /// The host's: only what a process of the VM holds is the VM's.
    Host,
}

impl NetworkSight {
    /// Whether it is the VM's own.
    pub fn is_own(self) -> bool {
        matches!(self, Self::Own { .. })
    }
}

impl Sight {
    /// The sockets that the network of the VM counts.
    pub fn counts(&self) -> Option<Counts> {
        Counts::read(&self.proc_fd, self.init).ok()
    }

    /// The ports, sorted, each address of a port once.
    pub fn look(&self) -> Result<Vec<ListeningPort>, Error> {
        let failed = |error: io::Error| Error::system(&error, "open");
        let mut sockets = match listeners(&self.proc_fd, self.init) {
            Ok(sockets) => sockets,
            Err(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => {
                return Err(failed(error));
            }
            // Init is gone.
            Err(_) => return Err(Error::Disposed),
        };
        if let NetworkSight::Own { proxy } = self.network {
            sockets.retain(|socket| Some(socket.inode) != proxy);
        }
        if sockets.is_empty() {
            return Ok(Vec::new());
        }
        let members = members(&self.proc_fd, self.init, &self.helpers, self.whole).map_err(failed)?;
        let members = members.ok_or(Error::Disposed)?;
        let wanted: HashSet<u64> = sockets.iter().map(|socket| socket.inode).collect();
        let holders = holders(&self.proc_fd, &members, wanted).map_err(failed)?;
        let is_own = self.network.is_own();
        if holders.hidden && !is_own {
            return Err(Error::IsolationUnavailable {
                cause: "The kernel does not let the server see which sockets the VM's processes hold, and the VM shares the \
                        host's network"
                    .into(),
                remedy: "Give the server CAP_SYS_PTRACE, or the VM a network of its own".into(),
            });
        }
        let mut ports: Vec<_> = sockets
            .into_iter()
            .filter_map(|socket| {
                let pid = holders.pids.get(&socket.inode).copied();
                (is_own || pid.is_some()).then_some(ListeningPort {
                    port: socket.port,
                    address: socket.address,
                    pid,
                })
            })
            .collect();
        // Several sockets share an address (SO_REUSEPORT): the lowest pid stays, and a known one before an unknown one.
        ports.sort_by_key(|one| (one.port, one.address, one.pid.is_none(), one.pid));
        ports.dedup_by_key(|one| (one.port, one.address));
        Ok(ports)
    }
}
