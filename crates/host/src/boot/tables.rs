//! The users of a VM in which they are real, by the tables of users and groups that the VM has when it is made.
//!
//! Programs of the VM write these tables later, and the host reads them no more: users that were added meanwhile have numbers.

use agent_vm_protocol::message::UserNumbers;

/// More than this no user gets.
const MOST_GROUPS: usize = 256;

/// The highest id of a VM, which no user may have: it stands for "no change" in 16 bits.
const HIGHEST: u32 = 65_534;

/// The tables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tables {
    /// `passwd(5)`.
    pub passwd: String,
    /// `group(5)`.
    pub group: String,
}

/// A user who was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The name, or the number if the user has none.
    pub name: String,
    /// What the kernel knows the user by.
    pub numbers: UserNumbers,
    /// The home, if there is one.
    pub home: Option<String>,
    /// The shell, if the user may log in.
    pub shell: Option<String>,
}

impl Tables {
    /// The user with that name, that number, or those numbers of user and group with a colon.
    pub fn find(&self, wanted: &str) -> Option<Found> {
        if let Some((uid, gid)) = wanted.split_once(':') {
            let (uid, gid) = (number(uid)?, number(gid)?);
            let named = self.entry(|entry| entry.uid == uid);
            return Some(Found {
                name: named
                    .as_ref()
                    .map_or_else(|| uid.to_string(), |entry| entry.name.to_owned()),
                numbers: UserNumbers {
                    uid,
                    gid,
                    groups: Vec::new(),
                },
                home: named.as_ref().and_then(Entry::home),
                shell: named.as_ref().and_then(Entry::shell),
            });
        }
        let uid = number(wanted);
        let entry = match uid {
            Some(uid) => self.entry(|entry| entry.uid == uid),
            None => self.entry(|entry| entry.name == wanted),
        };
        match (entry, uid) {
            (Some(entry), _) => Some(Found {
                name: entry.name.to_owned(),
                numbers: UserNumbers {
                    uid: entry.uid,
                    gid: entry.gid,
                    groups: self.groups(entry.name),
                },
                home: entry.home(),
                shell: entry.shell(),
            }),
            (None, Some(uid)) => Some(Found {
                name: uid.to_string(),
                numbers: UserNumbers {
                    uid,
                    gid: uid,
                    groups: Vec::new(),
                },
                home: None,
                shell: None,
            }),
            (None, None) => None,
        }
    }

    fn entry(&self, is_it: impl Fn(&Entry<'_>) -> bool) -> Option<Entry<'_>> {
        self.passwd.lines().filter_map(Entry::parse).find(is_it)
    }

    /// The groups that list the user as a member.
    fn groups(&self, name: &str) -> Vec<u32> {
        let member_of = |line: &str| {
            let fields: Vec<_> = line.splitn(4, ':').collect();
            let [_, _, gid, members] = fields[..] else {
                return None;
            };
            members
                .split(',')
                .any(|member| member == name)
                .then(|| number(gid))?
        };
        self.group
            .lines()
            .filter_map(member_of)
            .take(MOST_GROUPS)
            .collect()
    }
}

struct Entry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
    shell: &'a str,
}

impl<'a> Entry<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let fields: Vec<_> = line.splitn(7, ':').collect();
        let [name, _, uid, gid, _, home, shell] = fields[..] else {
            return None;
        };
        let (uid, gid) = (number(uid)?, number(gid)?);
        (!name.is_empty()).then_some(Self {
            name,
            uid,
            gid,
            home,
            shell,
        })
    }

    fn home(&self) -> Option<String> {
        self.home.starts_with('/').then(|| self.home.to_owned())
    }

    fn shell(&self) -> Option<String> {
        let may_log_in = self.shell.starts_with('/')
            && !self.shell.ends_with("/nologin")
            && !self.shell.ends_with("/false");
        may_log_in.then(|| self.shell.to_owned())
    }
}

/// An id of a VM.
fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let id = digits.then(|| text.parse().ok())??;
    (id <= HIGHEST).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables() -> Tables {
        Tables {
            passwd: "root:x:0:0:root:/root:/bin/sh\nbroken:x:7\nwww:x:33:33:,,,:/var/www:/usr/sbin/nologin\n\
                     high:x:70000:5::/:/bin/sh\n:x:9:9::/:/bin/sh\n"
                .into(),
            group: "www:x:33:\nssl:x:106:a,www,b\nbad:x:x:www\ntoo:x:1:wwww\n".into(),
        }
    }

    #[test]
    fn users_are_found_by_name_and_by_number_with_their_groups() {
        for wanted in ["www", "33"] {
            let found = tables().find(wanted).expect("a user");
            assert_eq!(
                (found.name.as_str(), found.numbers.uid, found.numbers.gid),
                ("www", 33, 33)
            );
            assert_eq!(found.numbers.groups, [106]);
            assert_eq!((found.home.as_deref(), found.shell), (Some("/var/www"), None));
        }
        assert_eq!(
            tables().find("root").expect("root").shell.as_deref(),
            Some("/bin/sh")
        );
    }

    #[test]
    fn numbers_need_no_entry_and_names_do() {
        let found = tables().find("1234:5").expect("a user");
        assert_eq!(
            (found.numbers.uid, found.numbers.gid, found.home),
            (1234, 5, None)
        );
        assert_eq!(tables().find("1234").expect("a user").numbers.gid, 1234);
        for wanted in [
            "",
            "nobody",
            "high",
            "65535",
            "70000",
            "-1",
            "+1",
            "1:",
            ":1",
            "1:x",
            "4294967295",
            "0x1",
        ] {
            assert_eq!(tables().find(wanted), None, "{wanted}");
        }
    }
}
