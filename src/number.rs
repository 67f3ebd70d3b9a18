//! Numbers of JavaScript, which may be `NaN`, negative or a fraction where this package has a fault: a cast would make
//! another number of them.

use agent_vm_host::Error;

/// The largest number up to which JavaScript has every whole one.
const MOST: f64 = 9_007_199_254_740_991.0;

/// What nothing has as its number.
const NOTHING: u64 = u64::MAX;

/// The number of a call, a process or an open file. One that is not whole is the number of nothing.
pub fn named(number: f64) -> u64 {
    checked(number).unwrap_or(NOTHING)
}

/// A position or a length.
pub fn whole(number: f64) -> Result<u64, Error> {
    checked(number).ok_or_else(|| Error::InvalidArgument(format!("{number} is no whole number of bytes")))
}

fn checked(number: f64) -> Option<u64> {
    ((0.0..=MOST).contains(&number) && number.fract() == 0.0).then_some(number as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_whole_number_names_nothing_and_is_no_position() {
        for wrong in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 0.5, MOST + 1.0] {
            assert_eq!(named(wrong), NOTHING, "{wrong}");
            assert!(whole(wrong).is_err(), "{wrong}");
        }
        for right in [0, 1, 1 << 40, MOST as u64] {
            assert_eq!(named(right as f64), right);
            assert_eq!(whole(right as f64).ok(), Some(right));
        }
    }
}
