//! Kernel settings that forbid user namespaces.

use std::fmt;
use std::fs;

use super::user::is_root;

/// A setting that forbids user namespaces, and the value that would allow them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hindrance {
    /// Its name for `sysctl(8)`.
    pub setting: &'static str,
    /// A value that allows them.
    pub wanted: &'static str,
    value: &'static str,
}

/// A setting, the value that forbids user namespaces, a value that allows them, and whether it applies to root too.
const SETTINGS: [(&str, &str, &str, bool); 3] = [
    ("user.max_user_namespaces", "0", "10000", true),
    ("kernel.unprivileged_userns_clone", "0", "1", false),
    ("kernel.apparmor_restrict_unprivileged_userns", "1", "0", false),
];

impl Hindrance {
    /// The first setting of this host that applies to this process.
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
