//! How many ids a VM gets, and what it cannot have together with many.

use super::options::{Options, WantedIds};
use super::user::is_root;

/// How many ids a VM has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdCount {
    /// The one of its user.
    One,
    /// 65,536, so that its users are real.
    Block,
    /// That many where the host has them, else one.
    Best,
}

/// What a VM of an ordinary user's server cannot have together with 65,536 ids. Root inside could give files in such a directory to
/// every id of the VM. A root server maps the directory's owner alone, so that the kernel refuses this; an ordinary user may not
/// map the owners of the host's file systems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "ids \"range\" cannot be combined with {0} where the server is an ordinary user: files of several owners would appear on the host"
)]
pub struct NotWithRange(&'static str);

impl NotWithRange {
    fn of(options: &Options, is_root: bool) -> Option<Self> {
        if is_root {
            None
        } else if options.home.is_some() {
            Some(Self("`home`"))
        } else if options
            .mounts
            .iter()
            .any(|mount| !mount.read_only && !mount.software)
        {
            Some(Self("writable `mounts`"))
        } else {
            None
        }
    }
}

impl IdCount {
    /// What a VM with these options gets.
    pub fn of(options: &Options) -> Self {
        match options.ids {
            None | Some(WantedIds::Single) => Self::One,
            Some(WantedIds::Range) => Self::Block,
            Some(WantedIds::Best) if NotWithRange::of(options, is_root()).is_some() => Self::One,
            Some(WantedIds::Best) => Self::Best,
        }
    }

    /// Fails if a range was asked for together with what excludes it.
    pub fn check(options: &Options) -> Result<(), NotWithRange> {
        match (options.ids, NotWithRange::of(options, is_root())) {
            (Some(WantedIds::Range), Some(what)) => Err(what),
            _ => Ok(()),
        }
    }
}
