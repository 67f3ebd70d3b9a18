//! The users that programs of a VM can run as, with the home and the variables of each.

use std::borrow::Cow;

use agent_vm_protocol::message::{InnerIds, ProgramUser, UserNumbers};

use super::account::Account;
use super::directories::Rootfs;
use super::environment::{Person, environment};
use super::options::{Options, WantedIds};
use super::own_paths::{HOME, ROOT_HOME};
use super::real_users::RealUsers;
use super::user::GuestIds;

pub use super::account::UserError;

/// The ids that a VM with a root has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ids {
    /// One, which root and `user` share.
    Single,
    /// 65,536, so that all users are real.
    Range,
}

impl Ids {
    /// Its public name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Range => "range",
        }
    }

    /// What init makes for it.
    #[must_use]
    pub fn inner(self) -> InnerIds {
        match self {
            Self::Single => InnerIds::Single,
            Self::Range => InnerIds::Range,
        }
    }
}

/// The ids for a VM with these options, which say what the VM has; `None` if it has no root.
pub fn ids(options: &Options) -> Option<Ids> {
    options.ids.map(|wanted| match wanted {
        WantedIds::Best | WantedIds::Single => Ids::Single,
        WantedIds::Range => Ids::Range,
    })
}

/// The user with that name or number, or user and group numbers with a colon, in a VM without a range of ids.
pub fn named(ids: Option<Ids>, name: &str) -> Result<ProgramUser, UserError> {
    match (name, ids) {
        ("user" | "1000" | "1000:1000", _) => Ok(ProgramUser::User),
        ("root" | "0" | "0:0", Some(_)) => Ok(ProgramUser::Root),
        (_, Some(_)) => Err(UserError::NoOther(name.to_owned())),
        (_, None) => Err(UserError::NoRoot(name.to_owned())),
    }
}

/// The users of a VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Users {
    ids: Option<Ids>,
    default: ProgramUser,
    user: Account,
    root: Account,
    /// In place of these, in a VM with a range of ids.
    real: Option<Box<RealUsers>>,
}

impl Users {
    /// The users of a VM whose `user` has this home.
    pub fn of(options: &Options, rootfs: Option<&Rootfs>, home: &str) -> Result<Self, UserError> {
        let ids = ids(options);
        let mut users = Self {
            ids,
            default: ProgramUser::User,
            user: Account {
                home: home.to_owned(),
                env: Vec::new(),
            },
            root: Account::default(),
            real: None,
        };
        if ids == Some(Ids::Range) {
            users.real = Some(Box::new(RealUsers::of(options, rootfs, home)?));
            return Ok(users);
        }
        if let Some(name) = &options.user {
            users.default = named(ids, name)?;
        }
        if ids.is_some() {
            let root = root(rootfs);
            let of_user = environment(options, rootfs, &user(home));
            let of_root = environment(options, rootfs, &root);
            users.root.home = root.home;
            match users.default {
                ProgramUser::Root => users.user.env = differing(of_user, &of_root),
                _ => users.root.env = differing(of_root, &of_user),
            }
        }
        Ok(users)
    }

    /// The user with that name, or the VM's default user, and what its programs get.
    pub fn find(&self, name: Option<&str>) -> Result<(ProgramUser, Cow<'_, Account>), UserError> {
        if let Some(real) = &self.real {
            return real.find(name);
        }
        let user = match name {
            Some(name) => named(self.ids, name)?,
            None => self.default.clone(),
        };
        let account = Cow::Borrowed(self.account(&user));
        Ok((user, account))
    }

    /// The home of the VM's default user.
    #[must_use]
    pub fn home(&self) -> &str {
        match &self.real {
            Some(real) => real.home(),
            None => &self.account(&self.default).home,
        }
    }

    /// The user that calls about files act as, and the ids of that user on the host, if they are not the server's own. `id` is the host
    /// id of `user` in the same way, and `first` the first of 65,536 leased ids. It is the VM's default user; but threads of an ordinary
    /// user's server can be no other user of a range than `user`, whose id is the server's.
    #[must_use]
    pub fn of_files(&self, id: Option<u32>, first: Option<u32>) -> (ProgramUser, Option<GuestIds>) {
        match (&self.real, first) {
            (Some(real), Some(first)) => {
                let numbers = real.default_numbers();
                let ids = on_host(&numbers, first);
                (ProgramUser::Numbers(numbers), Some(ids))
            }
            (Some(_), None) => (ProgramUser::User, None),
            (None, _) => (self.default.clone(), id.map(GuestIds::same)),
        }
    }

    /// The ids of its root, if it has one.
    #[must_use]
    pub fn ids(&self) -> Option<Ids> {
        self.ids
    }

    fn account(&self, user: &ProgramUser) -> &Account {
        match user {
            ProgramUser::Root => &self.root,
            ProgramUser::User | ProgramUser::Numbers(_) => &self.user,
        }
    }
}

/// The ids on the host of the default user of a VM with these options. `id` is that of `user` if it is not the server's own, and
/// `first` the first of 65,536 leased ids.
pub fn guest_ids(
    options: &Options,
    rootfs: Option<&Rootfs>,
    id: Option<u32>,
    first: Option<u32>,
) -> Result<Option<GuestIds>, UserError> {
    let Some(first) = first else {
        return Ok(id.map(GuestIds::same));
    };
    let default = RealUsers::of(options, rootfs, HOME)?.default_numbers();
    Ok(Some(on_host(&default, first)))
}

/// The VM's default user, whose variables every program gets unless it runs as somebody else.
pub fn default_person(options: &Options, rootfs: Option<&Rootfs>, home: &str) -> Result<Person, UserError> {
    let ids = ids(options);
    let name = options.user.as_deref().unwrap_or("user");
    if ids == Some(Ids::Range) {
        return Ok(RealUsers::of(options, rootfs, home)?.into_default());
    }
    Ok(match named(ids, name)? {
        ProgramUser::Root => root(rootfs),
        _ => user(home),
    })
}

/// The ids on the host of a user of a VM that has 65,536 ids from `first` on.
fn on_host(user: &UserNumbers, first: u32) -> GuestIds {
    GuestIds {
        uid: first + user.uid,
        gid: first + user.gid,
    }
}

fn user(home: &str) -> Person {
    Person {
        name: "user".to_owned(),
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
        name: "root".to_owned(),
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
