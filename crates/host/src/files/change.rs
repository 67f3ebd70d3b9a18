//! Changes of attributes and of sizes.

use std::os::fd::OwnedFd;

use agent_vm_protocol::message::{Change, Existing, FileStep, OpenMode, Time, WriteMode};

use super::{failed, writable};
use crate::error::Error;
use crate::vm::Vm;

impl Vm {
    /// Changes a file's permissions and the set-user-id, set-group-id and sticky bits; a symbolic link is followed.
    pub async fn chmod(&self, path: String, mode: u32) -> Result<(), Error> {
        self.change(path, Change::Mode(mode)).await
    }

    /// Changes a file's times, in milliseconds since the Unix epoch; a symbolic link is followed.
    pub async fn utimes(&self, path: String, accessed_ms: f64, modified_ms: f64) -> Result<(), Error> {
        let change = Change::Times {
            accessed: Some(time(accessed_ms)),
            modified: Some(time(modified_ms)),
        };
        self.change(path, change).await
    }

    async fn change(&self, path: String, change: Change) -> Result<(), Error> {
        let step = FileStep::Change {
            directory: None,
            path: path.into(),
            change,
        };
        self.step(step, Vec::new()).await.map(drop)
    }

    /// Changes an open file in the same way. An error names `path`.
    pub(super) async fn change_opened(&self, fd: OwnedFd, path: &str, change: Change) -> Result<(), Error> {
        let step = FileStep::Change {
            directory: Some(0),
            path: Vec::new(),
            change,
        };
        match self.step(step, vec![fd]).await {
            Err(Error::System { errno, syscall, .. }) => Err(Error::System {
                errno,
                syscall,
                path: Some(path.to_owned()),
            }),
            other => other.map(drop),
        }
    }

    /// Cuts a regular file off at `length` bytes, or extends it with zeros.
    pub async fn truncate(&self, path: String, length: u64) -> Result<(), Error> {
        let mode = WriteMode {
            parents: false,
            create: None,
            existing: Existing::Keep,
            append: false,
        };
        let fd = self
            .open(None, path.clone().into(), OpenMode::Write(mode))
            .await?;
        self.blocking(move || {
            writable(fd, &path, "ftruncate")?
                .set_len(length)
                .map_err(|error| failed(&error, "ftruncate", &path))
        })
        .await
    }
}

/// A time in the form of the kernel. One outside of its range becomes the nearest that fits.
pub(super) fn time(milliseconds: f64) -> Time {
    let seconds = (milliseconds / 1000.0).floor();
    // Exact for all times of the next centuries: a double has more bits than they need.
    let nanoseconds = ((milliseconds - seconds * 1000.0) * 1e6).round() as u32;
    Time {
        seconds: seconds as i64,
        nanoseconds: nanoseconds.min(999_999_999),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_before_the_epoch_has_a_positive_rest() {
        let found = |milliseconds| {
            let Time { seconds, nanoseconds } = time(milliseconds);
            (seconds, nanoseconds)
        };
        assert_eq!(found(0.0), (0, 0));
        assert_eq!(found(1500.0), (1, 500_000_000));
        assert_eq!(found(-1.0), (-1, 999_000_000));
        assert_eq!(found(-1500.0), (-2, 500_000_000));
        assert_eq!(found(1_700_000_000_123.0), (1_700_000_000, 123_000_000));
    }
}
