//! What the kernel counts for a VM's cgroups.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::VmCgroups;
use super::controller::Version;

/// The files of a VM's cgroups that count. They exist until the VM has ended.
#[derive(Debug, Clone, Default)]
pub struct CgroupMeters {
    /// The directory of version 2 in which everything of the VM runs, init and its helpers too.
    unified: Option<PathBuf>,
    memory: Option<(Version, PathBuf, u64)>,
    cpu: Option<(Version, PathBuf, f64)>,
}

/// What they count at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct CgroupReading {
    /// The processor time of everything that ever ran in the VM, init and its helpers too, in microseconds.
    pub cpu_us: Option<u64>,
    /// What is charged to the limit on memory.
    pub memory: Option<MemoryReading>,
    /// What the limit on processor time did.
    pub cpu: Option<CpuReading>,
}

/// Memory against its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryReading {
    /// The charged bytes.
    pub used_bytes: u64,
    /// The most that was ever charged, if the kernel counts that (version 2: Linux 5.19).
    pub peak_bytes: Option<u64>,
    /// The limit.
    pub limit_bytes: u64,
}

/// Processor time against its limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CpuReading {
    /// The limit in cores.
    pub limit: f64,
    /// How many periods of 100 ms have had something to run.
    pub periods: u64,
    /// In how many of them the limit made something wait.
    pub throttled_periods: u64,
    /// For how long, in microseconds, added up over the processors.
    pub throttled_us: u64,
}

/// No such file has more: each has a few dozen short lines.
const MOST_BYTES: u64 = 16 * 1024;

impl VmCgroups {
    /// What counts for these cgroups.
    pub fn meters(&self) -> CgroupMeters {
        let programs = self.unified.as_ref().and_then(|unified| unified.split.as_ref());
        let programs = programs.map(|split| split.programs.clone());
        let own = |directory: &Option<super::Directory>| directory.as_ref().map(|own| own.path().to_owned());
        let place = |by: Option<Version>, legacy| match by? {
            Version::Two => Some((Version::Two, programs.clone()?)),
            Version::One => Some((Version::One, own(legacy)?)),
        };
        let memory = place(self.memory_by, &self.memory).zip(self.limits.memory_bytes);
        let cpu = place(self.cpu_by, &self.cpu).zip(self.limits.cpus);
        CgroupMeters {
            unified: self
                .unified
                .as_ref()
                .map(|unified| unified.base.path().to_owned()),
            memory: memory.map(|((version, path), limit)| (version, path, limit)),
            cpu: cpu.map(|((version, path), limit)| (version, path, limit)),
        }
    }
}

impl CgroupMeters {
    /// Reads them. The kernel may add up for a while, so this must not be called on a thread that others wait for. What
    /// cannot be read, for instance because the VM has ended, is missing.
    #[must_use]
    pub fn read(&self) -> CgroupReading {
        CgroupReading {
            cpu_us: self
                .unified
                .as_ref()
                .and_then(|path| member(&text(path, "cpu.stat")?, "usage_usec")),
            memory: self
                .memory
                .as_ref()
                .and_then(|(version, path, limit)| memory(*version, path, *limit)),
            cpu: self
                .cpu
                .as_ref()
                .and_then(|(version, path, limit)| cpu(&text(path, "cpu.stat")?, *version, *limit)),
        }
    }
}

fn memory(version: Version, path: &Path, limit_bytes: u64) -> Option<MemoryReading> {
    let (used, peak) = match version {
        Version::Two => ("memory.current", "memory.peak"),
        Version::One => ("memory.usage_in_bytes", "memory.max_usage_in_bytes"),
    };
    let number = |file| text(path, file)?.trim().parse().ok();
    Some(MemoryReading {
        used_bytes: number(used)?,
        peak_bytes: number(peak),
        limit_bytes,
    })
}

fn cpu(stat: &str, version: Version, limit: f64) -> Option<CpuReading> {
    let throttled_us = match version {
        Version::Two => member(stat, "throttled_usec")?,
        // In nanoseconds.
        Version::One => member(stat, "throttled_time")? / 1000,
    };
    Some(CpuReading {
        limit,
        periods: member(stat, "nr_periods")?,
        throttled_periods: member(stat, "nr_throttled")?,
        throttled_us,
    })
}

/// The number in the line that begins with `name`.
fn member(text: &str, name: &str) -> Option<u64> {
    let of_line = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok();
    text.lines().find_map(of_line)
}

fn text(directory: &Path, file: &str) -> Option<String> {
    let read = || -> io::Result<String> {
        let mut text = String::new();
        File::open(directory.join(file))?
            .take(MOST_BYTES)
            .read_to_string(&mut text)?;
        Ok(text)
    };
    read()
        .inspect_err(
            |error| tracing::debug!(path = %directory.display(), file, %error, "a cgroup does not count"),
        )
        .ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may end with a panic")]
mod tests {
    use super::*;

    /// A directory with such files, which is removed when it is dropped.
    struct Files(PathBuf);

    impl Files {
        fn make(name: &str, files: &[(&str, &str)]) -> Self {
            let path = std::env::temp_dir().join(format!("agent-vm-meters-{name}-{}", std::process::id()));
            std::fs::create_dir(&path).unwrap();
            for (file, content) in files {
                std::fs::write(path.join(file), content).unwrap();
            }
            Self(path)
        }
    }

    impl Drop for Files {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn reading(files: &Files, version: Version) -> CgroupReading {
        let meters = CgroupMeters {
            unified: Some(files.0.clone()),
            memory: Some((version, files.0.clone(), 4096)),
            cpu: Some((version, files.0.clone(), 0.5)),
        };
        meters.read()
    }

    #[test]
    fn the_files_of_both_versions_are_read() {
        let two = Files::make(
            "two",
            &[
                (
                    "cpu.stat",
                    "usage_usec 7000\nuser_usec 1\nsystem_usec 2\nnr_periods 30\nnr_throttled 20\n\
                     throttled_usec 10000\nnr_bursts 0\n",
                ),
                ("memory.current", "2048\n"),
                ("memory.peak", "3072\n"),
            ],
        );
        let memory = MemoryReading {
            used_bytes: 2048,
            peak_bytes: Some(3072),
            limit_bytes: 4096,
        };
        let cpu = CpuReading {
            limit: 0.5,
            periods: 30,
            throttled_periods: 20,
            throttled_us: 10_000,
        };
        let expected = CgroupReading {
            cpu_us: Some(7000),
            memory: Some(memory),
            cpu: Some(cpu),
        };
        assert_eq!(reading(&two, Version::Two), expected);

        let one = Files::make(
            "one",
            &[
                (
                    "cpu.stat",
                    "nr_periods 30\nnr_throttled 20\nthrottled_time 10000999\n",
                ),
                ("memory.usage_in_bytes", "2048\n"),
                ("memory.max_usage_in_bytes", "3072\n"),
            ],
        );
        assert_eq!(
            reading(&one, Version::One),
            CgroupReading {
                cpu_us: None,
                ..expected
            }
        );
    }

    #[test]
    fn what_a_kernel_does_not_count_is_missing() {
        let files = Files::make(
            "older",
            &[("cpu.stat", "usage_usec x\n"), ("memory.current", "1\n")],
        );
        let memory = MemoryReading {
            used_bytes: 1,
            peak_bytes: None,
            limit_bytes: 4096,
        };
        let expected = CgroupReading {
            memory: Some(memory),
            ..CgroupReading::default()
        };
        assert_eq!(reading(&files, Version::Two), expected);
        assert_eq!(reading(&files, Version::One), CgroupReading::default());
    }
}
