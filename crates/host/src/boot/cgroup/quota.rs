//! Processor time, as the kernel takes a bound on it.

/// The period that a quota of processor time is per. The kernel's default (`cgroups-v2`, `sched-bwc`).
pub(super) const PERIOD_US: u64 = 100_000;

/// The kernel takes no quota below 1 ms.
pub(super) fn quota_us(cpus: f64) -> u64 {
    ((cpus * PERIOD_US as f64).round() as u64).max(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_a_core_is_a_quota_that_the_kernel_takes() {
        assert_eq!(quota_us(1.0), 100_000);
        assert_eq!(quota_us(2.5), 250_000);
        assert_eq!(quota_us(0.001), 1000);
    }
}
