//! Finds the descendants of processes.

use std::collections::{BTreeSet, HashMap};

use libc::pid_t;

/// The pids in `roots` and of all their descendants. `processes` are pids with their parents' pids.
pub fn descendants(
    processes: impl IntoIterator<Item = (pid_t, pid_t)>,
    roots: BTreeSet<pid_t>,
) -> BTreeSet<pid_t> {
    let mut children: HashMap<pid_t, Vec<pid_t>> = HashMap::new();
    for (pid, ppid) in processes {
        children.entry(ppid).or_default().push(pid);
    }
    // By generations, instead of searching all processes repeatedly: a VM may contain a chain of thousands.
    let mut found = roots;
    let mut next: Vec<pid_t> = found.iter().copied().collect();
    while let Some(parent) = next.pop() {
        let born = children.get(&parent).into_iter().flatten();
        next.extend(born.filter(|&&child| found.insert(child)));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_followed_to_its_end_and_a_circle_once() {
        let chain = (2..5000).map(|pid| (pid, pid - 1));
        assert_eq!(descendants(chain, [4000].into()), (4000..5000).collect());
        // It can look like this if a pid is reused while the table is read.
        let circle = [(2, 3), (3, 2), (4, 1)];
        assert_eq!(descendants(circle, [2].into()), [2, 3].into());
    }
}
