//! Chooses what starts programs and opens files: init, or its deputy.

use agent_vm_protocol::message::ProgramUser;

use crate::deputy::Deputy;
use crate::spawn::{Spawner, UserChange};

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

    /// How a copy of init becomes `user`; `None` if it is that already.
    pub(super) fn way_to_become<'a>(&'a self, user: &'a ProgramUser) -> Option<UserChange<'a>> {
        match self {
            Self::Init(spawner) => spawner.way_to_become(user),
            Self::Deputy(_) => None,
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
