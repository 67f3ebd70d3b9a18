//! Layers, and lists of them.

use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::statfs::fstatfs;

use crate::release;

/// How many layers a list has when some of them are to become one. Each takes time in every look-up of a name, and the kernel takes
/// no more than 500.
pub const TOO_MANY: usize = 33;

/// How many of them become one.
const MERGED: usize = 17;

/// What a file costs to merge beside its bytes, in bytes.
const FILE: u64 = 4096;

/// A file system in memory that no longer changes.
#[derive(Debug)]
pub struct Layer {
    /// `None` only while it is dropped.
    mount_fd: Option<OwnedFd>,
    bytes: u64,
    files: u64,
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
            files: found.files().saturating_sub(found.files_free()),
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

    /// How many files it has, and as many more as their attributes take.
    #[must_use]
    pub fn files(&self) -> u64 {
        self.files
    }
}

/// The layers below a VM, the newest first. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Layers(Arc<[Arc<Layer>]>);

impl Layers {
    /// These layers with a newer one above them.
    #[must_use]
    pub fn below(&self, newest: Layer) -> Self {
        let all = [Arc::new(newest)].into_iter().chain(self.0.iter().cloned());
        Self(all.collect())
    }

    /// If there are too many: the places in this list of those that are to become one. They follow each other, and no others that do
    /// cost less, so that a large layer is rarely copied.
    #[must_use]
    pub fn to_merge(&self) -> Option<Range<usize>> {
        if self.0.len() < TOO_MANY {
            return None;
        }
        let cost = |layers: &[Arc<Layer>]| -> u64 {
            let each = layers
                .iter()
                .map(|layer| layer.bytes.saturating_add(layer.files.saturating_mul(FILE)));
            each.fold(0, u64::saturating_add)
        };
        let windows = self.0.windows(MERGED).enumerate();
        let (first, _) = windows.min_by_key(|(_, layers)| cost(layers))?;
        Some(first..first + MERGED)
    }

    /// Some of them, the newest first.
    pub fn part(&self, places: Range<usize>) -> impl Iterator<Item = &Layer> + Clone {
        self.0
            .get(places)
            .unwrap_or_default()
            .iter()
            .map(|layer| &**layer)
    }

    /// These layers with `merged` in the place of some of them.
    #[must_use]
    pub fn with(&self, merged: Layer, places: &Range<usize>) -> Self {
        let mut all = self.0.to_vec();
        all.splice(places.clone(), [Arc::new(merged)]);
        Self(all.into())
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
        let one = Layers::default().below(layer());
        let two = one.below(layer());
        assert_eq!(one, one.clone());
        assert_eq!(two.iter().count(), 2);
        assert!(one != two);
        assert!(two != one.below(layer()));
    }

    #[test]
    fn the_cheapest_layers_that_follow_each_other_are_merged() {
        let sized = |bytes| {
            let mut layer = layer();
            layer.bytes = bytes;
            layer
        };
        let mut layers = Layers::default().below(sized(1 << 30));
        for number in 1..TOO_MANY {
            assert_eq!(layers.to_merge(), None);
            layers = layers.below(sized(if number == 20 { 1 << 20 } else { 10 }));
        }
        // The newest 12 do not suffice without the large one, and the 19 below that do.
        let places = layers.to_merge().unwrap();
        assert_eq!(places, 13..30);
        assert_eq!(layers.part(places.clone()).map(Layer::bytes).sum::<u64>(), 170);
        let merged = layers.with(sized(170), &places);
        assert_eq!(merged.to_merge(), None);
        let bytes: Vec<_> = merged.iter().map(Layer::bytes).collect();
        assert_eq!(bytes.len(), TOO_MANY - 16);
        assert_eq!(bytes[12..15], [1 << 20, 170, 10]);
        assert_eq!(bytes.last(), Some(&(1 << 30)));
    }
}
