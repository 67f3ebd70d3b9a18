//! Chooses what starts programs and opens files: init, or its deputy.

use crate::deputy::Deputy;
use crate::spawn::Spawner;

/// What starts programs and opens files.
#[derive(Debug)]
pub(super) enum Backend {
    /// Init itself.
    Init(Spawner),
    /// Its deputy, at the level "landlock".
    Deputy(Box<Deputy>),
}

impl Backend {
    /// The deputy, if it has one.
    pub(super) fn deputy(&self) -> Option<&Deputy> {
        match self {
            Self::Init(_) => None,
            Self::Deputy(deputy) => Some(deputy),
        }
    }

    /// The deputy, if it has one.
    pub(super) fn deputy_mut(&mut self) -> Option<&mut Deputy> {
        match self {
            Self::Init(_) => None,
            Self::Deputy(deputy) => Some(deputy),
        }
    }
}
