//! The ids that an ordinary user may give to processes of its own: a range of `/etc/subuid` and one of `/etc/subgid`, and the
//! programs that map them (`newuidmap(1)`, `newgidmap(1)`).
//!
//! All VMs of a user have the same range, because most users have no more than one. So they share what the kernel counts by
//! user, as the VMs of an ordinary user always do.

use std::env;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use agent_vm_protocol::message::{Bytes, MapProgram};
use nix::unistd::{AccessFlags, Uid, User, access};

use super::block::LENGTH;
use super::tables::{self, Given};
use crate::boot::user::USER_ID;

/// Where the programs are if PATH does not have them; the last is that of `NixOS`.
const USUAL: &str = "/usr/bin:/bin:/usr/local/bin:/run/wrappers/bin";

/// The name of each map's program and table.
const PARTS: [(&str, &str); 2] = [("newuidmap", "/etc/subuid"), ("newgidmap", "/etc/subgid")];

/// What a user can map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subordinate {
    /// The first uid and the first gid of the range.
    firsts: [u32; 2],
    /// The user's own uid and gid.
    own: [u32; 2],
    programs: [PathBuf; 2],
}

/// Why an ordinary user has no ids beside its own.
#[derive(Debug, thiserror::Error)]
pub enum NoSubordinate {
    /// A table cannot be read.
    #[error("{path} cannot be read")]
    Table {
        /// Its path.
        path: &'static str,
        /// The error.
        source: io::Error,
    },
    /// The programs that map ids know users by name.
    #[error("uid {0} has no name in the host's table of users")]
    Nameless(u32),
    /// `newgidmap` maps no other group.
    #[error("the server runs with another group than the one in its entry of the host's table of users")]
    Group,
    /// A table has no range for the user, or none that is large enough.
    #[error("{table} gives {user} no range of 65,536 ids")]
    NoRange {
        /// Its path.
        table: &'static str,
        /// The user's name.
        user: String,
    },
    /// A program is not installed.
    #[error("{0} is not installed")]
    NoProgram(&'static str),
    /// A program failed.
    #[error("{program} failed: {why}")]
    Refused {
        /// Its name.
        program: &'static str,
        /// What it wrote.
        why: String,
    },
}

impl Subordinate {
    /// What the user with these ids can map.
    pub fn of(uid: u32, gid: u32) -> Result<Self, NoSubordinate> {
        let passwd = "/etc/passwd";
        let table = tables::read(passwd).map_err(|source| NoSubordinate::Table { path: passwd, source })?;
        let (name, own_gid) = match tables::user(&table, uid) {
            Some((name, gid)) => (name.to_vec(), gid),
            // The user of a directory service.
            None => match User::from_uid(Uid::from_raw(uid)) {
                Ok(Some(user)) => (user.name.into_bytes(), user.gid.as_raw()),
                _ => return Err(NoSubordinate::Nameless(uid)),
            },
        };
        let [uids, gids] = tables::subordinate().map_err(|source| NoSubordinate::Table {
            path: PARTS[0].1,
            source,
        })?;
        let mut firsts = [0; 2];
        for ((first, given), (_, table)) in firsts.iter_mut().zip([uids, gids]).zip(PARTS) {
            *first = choose(&given, &name, uid).ok_or_else(|| NoSubordinate::NoRange {
                table,
                user: String::from_utf8_lossy(&name).into_owned(),
            })?;
        }
        let path = env::var_os("PATH").unwrap_or_default();
        let find = |name: &'static str| find(name, &path).ok_or(NoSubordinate::NoProgram(name));
        let programs = [find(PARTS[0].0)?, find(PARTS[1].0)?];
        if own_gid != gid {
            return Err(NoSubordinate::Group);
        }
        Ok(Self {
            firsts,
            own: [uid, gid],
            programs,
        })
    }

    /// The calls that map it: the VM's ids are those of the range, except that its user is the server's user. The id of the
    /// range in that place stays unused, so that files of the range have on disk the ids that other programs give them.
    pub fn programs(&self) -> Vec<MapProgram> {
        let after = USER_ID + 1;
        let parts = self.firsts.iter().zip(self.own).zip(&self.programs);
        parts
            .map(|((first, own), program)| MapProgram {
                path: Bytes::from(program.clone().into_os_string().into_vec()),
                ranges: vec![
                    (0, *first, USER_ID),
                    (USER_ID, own, 1),
                    (after, first + after, LENGTH - after),
                ],
            })
            .collect()
    }

    /// The error for the program with that number.
    pub fn refused(program: u8, why: String) -> NoSubordinate {
        let (program, _) = PARTS[usize::from(program).min(1)];
        NoSubordinate::Refused { program, why }
    }
}

/// The first id of the first large enough range of that user, who is named or numbered in the table.
fn choose(given: &[Given], name: &[u8], uid: u32) -> Option<u32> {
    let number = uid.to_string();
    given
        .iter()
        .filter(|line| line.owner == name || line.owner == number.as_bytes())
        .find(|line| line.ids.end - line.ids.start >= LENGTH)
        .map(|line| line.ids.start)
}

fn find(name: &str, path: &std::ffi::OsStr) -> Option<PathBuf> {
    env::split_paths(path)
        .chain(env::split_paths(USUAL))
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(name))
        .find(|program| Path::is_file(program) && access(program, AccessFlags::X_OK).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(owner: &[u8], start: u32, length: u32) -> Given {
        Given {
            owner: owner.to_vec(),
            ids: start..start + length,
        }
    }

    #[test]
    fn the_first_large_enough_range_is_chosen_by_name_or_by_uid() {
        let table = [
            given(b"bob", 100_000, 65_536),
            given(b"ann", 200_000, 1000),
            given(b"ann", 300_000, 65_536),
            given(b"1001", 400_000, 131_072),
            given(b"b\xff", 600_000, 65_536),
        ];
        assert_eq!(choose(&table, b"ann", 1001), Some(300_000));
        assert_eq!(choose(&table, b"other", 1001), Some(400_000));
        assert_eq!(choose(&table, b"b\xff", 7), Some(600_000));
        assert_eq!(choose(&table, b"an", 100), None);
        assert_eq!(choose(&table[1..2], b"ann", 1001), None);
    }

    #[test]
    fn the_map_has_every_id_once_and_the_server_as_the_user() {
        let subordinate = Subordinate {
            firsts: [100_000, 300_000],
            own: [1234, 5678],
            programs: ["/usr/bin/newuidmap".into(), "/usr/bin/newgidmap".into()],
        };
        let programs = subordinate.programs();
        assert_eq!(programs.len(), 2);
        let (uids, gids) = (&programs[0], &programs[1]);
        assert_eq!(uids.path.as_ref(), b"/usr/bin/newuidmap");
        assert_eq!(
            uids.ranges,
            [(0, 100_000, 1000), (1000, 1234, 1), (1001, 101_001, 64_535)]
        );
        assert_eq!(
            gids.ranges,
            [(0, 300_000, 1000), (1000, 5678, 1), (1001, 301_001, 64_535)]
        );
        let mut next = 0;
        for (inside, _, length) in &uids.ranges {
            assert_eq!(*inside, next);
            next += length;
        }
        assert_eq!(next, LENGTH);
    }
}
