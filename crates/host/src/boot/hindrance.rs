//! Settings of the kernel that forbid user namespaces.

use std::fmt;
use std::fs;

use super::user::is_root;

/// Such a setting, as it is and as it would have to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hindrance {
    /// Its name for `sysctl(8)`.
    pub setting: &'static str,
    /// The value that would not forbid them.
    pub wanted: &'static str,
    value: &'static str,
}

/// A setting, the value that forbids user namespaces, one that does not, and whether it forbids them to root too.
const SETTINGS: [(&str, &str, &str, bool); 3] = [
    ("user.max_user_namespaces", "0", "10000", true),
    ("kernel.unprivileged_userns_clone", "0", "1", false),
    ("kernel.apparmor_restrict_unprivileged_userns", "1", "0", false),
];

impl Hindrance {
    /// The first of this host that applies to this process.
    #[must_use]
    pub fn find() -> Option<Self> {
        SETTINGS
            .iter()
            .filter(|(_, _, _, also_root)| *also_root || !is_root())
            .find(|(setting, value, _, _)| {
                let path = format!("/proc/sys/{}", setting.replace('.', "/"));
                fs::read_to_string(path).is_ok_and(|text| text.trim() == *value)
            })
            .map(|&(setting, value, wanted, _)| Self {
                setting,
                wanted,
                value,
            })
    }
}

impl fmt::Display for Hindrance {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} is {}", self.setting, self.value)
    }
}
