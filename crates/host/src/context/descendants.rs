//! The processes that descend from a context's shell.

use std::collections::BTreeMap;
use std::time::Duration;

use super::vm_side::VmSide;
use crate::error::Error;
use crate::process_table::{ProcessInfo, Status};

/// How often, and how far apart, a process that a command left is looked at until it has executed its program.
const SETTLING: u32 = 10;
const SETTLING_PAUSE: Duration = Duration::from_millis(1);

/// What descends from the process `shell`.
pub async fn below_all(vm: &VmSide, shell: u32) -> Result<Vec<ProcessInfo>, Error> {
    Ok(settled_below(vm, shell, &BTreeMap::new()).await?.1)
}

/// As [`below`], a little later if some of them have not executed their programs yet.
pub async fn settled_below(
    vm: &VmSide,
    shell: u32,
    known: &BTreeMap<u32, u64>,
) -> Result<(BTreeMap<u32, u64>, Vec<ProcessInfo>), Error> {
    for _ in 0..SETTLING {
        let found = below(&processes(vm).await?, shell, known);
        if found.1.iter().all(|process| !process.is_copy) {
            return Ok(found);
        }
        tokio::time::sleep(SETTLING_PAUSE).await;
    }
    Ok(below(&processes(vm).await?, shell, known))
}

/// The living processes below `shell`: those that are `known` or descend from such, by pid and start, and the others.
fn below(
    table: &[ProcessInfo],
    shell: u32,
    known: &BTreeMap<u32, u64>,
) -> (BTreeMap<u32, u64>, Vec<ProcessInfo>) {
    let mut children: BTreeMap<u32, Vec<&ProcessInfo>> = BTreeMap::new();
    for process in table {
        children.entry(process.ppid).or_default().push(process);
    }
    let (mut old, mut new) = (BTreeMap::new(), Vec::new());
    let mut next = vec![(shell, false)];
    while let Some((parent, parent_is_known)) = next.pop() {
        for child in children.remove(&parent).into_iter().flatten() {
            let is_known = parent_is_known || known.get(&child.pid) == Some(&child.start_ticks);
            next.push((child.pid, is_known));
            if child.status == Status::Exited {
                continue;
            }
            if is_known {
                old.insert(child.pid, child.start_ticks);
            } else {
                new.push(child.clone());
            }
        }
    }
    new.sort_by_key(|process| process.pid);
    (old, new)
}

async fn processes(vm: &VmSide) -> Result<Vec<ProcessInfo>, Error> {
    vm.process_look.all(vm.control.helpers()).await
}
