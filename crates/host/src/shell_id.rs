//! The names of shells.

use std::fmt;

/// The number of a shell; its public name is `shell-` followed by the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ShellId(u64);

impl ShellId {
    pub(crate) fn new(number: u64) -> Self {
        Self(number)
    }

    /// Parses a public name such as `shell-7`; no other spelling of the number is valid.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let number = name.strip_prefix("shell-")?.parse().ok()?;
        Some(Self(number)).filter(|id| id.to_string() == name)
    }
}

impl fmt::Display for ShellId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "shell-{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_name_that_the_shell_was_given_finds_it() {
        assert_eq!(ShellId::parse("shell-7"), Some(ShellId::new(7)));
        for name in [
            "7", "shell-", "shell-07", "shell-+7", "shell--7", "shell-7 ", "Shell-7",
        ] {
            assert_eq!(ShellId::parse(name), None, "{name}");
        }
    }
}
