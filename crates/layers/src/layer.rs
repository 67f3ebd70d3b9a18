//! Layers, and lists of them.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::statfs::fstatfs;

use crate::release;

/// The maximum number of layers below one VM. The kernel takes 500, but the text that names them is at most 255 bytes long
/// (`fsconfig(2)`).
pub const MOST_LAYERS: usize = 64;

/// There are as many layers as there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a VM has at most {MOST_LAYERS} layers below it, one for each snapshot that it descends from")]
pub struct TooManyLayers;

/// A file system in memory that no longer changes.
#[derive(Debug)]
pub struct Layer {
    /// `None` only while it is dropped.
    mount_fd: Option<OwnedFd>,
    bytes: u64,
}

impl Drop for Layer {
    fn drop(&mut self) {
        if let Some(mount_fd) = self.mount_fd.take() {
            release::close(mount_fd);
        }
    }
}

impl Layer {
    /// That of a mount that was never attached, to which nothing writes any more.
    ///
    /// # Errors
    /// The kernel's error of `fstatfs(2)`.
    pub fn in_memory(mount_fd: OwnedFd) -> nix::Result<Self> {
        let found = fstatfs(&mount_fd)?;
        let used = found.blocks().saturating_sub(found.blocks_free());
        Ok(Self {
            bytes: used.saturating_mul(found.block_size().unsigned_abs()),
            mount_fd: Some(mount_fd),
        })
    }

    /// Its mount; EBADF while it is dropped.
    ///
    /// # Errors
    /// EBADF.
    pub fn mount(&self) -> nix::Result<BorrowedFd<'_>> {
        self.mount_fd.as_ref().map(AsFd::as_fd).ok_or(Errno::EBADF)
    }

    /// The bytes of memory that its files take.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// The layers below a VM, the newest first. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Layers(Arc<[Arc<Layer>]>);

impl Layers {
    /// These layers with a newer one above them.
    ///
    /// # Errors
    /// [`TooManyLayers`] if there are [`MOST_LAYERS`].
    pub fn below(&self, newest: Layer) -> Result<Self, TooManyLayers> {
        self.require_room()?;
        let all = [Arc::new(newest)].into_iter().chain(self.0.iter().cloned());
        Ok(Self(all.collect()))
    }

    /// Whether there is room for one more.
    ///
    /// # Errors
    /// [`TooManyLayers`] if there are [`MOST_LAYERS`].
    pub fn require_room(&self) -> Result<(), TooManyLayers> {
        if self.0.len() < MOST_LAYERS {
            Ok(())
        } else {
            Err(TooManyLayers)
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each of them, the newest first.
    pub fn iter(&self) -> impl Iterator<Item = &Layer> {
        self.0.iter().map(|layer| &**layer)
    }
}

impl PartialEq for Layers {
    /// Whether they are the same layers.
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len()
            && self
                .0
                .iter()
                .zip(&*other.0)
                .all(|(one, other)| Arc::ptr_eq(one, other))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may end with a panic")]
mod tests {
    use std::fs::File;

    use super::*;

    fn layer() -> Layer {
        Layer::in_memory(File::open("/proc").unwrap().into()).unwrap()
    }

    #[test]
    fn layers_are_equal_if_they_are_the_same() {
        let one = Layers::default().below(layer()).unwrap();
        let two = one.below(layer()).unwrap();
        assert_eq!(one, one.clone());
        assert_eq!(two.iter().count(), 2);
        assert!(one != two);
        assert!(two != one.below(layer()).unwrap());
    }

    #[test]
    fn there_is_a_most() {
        let mut layers = Layers::default();
        for _ in 0..MOST_LAYERS {
            layers = layers.below(layer()).unwrap();
        }
        assert_eq!(layers.below(layer()).unwrap_err(), TooManyLayers);
    }
}
