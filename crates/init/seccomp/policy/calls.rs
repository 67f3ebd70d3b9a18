//! Architectures, system calls and their numbers.
//!
//! The numbers are from the kernel's `arch/x86/entry/syscalls/syscall_64.tbl` and `scripts/syscall.tbl` (aarch64).
//! `libc`'s constants cannot be used, because in a build script they are those of the build machine.

use std::ops::RangeInclusive;

/// An architecture that the policy is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    X86_64,
    Aarch64,
}

impl Machine {
    /// The architecture with this name in Cargo's `CARGO_CFG_TARGET_ARCH`.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "x86_64" => Some(Self::X86_64),
            "aarch64" => Some(Self::Aarch64),
            _ => None,
        }
    }

    /// The value of `seccomp_data.arch` for a native 64-bit call: `AUDIT_ARCH_*` of `linux/audit.h`.
    pub const fn audit_arch(self) -> u32 {
        match self {
            Self::X86_64 => 0xc000_003e,
            Self::Aarch64 => 0xc000_00b7,
        }
    }

    /// The numbers that were assigned when this was written (Linux 6.18). Calls of later kernels are refused until they
    /// have been reviewed. 335 and 336 are x86-64's `uretprobe` and `uprobe`, which a host that traces needs.
    pub fn known(self) -> Vec<RangeInclusive<u32>> {
        match self {
            Self::X86_64 => vec![0..=336, 424..=469],
            Self::Aarch64 => vec![0..=243, 260..=294, 424..=469],
        }
    }
}

/// A system call and its numbers; `None` if the architecture does not have it.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    pub name: &'static str,
    x86_64: Option<u32>,
    aarch64: Option<u32>,
}

impl Call {
    pub const fn number(self, machine: Machine) -> Option<u32> {
        match machine {
            Machine::X86_64 => self.x86_64,
            Machine::Aarch64 => self.aarch64,
        }
    }
}

pub const fn both(name: &'static str, x86_64: u32, aarch64: u32) -> Call {
    Call {
        name,
        x86_64: Some(x86_64),
        aarch64: Some(aarch64),
    }
}

/// Since 424, all architectures use the same numbers.
pub const fn new(name: &'static str, number: u32) -> Call {
    both(name, number, number)
}

pub const fn only_x86(name: &'static str, number: u32) -> Call {
    Call {
        name,
        x86_64: Some(number),
        aarch64: None,
    }
}
