//! Which descriptors of a process lead to its terminal.

use std::collections::HashMap;

use crate::process_table::ProcDirectory;

/// The device number of /dev/tty, which is each process's own terminal.
const OWN_TERMINAL: (u32, u32) = (5, 0);

/// The descriptors of one process, during one look. The threads of a process share them: each is looked at once.
pub struct Descriptors<'a> {
    directory: &'a ProcDirectory,
    /// The number of the terminal's device, as `stat` shows it.
    device: u64,
    known: HashMap<u64, bool>,
    left: &'a mut usize,
}

impl<'a> Descriptors<'a> {
    /// Those of the process with this directory. At most `left` are looked at; it is reduced by those that are.
    pub fn new(directory: &'a ProcDirectory, device: u64, left: &'a mut usize) -> Self {
        Self {
            directory,
            device,
            known: HashMap::new(),
            left,
        }
    }

    /// Whether a descriptor is the terminal, or the process's own terminal by the name /dev/tty. One that may not be looked at any
    /// more counts as something else.
    pub fn is_terminal(&mut self, fd: u64) -> bool {
        if let Some(known) = self.known.get(&fd) {
            return *known;
        }
        if *self.left == 0 {
            return false;
        }
        *self.left -= 1;
        let device = self.directory.device(&format!("fd/{fd}"));
        let is_terminal =
            device.is_some_and(|device| device == OWN_TERMINAL || encoded(device) == self.device);
        self.known.insert(fd, is_terminal);
        is_terminal
    }
}

/// A device number as the kernel encodes it in `stat`.
fn encoded((major, minor): (u32, u32)) -> u64 {
    let (major, minor) = (u64::from(major), u64::from(minor));
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io;
    use std::os::fd::AsRawFd;

    use nix::pty::openpty;
    use nix::sys::stat::{fstat, major, minor};

    use super::*;

    #[test]
    fn each_descriptor_is_looked_at_once_and_only_so_many_are() -> io::Result<()> {
        let directory = ProcDirectory::open(File::open("/proc")?, std::process::id() as i32)?;
        let pair = openpty(None, None)?;
        let rdev = fstat(&pair.slave)?.st_rdev;
        let device = encoded((major(rdev) as u32, minor(rdev) as u32));
        let other = File::open("/dev/null")?;
        let number = |fd: &dyn AsRawFd| fd.as_raw_fd() as u64;
        let mut left = 2;
        let mut descriptors = Descriptors::new(&directory, device, &mut left);
        for _ in 0..100 {
            assert!(descriptors.is_terminal(number(&pair.slave)));
            assert!(!descriptors.is_terminal(number(&other)));
        }
        assert_eq!(*descriptors.left, 0);
        // It is the terminal too, but nobody may look any more.
        let copy = pair.slave.try_clone()?;
        assert!(!descriptors.is_terminal(number(&copy)));
        let mut left = 1;
        assert!(Descriptors::new(&directory, device, &mut left).is_terminal(number(&copy)));
        assert_eq!(left, 0);
        Ok(())
    }
}
