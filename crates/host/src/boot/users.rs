//! The users that programs of a VM can run as, with the home and the variables of each.

use agent_vm_protocol::message::{InnerIds, ProgramUser};

use super::directories::Rootfs;
use super::environment::{Person, environment};
use super::options::{Options, WantedIds};
use super::own_paths::{HOME, ROOT_HOME};

/// The ids that a VM with a root has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ids {
    /// One, which root and `user` share.
    Single,
}

impl Ids {
    /// Its public name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Single => "single",
        }
    }

    /// What init makes for it.
    #[must_use]
    pub fn inner(self) -> InnerIds {
        match self {
            Self::Single => InnerIds::Single,
        }
    }
}

/// Why programs cannot run as a user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// The VM has no root.
    #[error(
        "user must be \"user\" in a VM that was made without a root, not {0:?}: give `AgentVm.create` the option `user: \"root\"`, or \
         `ids`"
    )]
    NoRoot(String),
    /// The VM has one id.
    #[error(
        "user must be \"root\" or \"user\" in a VM with a single id, not {0:?}: other users are real with `ids: \"range\"` alone"
    )]
    NoOther(String),
    /// This host, or this version, has no range of ids for a VM.
    #[error("ids \"range\" needs 65,536 ids of the host for each VM, which this version does not take yet")]
    NoRange,
}

/// The ids for a VM with these options; `None` if it has no root.
pub fn ids(options: &Options) -> Result<Option<Ids>, UserError> {
    match options.ids {
        None => Ok(None),
        // The best that there is.
        Some(WantedIds::Best | WantedIds::Single) => Ok(Some(Ids::Single)),
        Some(WantedIds::Range) => Err(UserError::NoRange),
    }
}

/// The user with that name or number, or user and group numbers with a colon.
pub fn named(ids: Option<Ids>, name: &str) -> Result<ProgramUser, UserError> {
    match (name, ids) {
        ("user" | "1000" | "1000:1000", _) => Ok(ProgramUser::User),
        ("root" | "0" | "0:0", Some(Ids::Single)) => Ok(ProgramUser::Root),
        (_, Some(Ids::Single)) => Err(UserError::NoOther(name.to_owned())),
        (_, None) => Err(UserError::NoRoot(name.to_owned())),
    }
}

/// What a program of a user gets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// The home, in which it starts.
    pub home: String,
    /// The variables that differ from those of the VM's default user.
    pub env: Vec<(String, String)>,
}

/// The users of a VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Users {
    ids: Option<Ids>,
    default: ProgramUser,
    user: Account,
    root: Account,
}

impl Users {
    /// The users of a VM whose `user` has this home.
    pub fn of(options: &Options, rootfs: Option<&Rootfs>, home: &str) -> Result<Self, UserError> {
        let ids = ids(options)?;
        let default = match &options.user {
            Some(name) => named(ids, name)?,
            None => ProgramUser::User,
        };
        let mut users = Self {
            ids,
            default,
            user: Account {
                home: home.to_owned(),
                env: Vec::new(),
            },
            root: Account::default(),
        };
        if ids.is_some() {
            let root = root(rootfs);
            let of_user = environment(options, rootfs, &user(home));
            let of_root = environment(options, rootfs, &root);
            users.root.home = root.home;
            match default {
                ProgramUser::User => users.root.env = differing(of_root, &of_user),
                ProgramUser::Root => users.user.env = differing(of_user, &of_root),
            }
        }
        Ok(users)
    }

    /// The user with that name, or the VM's default user, and what its programs get.
    pub fn find(&self, name: Option<&str>) -> Result<(ProgramUser, &Account), UserError> {
        let user = match name {
            Some(name) => named(self.ids, name)?,
            None => self.default,
        };
        Ok((user, self.account(user)))
    }

    /// The home of the VM's default user.
    #[must_use]
    pub fn home(&self) -> &str {
        &self.account(self.default).home
    }

    /// The ids of its root, if it has one.
    #[must_use]
    pub fn ids(&self) -> Option<Ids> {
        self.ids
    }

    fn account(&self, user: ProgramUser) -> &Account {
        match user {
            ProgramUser::User => &self.user,
            ProgramUser::Root => &self.root,
        }
    }
}

/// The VM's default user, whose variables every program gets unless it runs as somebody else.
pub fn default_person(options: &Options, rootfs: Option<&Rootfs>, home: &str) -> Result<Person, UserError> {
    let name = options.user.as_deref().unwrap_or("user");
    Ok(match named(ids(options)?, name)? {
        ProgramUser::User => user(home),
        ProgramUser::Root => root(rootfs),
    })
}

fn user(home: &str) -> Person {
    Person {
        name: "user",
        home: home.to_owned(),
        shell: None,
    }
}

/// Root, as a root file system describes it.
fn root(rootfs: Option<&Rootfs>) -> Person {
    let fields = rootfs.and_then(|rootfs| root_entry(&rootfs.passwd));
    let (home, shell) = fields.unwrap_or((ROOT_HOME, ""));
    let may_log_in = shell.starts_with('/') && !shell.ends_with("/nologin") && !shell.ends_with("/false");
    Person {
        name: "root",
        home: if is_home(home) { home } else { ROOT_HOME }.to_owned(),
        shell: may_log_in.then(|| shell.to_owned()),
    }
}

/// A directory of root's own: absolute, and not one of those that the VM makes for others.
fn is_home(path: &str) -> bool {
    path.len() > 1 && path.starts_with('/') && path != HOME
}

/// Home and shell of the first entry with uid 0.
fn root_entry(passwd: &str) -> Option<(&str, &str)> {
    passwd.lines().find_map(|line| {
        let fields: Vec<_> = line.split(':').collect();
        match fields[..] {
            [_, _, "0", _, _, home, shell] => Some((home, shell)),
            _ => None,
        }
    })
}

/// The variables of `env` that `other` lacks or has with another value.
fn differing(env: Vec<(String, String)>, other: &[(String, String)]) -> Vec<(String, String)> {
    env.into_iter().filter(|entry| !other.contains(entry)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_whoever_has_the_number_zero_first() {
        let table =
            "toor:x:00:0::/t:/bin/sh\nbroken:x:0\nadmin:x:0:0::/admin:/bin/ash\nroot:x:0:0::/root:/bin/sh\n";
        assert_eq!(root_entry(table), Some(("/admin", "/bin/ash")));
        assert_eq!(root_entry(""), None);
    }

    #[test]
    fn with_a_single_id_there_are_two_names_and_without_a_root_there_is_one() {
        for name in ["root", "0", "0:0"] {
            assert_eq!(named(Some(Ids::Single), name), Ok(ProgramUser::Root));
            assert_eq!(named(None, name), Err(UserError::NoRoot(name.to_owned())));
        }
        for ids in [None, Some(Ids::Single)] {
            assert_eq!(named(ids, "user"), Ok(ProgramUser::User));
            assert!(named(ids, "postgres").is_err());
            assert!(named(ids, "0:1000").is_err());
        }
    }
}
