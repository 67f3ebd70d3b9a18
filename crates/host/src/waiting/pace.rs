//! When to look again: soon after something has changed, ever more rarely while nothing does, and never so often that
//! looking costs much.

use std::time::{Duration, Instant};

/// The shortest time between two looks.
const SHORTEST: Duration = Duration::from_millis(20);

/// The longest time between two looks.
const LONGEST: Duration = Duration::from_millis(250);

/// What part of the time for which nothing has changed may pass until a change is noticed.
const PART: u32 = 50;

/// How many times as long as a whole look takes passes before the next, if something seems to have changed.
const REST_AFTER_CHANGE: u32 = 10;

/// The same if nothing seems to have changed.
const REST: u32 = 100;

/// The shortest time between two whole looks, if nothing seems to have changed.
const SHORTEST_REST: Duration = Duration::from_secs(2);

/// The pace of the looks at one VM.
#[derive(Debug)]
pub struct Pace {
    changed: Instant,
    looked: Instant,
    took: Duration,
}

impl Pace {
    /// That of a look that begins now.
    pub fn new() -> Self {
        let now = Instant::now();
        Self {
            changed: now,
            looked: now,
            took: Duration::ZERO,
        }
    }

    /// Something has changed, or somebody new waits.
    pub fn changed(&mut self) {
        self.changed = Instant::now();
    }

    /// A whole look has ended, and took so long.
    pub fn looked(&mut self, took: Duration) {
        self.looked = Instant::now();
        self.took = took;
    }

    /// How long to wait before the next look.
    pub fn step(&self) -> Duration {
        (self.changed.elapsed() / PART).clamp(SHORTEST, LONGEST)
    }

    /// The shortest time until the next look, by what the last one has cost.
    pub fn least(&self) -> Duration {
        self.took * REST_AFTER_CHANGE
    }

    /// Whether it is time for a whole look. `seems_changed` is what a cheap one has shown.
    pub fn is_due(&self, seems_changed: bool) -> bool {
        let rest = if seems_changed {
            self.took * REST_AFTER_CHANGE
        } else {
            SHORTEST_REST.max(self.took * REST)
        };
        self.looked.elapsed() >= rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_that_costs_much_is_seldom() {
        let mut pace = Pace::new();
        pace.looked(Duration::from_secs(100));
        assert!(!pace.is_due(true) && !pace.is_due(false));
        pace.looked(Duration::ZERO);
        assert!(pace.is_due(true) && !pace.is_due(false));
        assert_eq!(pace.step(), SHORTEST);
    }
}
