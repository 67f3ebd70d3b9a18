//! Decisions that depend on a call's arguments.

use super::calls::Call;

/// A test of one argument. It compares the low 32 bits if the kernel takes the argument as an `int` or cuts it to 32
/// bits (such as `clone`'s flags), because the high half must not change the answer then. For a pointer it compares all
/// 64 bits.
#[derive(Clone, Copy, Debug)]
pub enum Test {
    /// A null pointer.
    Null {
        argument: u8,
    },
    Is {
        argument: u8,
        value: u32,
    },
    IsNot {
        argument: u8,
        value: u32,
    },
    Masked {
        argument: u8,
        mask: u32,
        value: u32,
    },
}

pub const fn null(argument: u8) -> Test {
    Test::Null { argument }
}

pub const fn is(argument: u8, value: u32) -> Test {
    Test::Is { argument, value }
}

pub const fn is_not(argument: u8, value: u32) -> Test {
    Test::IsNot { argument, value }
}

pub const fn masked(argument: u8, mask: u32, value: u32) -> Test {
    Test::Masked {
        argument,
        mask,
        value,
    }
}

/// The answer to a call that does not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Otherwise {
    /// It fails with this error.
    Fails(u32),
    /// The kernel asks init, which carries out the call or makes it fail.
    Asks,
}

/// A call passes if all tests of one list in `allow_if` hold.
#[derive(Clone, Debug)]
pub struct Step {
    pub allow_if: Vec<Vec<Test>>,
    pub otherwise: Otherwise,
}

/// A call that is allowed if its arguments pass every step, in order.
#[derive(Clone, Debug)]
pub struct Check {
    pub call: Call,
    pub steps: Vec<Step>,
}

pub fn check(call: Call, errno: u32, allow_if: Vec<Vec<Test>>) -> Check {
    decided(call, Otherwise::Fails(errno), allow_if)
}

pub fn decided(call: Call, otherwise: Otherwise, allow_if: Vec<Vec<Test>>) -> Check {
    Check {
        call,
        steps: vec![Step { allow_if, otherwise }],
    }
}
