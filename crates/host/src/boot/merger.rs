//! A process that makes one layer of several.
//!
//! It is a copy of the zygote with ids like those of the VMs whose layers these are, and ends with this process.

use std::time::Duration;

use agent_vm_layers::Layer;
use agent_vm_protocol::message::{MergeLayers, Reply, Request};

use super::error::BootError;
use super::exchange::{await_reply_within, no_room, send, unasked};
use super::launched::Specification;
use super::layers::attach;
use super::options::Options;
use super::user::USER_ID;

/// How long it may take: enough for a hundred GiB.
const DEADLINE: Duration = Duration::from_secs(300);

/// Room for what a copy needs beyond its files.
const MORE_BYTES: u64 = 1 << 20;
const MORE_FILES: u64 = 1024;

/// A new layer that shows what `layers`, the newest first, show together. Nothing may write to them meanwhile. `are_many`: whether
/// the VMs with these options have a range of ids.
pub fn merge<'a>(
    options: &Options,
    are_many: bool,
    layers: impl IntoIterator<Item = &'a Layer> + Clone,
) -> Result<Layer, BootError> {
    let (process, channel, ids) = Specification::of_merger(options, are_many).launch_alone()?;
    let mut fds = Vec::new();
    let attached = attach(layers.clone(), &ids, process.pid, &mut fds)?;
    let (mut bytes, mut files) = (MORE_BYTES, MORE_FILES);
    for layer in layers {
        bytes = bytes.saturating_add(layer.bytes());
        // Each file with several names has one more for a while.
        files = files.saturating_add(layer.files().saturating_mul(2));
    }
    let request = MergeLayers {
        take_id: ids.of_user().map(|_| USER_ID),
        layers: attached.mounts,
        bytes,
        files,
    };
    send(&channel, &Request::MergeLayers(request), fds)?;
    match await_reply_within(&channel, DEADLINE)? {
        (Reply::Merged, fds) => {
            let mount_fd = fds.into_iter().next().ok_or_else(no_room)?;
            Layer::in_memory(mount_fd).map_err(|errno| BootError::Layers(errno.into()))
        }
        _ => Err(unasked()),
    }
}
