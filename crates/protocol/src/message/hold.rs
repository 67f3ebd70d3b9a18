//! What a holder makes, and sends to VMs.

use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A tree of files for many VMs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// The uid and gid to take, if the host is root.
    pub take_id: Option<u32>,
    /// The entries of the tree, in the order in which they are made. Parent directories are made as needed. An entry is
    /// left out if it cannot be made at its path, or if its file is gone.
    pub entries: Vec<HeldEntry>,
    /// The directories or files of the tree that are sent, each as a separate mount. A missing one becomes an empty
    /// directory.
    pub tops: Vec<String>,
}

/// One entry of the tree. Paths are absolute and normalized.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum HeldEntry {
    /// A directory.
    Directory {
        /// Its path.
        path: String,
    },
    /// A file.
    File {
        /// Its path.
        path: String,
        /// Its content.
        content: Bytes,
        /// Whether it is executable.
        executable: bool,
        /// When it was modified: seconds since the Unix epoch, and nanoseconds.
        modified: (i64, i64),
    },
    /// A symbolic link.
    Symlink {
        /// Its path.
        path: String,
        /// Its target.
        target: String,
    },
    /// The file or directory at the same path on the host, with everything that the host has mounted below it.
    Bind {
        /// Its path.
        path: String,
    },
}

impl HeldEntry {
    /// The path of the entry.
    #[must_use]
    pub fn path(&self) -> &str {
        match self {
            Self::Directory { path }
            | Self::File { path, .. }
            | Self::Symlink { path, .. }
            | Self::Bind { path } => path,
        }
    }
}

/// Bytes that are encoded as a whole, not one by one.
#[derive(Clone, PartialEq, Eq)]
pub struct Bytes(Vec<u8>);

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} bytes", self.0.len())
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Whole;
        impl Visitor<'_> for Whole {
            type Value = Bytes;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("bytes")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }
        }
        deserializer.deserialize_bytes(Whole)
    }
}
