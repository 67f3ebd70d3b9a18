//! Each difference from the filters of Docker, systemd and Flatpak has a recorded decision, and the policy matches it.
#![allow(clippy::unwrap_used, reason = "a test may end with a panic")]
#![allow(
    dead_code,
    reason = "the policy and its comparison are shared with an example"
)]

#[path = "../seccomp/policy/mod.rs"]
mod policy;
#[path = "../seccomp/profiles.rs"]
mod profiles;

use std::collections::BTreeMap;

use policy::calls::Machine;
use policy::modes::Modes;

#[test]
fn each_difference_has_one_decision_and_each_decision_is_the_policys() {
    let mut decided = BTreeMap::new();
    for decision in profiles::decisions().unwrap() {
        assert!(
            !decision.reason.is_empty() && !decision.calls.is_empty(),
            "{decision:?}"
        );
        for call in decision.calls {
            assert_eq!(
                decided.insert(call, decision.answer),
                None,
                "{call} is decided twice"
            );
        }
    }
    for difference in profiles::differences() {
        let decision = decided.remove(difference.call);
        assert_eq!(decision, Some(difference.ours), "{difference:?}");
    }
    assert!(decided.is_empty(), "all answer these alike: {decided:?}");
}

#[test]
fn the_policys_names_are_the_kernels() {
    let names: BTreeMap<_, _> = profiles::calls().into_iter().collect();
    let table = policy::for_all(Modes::Asked);
    let refused = table.refused.iter().flat_map(|(calls, _)| calls.iter().copied());
    let checked = table.checks.iter().map(|check| check.call);
    for call in refused.chain(checked) {
        if let Some(number) = call.number(Machine::X86_64) {
            assert_eq!(names.get(call.name), Some(&number), "{}", call.name);
        }
    }
    let known = Machine::X86_64.known();
    for (name, number) in names {
        assert!(known.iter().any(|range| range.contains(&number)), "{name}");
    }
}
