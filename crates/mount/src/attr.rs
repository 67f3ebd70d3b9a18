//! `MOUNT_ATTR_*` of `mount_setattr(2)`.

/// Nothing is written through this mount.
pub const RDONLY: u64 = 0x1;
/// Set-user-id bits have no effect.
pub const NOSUID: u64 = 0x2;
/// Device nodes cannot be opened.
pub const NODEV: u64 = 0x4;
/// Nothing is executed.
pub const NOEXEC: u64 = 0x8;
