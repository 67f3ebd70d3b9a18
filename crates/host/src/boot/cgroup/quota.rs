//! Processor time, in the form in which the kernel takes a limit.

/// The period of a quota of processor time: the kernel's default (`cgroups-v2`, `sched-bwc`).
pub(super) const PERIOD_US: u64 = 100_000;

/// The kernel refuses quotas below 1 ms.
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
