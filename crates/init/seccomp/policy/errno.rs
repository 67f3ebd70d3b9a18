//! The answers that the filter gives; their numbers are the same on both architectures.

/// The call returns 0, and the kernel does nothing.
pub const SUCCESS: u32 = 0;
pub const EPERM: u32 = 1;
pub const EINVAL: u32 = 22;
pub const ENOSYS: u32 = 38;
pub const EPROTONOSUPPORT: u32 = 93;
pub const EOPNOTSUPP: u32 = 95;
pub const EAFNOSUPPORT: u32 = 97;
