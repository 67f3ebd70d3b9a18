//! With whose rights placeholders are made.

use nix::errno::Errno;
use nix::unistd::{Gid, Uid, getegid, geteuid, setfsgid, setfsuid, setgroups};

/// From now on, files are used with the rights of these ids and no more, so that a root server makes nothing in a
/// directory that the directory's owner could not make.
pub fn act_as((uid, gid): (u32, u32)) -> Result<(), Errno> {
    setgroups(&[])?;
    set(Uid::from_raw(uid), Gid::from_raw(gid))
}

/// From now on, files are used with this process's own rights.
pub fn act_as_oneself() -> Result<(), Errno> {
    set(geteuid(), getegid())
}

fn set(uid: Uid, gid: Gid) -> Result<(), Errno> {
    setfsgid(gid);
    setfsuid(uid);
    // These calls return the id before, and no error. An invalid id changes nothing.
    let now = (
        setfsuid(Uid::from_raw(u32::MAX)),
        setfsgid(Gid::from_raw(u32::MAX)),
    );
    if now == (uid, gid) {
        Ok(())
    } else {
        Err(Errno::EPERM)
    }
}
