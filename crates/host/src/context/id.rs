//! The names of contexts.

use std::fmt;

/// The number of a context; its public name is `context-` followed by the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContextId(u64);

impl ContextId {
    pub(super) fn new(number: u64) -> Self {
        Self(number)
    }

    /// Parses a public name such as `context-7`; no other spelling of the number is valid.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let number = name.strip_prefix("context-")?.parse().ok()?;
        Some(Self(number)).filter(|id| id.to_string() == name)
    }
}

impl fmt::Display for ContextId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "context-{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_name_that_the_context_was_given_finds_it() {
        assert_eq!(ContextId::parse("context-7"), Some(ContextId::new(7)));
        for name in [
            "7",
            "context-",
            "context-07",
            "context-+7",
            "context--7",
            "context-7 ",
            "Context-7",
        ] {
            assert_eq!(ContextId::parse(name), None, "{name}");
        }
    }
}
