//! How many ids a VM gets, and what it cannot have together with many.

use super::options::{Network, Options, WantedIds};

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

/// What a VM cannot have together with 65,536 ids: with it, files of the host could be changed by programs of several users.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("ids \"range\" cannot be combined with {0} yet")]
pub struct NotWithRange(&'static str);

impl NotWithRange {
    fn of(options: &Options) -> Option<Self> {
        if options.home.is_some() {
            Some(Self("`home`"))
        } else if !options.mounts.is_empty() {
            Some(Self("`mounts` or `software`"))
        } else if matches!(options.network, Network::Host) {
            Some(Self("network \"host\""))
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
            Some(WantedIds::Best) if NotWithRange::of(options).is_some() => Self::One,
            Some(WantedIds::Best) => Self::Best,
        }
    }

    /// Fails if a range was asked for together with what excludes it.
    pub fn check(options: &Options) -> Result<(), NotWithRange> {
        match (options.ids, NotWithRange::of(options)) {
            (Some(WantedIds::Range), Some(what)) => Err(what),
            _ => Ok(()),
        }
    }
}
