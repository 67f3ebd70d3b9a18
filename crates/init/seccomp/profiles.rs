//! Compares the policy with the profiles of Docker, systemd and Flatpak. For each call on x86-64 that one of them
//! answers differently, `profiles/decisions.txt` has a decision with its reason. Init contains none of this.

use std::collections::BTreeMap;
use std::fmt::{self, Display};

use crate::policy;
use crate::policy::calls::{Call, Machine};
use crate::policy::modes::Modes;

/// What a filter does with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Allowed,
    /// Allowed or refused depending on its arguments.
    Arguments,
    /// Refused, or answered without being carried out.
    Refused,
}

impl Answer {
    fn named(name: &str) -> Option<Self> {
        match name {
            "allowed" => Some(Self::Allowed),
            "arguments" => Some(Self::Arguments),
            "refused" => Some(Self::Refused),
            _ => None,
        }
    }
}

impl Display for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Allowed => "allowed",
            Self::Arguments => "arguments",
            Self::Refused => "refused",
        })
    }
}

/// The profiles, in the order of [`Difference::others`].
pub const OTHERS: [&str; 3] = ["Docker", "systemd", "Flatpak"];

/// A call that the filters do not all answer in the same way.
#[derive(Debug)]
pub struct Difference {
    pub call: &'static str,
    pub ours: Answer,
    pub others: [Answer; 3],
}

/// The reason for the policy's answer to some calls.
#[derive(Debug)]
pub struct Decision {
    pub answer: Answer,
    pub reason: &'static str,
    pub calls: Vec<&'static str>,
}

/// The filter refuses these two before it applies the policy; see `src/seccomp/mod.rs`.
const BEFORE_THE_POLICY: [&str; 2] = ["clone3", "openat2"];

/// The names and numbers of all calls.
pub fn calls() -> Vec<(&'static str, u32)> {
    lines(include_str!("profiles/x86_64.txt"))
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(name, number)| Some((name, number.parse().ok()?)))
        .collect()
}

/// The policy's answer to a call in a VM that shows host directories.
pub fn ours(name: &str, number: u32) -> Answer {
    let machine = Machine::X86_64;
    let table = policy::for_all(Modes::Asked);
    let is_it = |call: &Call| call.number(machine) == Some(number);
    let known = machine.known().iter().any(|range| range.contains(&number));
    if !known
        || BEFORE_THE_POLICY.contains(&name)
        || table.refused.iter().any(|(calls, _)| calls.iter().any(is_it))
    {
        Answer::Refused
    } else if table.checks.iter().any(|check| is_it(&check.call)) {
        Answer::Arguments
    } else {
        Answer::Allowed
    }
}

/// All calls that one of the other profiles answers differently.
pub fn differences() -> Vec<Difference> {
    // Two profiles list the allowed calls, and one the refused ones.
    let others = [
        (
            listed(include_str!("profiles/docker.txt")),
            Answer::Allowed,
            Answer::Refused,
        ),
        (
            listed(include_str!("profiles/systemd.txt")),
            Answer::Allowed,
            Answer::Refused,
        ),
        (
            listed(include_str!("profiles/flatpak.txt")),
            Answer::Refused,
            Answer::Allowed,
        ),
    ];
    let mut found = Vec::new();
    for (call, number) in calls() {
        let ours = ours(call, number);
        let others = [0, 1, 2].map(|at| {
            let (names, if_listed, otherwise) = &others[at];
            match names.get(call) {
                Some(true) => Answer::Arguments,
                Some(false) => *if_listed,
                None => *otherwise,
            }
        });
        if others.iter().any(|other| *other != ours) {
            found.push(Difference { call, ours, others });
        }
    }
    found
}

/// Every decision, or the first paragraph that is not one.
pub fn decisions() -> Result<Vec<Decision>, &'static str> {
    let paragraphs = include_str!("profiles/decisions.txt").split("\n\n");
    paragraphs
        .filter(|paragraph| !paragraph.starts_with('#'))
        .map(|paragraph| {
            let (heading, calls) = paragraph.split_once('\n').ok_or(paragraph)?;
            let (answer, reason) = heading.split_once(": ").ok_or(paragraph)?;
            Ok(Decision {
                answer: Answer::named(answer).ok_or(paragraph)?,
                reason,
                calls: calls.split_whitespace().collect(),
            })
        })
        .collect()
}

/// The names in a profile, and whether the arguments decide.
fn listed(text: &'static str) -> BTreeMap<&'static str, bool> {
    lines(text)
        .map(|line| match line.split_once(' ') {
            Some((name, _arguments)) => (name, true),
            None => (line, false),
        })
        .collect()
}

fn lines(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
}
