//! Prints each call that Docker, systemd or Flatpak answer in another way than the filter, with the decision and its reason.
#![allow(dead_code, reason = "the policy and its comparison are shared with tests")]
#![allow(clippy::print_stdout, reason = "it prints a table")]

#[path = "../seccomp/policy/mod.rs"]
mod policy;
#[path = "../seccomp/profiles.rs"]
mod profiles;

fn main() -> Result<(), String> {
    let decisions = profiles::decisions().map_err(|paragraph| format!("no decision: {paragraph}"))?;
    let [docker, systemd, flatpak] = profiles::OTHERS;
    println!(
        "{:24} {:10} {docker:10} {systemd:10} {flatpak:10} reason",
        "call", "agent-vm"
    );
    for difference in profiles::differences() {
        let reason = decisions
            .iter()
            .find(|decision| decision.calls.contains(&difference.call))
            .map_or("NOT DECIDED", |decision| decision.reason);
        let [docker, systemd, flatpak] = difference.others;
        println!(
            "{:24} {:10} {docker:10} {systemd:10} {flatpak:10} {reason}",
            difference.call, difference.ours
        );
    }
    Ok(())
}
