//! What is answered as done, without being done, to root in a VM with a single id. `src/seccomp/mod.rs` gives the reasons.

use crate::policy::calls::{Call, both, only_x86};

/// For programs that run as this root, in addition to [`crate::policy::for_all`].
pub const CALLS: [&[Call]; 2] = [OWNERS, IDS];

const OWNERS: &[Call] = &[
    only_x86("chown", 92),
    only_x86("lchown", 94),
    both("fchown", 93, 55),
    both("fchownat", 260, 54),
];

const IDS: &[Call] = &[
    both("setuid", 105, 146),
    both("setgid", 106, 144),
    both("setreuid", 113, 145),
    both("setregid", 114, 143),
    both("setgroups", 116, 159),
    both("setresuid", 117, 147),
    both("setresgid", 119, 149),
    both("setfsuid", 122, 151),
    both("setfsgid", 123, 152),
    both("capset", 126, 91),
];
