//! The users of a VM with a range of ids: everybody in its tables, and every number.

use std::borrow::Cow;

use agent_vm_protocol::message::{ProgramUser, UserNumbers};

use super::account::{Account, UserError};
use super::directories::Rootfs;
use super::environment::Person;
use super::etc;
use super::options::Options;
use super::tables::{Found, Tables};
use super::user::USER_ID;

/// The shell of a user whose entry names none.
const SHELL: &str = "/bin/sh";

/// The home of a user who has none.
const NO_HOME: &str = "/";

/// The users, by the tables that the VM has when it is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RealUsers {
    tables: Tables,
    /// The home of `user`.
    home: String,
    default: Found,
    /// The variables that the caller has set for every program.
    given: Vec<String>,
}

impl RealUsers {
    /// The users of a VM whose `user` has this home.
    pub fn of(options: &Options, rootfs: Option<&Rootfs>, home: &str) -> Result<Self, UserError> {
        let tables = etc::users(rootfs);
        let name = options.user.as_deref().unwrap_or("user");
        Ok(Self {
            default: find(&tables, name, home)?,
            tables,
            home: home.to_owned(),
            given: options.env.iter().map(|(name, _)| name.clone()).collect(),
        })
    }

    /// The user with that name or number, or the VM's default user, and what its programs get.
    pub fn find(&self, name: Option<&str>) -> Result<(ProgramUser, Cow<'_, Account>), UserError> {
        let mut account = Account::default();
        let Some(name) = name else {
            self.home().clone_into(&mut account.home);
            return Ok((
                ProgramUser::Numbers(self.default.numbers.clone()),
                Cow::Owned(account),
            ));
        };
        let found = find(&self.tables, name, &self.home)?;
        let user = ProgramUser::Numbers(found.numbers.clone());
        if found.numbers.uid != self.default.numbers.uid {
            let home = found.home.as_deref().unwrap_or(NO_HOME);
            let shell = found.shell.as_deref().unwrap_or(SHELL);
            let own = [
                ("HOME", home),
                ("USER", &found.name),
                ("LOGNAME", &found.name),
                ("SHELL", shell),
            ];
            account.env = own
                .into_iter()
                .filter(|(name, _)| !self.given.iter().any(|given| given == name))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect();
        }
        account.home = found.home.unwrap_or_else(|| NO_HOME.to_owned());
        Ok((user, Cow::Owned(account)))
    }

    /// What the kernel knows the VM's default user by.
    pub fn default_numbers(&self) -> UserNumbers {
        self.default.numbers.clone()
    }

    /// The home of the VM's default user.
    pub fn home(&self) -> &str {
        self.default.home.as_deref().unwrap_or(NO_HOME)
    }

    /// The VM's default user.
    pub fn into_default(self) -> Person {
        Person {
            name: self.default.name,
            home: self.default.home.unwrap_or_else(|| NO_HOME.to_owned()),
            shell: self.default.shell,
        }
    }
}

fn find(tables: &Tables, name: &str, home: &str) -> Result<Found, UserError> {
    let mut found = tables
        .find(name)
        .ok_or_else(|| UserError::Unknown(name.to_owned()))?;
    if found.numbers.uid == USER_ID {
        found.home = Some(home.to_owned());
        // As without a range: the best shell that the VM has.
        found.shell = None;
    }
    Ok(found)
}
