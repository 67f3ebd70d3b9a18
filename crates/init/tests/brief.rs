//! Programs that end at once: what init reports about them, and when.
#![allow(clippy::panic, clippy::unwrap_used, missing_docs, unsafe_code)]

mod started;

use agent_vm_protocol::message::{ProgramUser, Reply, Request, Spawn, Stdio};
use started::Init;

fn spawn(call: u64, script: &str, brief: bool) -> Request {
    Request::Spawn(Box::new(Spawn {
        call,
        program: "sh".into(),
        arguments: vec!["-c".into(), script.into()],
        env: Vec::new(),
        cwd: "/".into(),
        stdio: Stdio::Output,
        argv0: None,
        report_background: true,
        brief,
        patience_ms: None,
        user: ProgramUser::User,
    }))
}

#[test]
fn one_that_runs_on_is_told_of_twice() {
    let mut init = Init::booted();
    init.send(&spawn(1, "sleep 0.2; exit 3", true));
    assert!(matches!(init.reply(), Some(Reply::Spawned { call: 1, .. })));
    let Some(Reply::Exited { call: 1, exit }) = init.reply() else {
        panic!("it ends");
    };
    assert_eq!(exit.code, 3);
}

#[test]
fn one_that_ends_soon_is_told_of_once() {
    let mut init = Init::booted();
    // On a busy machine, not every one ends within a millisecond.
    let once = (1..=50).any(|call| {
        init.send(&spawn(call, "exit 3", true));
        match init.reply() {
            Some(Reply::Ran { call: told, exit, .. }) => {
                assert_eq!((told, exit.code), (call, 3));
                true
            }
            Some(Reply::Spawned { .. }) => {
                assert!(matches!(init.reply(), Some(Reply::Exited { .. })));
                false
            }
            other => panic!("{other:?}"),
        }
    });
    assert!(once);
}

#[test]
fn one_that_is_not_brief_is_told_of_twice_however_short_it_is() {
    let mut init = Init::booted();
    for call in 1..=20 {
        init.send(&spawn(call, "exit 3", false));
        assert!(matches!(init.reply(), Some(Reply::Spawned { .. })));
        assert!(matches!(init.reply(), Some(Reply::Exited { .. })));
    }
}

#[test]
fn what_one_leaves_is_told_with_its_end_and_not_before_it() {
    let mut init = Init::booted();
    init.send(&spawn(1, "sleep 100 & exit 4", true));
    let exit = match init.reply() {
        Some(Reply::Ran { exit, .. }) => exit,
        Some(Reply::Spawned { .. }) => match init.reply() {
            Some(Reply::Exited { exit, .. }) => exit,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    assert_eq!(exit.code, 4);
    assert_eq!(exit.background.len(), 1);
    assert!(exit.background[0].start > 0);
}

#[test]
fn many_at_once_are_each_told_of() {
    const COUNT: u64 = 90;
    let mut init = Init::booted();
    for call in 1..=COUNT {
        init.send(&spawn(call, "sleep 0.05", true));
    }
    let (mut started, mut ended) = (0, 0);
    while ended < COUNT {
        match init.reply() {
            Some(Reply::Spawned { .. }) => started += 1,
            Some(Reply::Exited { .. }) => ended += 1,
            Some(Reply::Ran { .. }) => {
                started += 1;
                ended += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(started, COUNT);
}
