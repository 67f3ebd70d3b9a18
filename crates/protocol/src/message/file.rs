//! The steps of the host's file calls.

use serde::{Deserialize, Serialize};

use super::Attached;

/// One step on the VM's files, about one system call. A path from a listing may be any bytes. `directory` is an
/// attached descriptor to which `path` is relative; without it `path` is absolute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileStep {
    /// Opens a file; answered with [`Reply::Opened`](super::Reply::Opened). Never blocks on a FIFO, and never follows a
    /// magic link of `/proc`.
    Open {
        /// The directory to which `path` is relative.
        directory: Option<Attached>,
        /// The path of the file.
        path: Vec<u8>,
        /// The purpose of opening it.
        mode: OpenMode,
    },
    /// Reads attributes, of the link itself if `follow` is false; answered with
    /// [`Reply::Attributes`](super::Reply::Attributes).
    Stat {
        /// The directory to which `path` is relative.
        directory: Option<Attached>,
        /// The path of the file.
        path: Vec<u8>,
        /// Whether a final symbolic link is followed.
        follow: bool,
    },
    /// Makes a directory; answered with [`Reply::Done`](super::Reply::Done).
    Mkdir {
        /// The directory to which `path` is relative.
        directory: Option<Attached>,
        /// The path of the directory.
        path: Vec<u8>,
        /// Its permissions, less the umask.
        mode: u32,
        /// Whether missing parents are made too, and an existing directory is no error.
        recursive: bool,
        /// Whether symbolic links on the way are followed, otherwise ELOOP; always if `recursive`.
        links: bool,
    },
    /// Makes a symbolic link; answered with [`Reply::Done`](super::Reply::Done).
    Symlink {
        /// The directory to which `path` is relative.
        directory: Option<Attached>,
        /// The path of the link.
        path: Vec<u8>,
        /// What the link contains.
        target: Vec<u8>,
    },
    /// Reads a symbolic link; answered with [`Reply::Path`](super::Reply::Path).
    ReadLink {
        /// The directory to which `path` is relative.
        directory: Option<Attached>,
        /// The path of the link.
        path: Vec<u8>,
    },
    /// Finds the absolute path without symbolic links, `.` and `..`; answered with [`Reply::Path`](super::Reply::Path).
    RealPath {
        /// The path of the file.
        path: Vec<u8>,
    },
    /// Makes an inotify instance, which the kernel counts for the VM's user; answered with
    /// [`Reply::Opened`](super::Reply::Opened). The host adds the watches.
    Inotify,
    /// Changes a file's attributes; a final symbolic link is followed. Answered with [`Reply::Done`](super::Reply::Done).
    Change {
        /// The directory to which `path` is relative or, if `path` is empty, the file itself.
        directory: Option<Attached>,
        /// The path of the file.
        path: Vec<u8>,
        /// What is changed.
        change: Change,
    },
    /// Renames a file; answered with [`Reply::Done`](super::Reply::Done).
    Rename {
        /// The old path.
        from: String,
        /// The new path.
        to: String,
    },
    /// Removes a name; answered with [`Reply::Done`](super::Reply::Done).
    Remove {
        /// The directory to which `path` is relative.
        directory: Option<Attached>,
        /// The name to remove.
        path: Vec<u8>,
        /// Whether it is a directory (which must be empty).
        is_directory: bool,
    },
    /// Opens files of a directory to read, without following links, in their order until one cannot be opened; answered with
    /// [`Reply::Several`](super::Reply::Several), with the opened files attached.
    OpenFiles {
        /// Their directory.
        directory: Attached,
        /// Their names.
        names: Vec<Vec<u8>>,
    },
    /// Opens a directory in another one, and makes it if it is missing; answered with
    /// [`Reply::Entered`](super::Reply::Entered). ENOTDIR if something else is there, a link too.
    Enter {
        /// The directory that contains it.
        directory: Attached,
        /// Its name.
        name: Vec<u8>,
        /// The permissions of a new directory, less the umask.
        mode: u32,
    },
    /// Makes files and links in a directory, in their order until one cannot be made or some time has passed. Each replaces what
    /// is there and is no directory. Answered with [`Reply::Several`](super::Reply::Several), with the files attached, opened to
    /// write.
    Create {
        /// The directory.
        directory: Attached,
        /// What is made.
        entries: Vec<NewEntry>,
    },
    /// Removes names that are no directories, in their order, until one cannot be removed or some time has passed; answered
    /// with [`Reply::Removed`](super::Reply::Removed).
    RemoveFiles {
        /// Their directory.
        directory: Attached,
        /// The names.
        names: Vec<Vec<u8>>,
    },
}

/// What [`FileStep::Create`] makes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum NewEntry {
    /// An empty file that only its owner can read and write.
    File {
        /// Its name.
        name: Vec<u8>,
    },
    /// A symbolic link.
    Symlink {
        /// Its name.
        name: Vec<u8>,
        /// What it contains.
        target: Vec<u8>,
        /// The time of its last change.
        modified: Time,
    },
    /// Another name of an existing file.
    HardLink {
        /// The new name.
        name: Vec<u8>,
        /// The directory of the file.
        target_directory: Attached,
        /// The file's name in it.
        target: Vec<u8>,
    },
}

impl NewEntry {
    /// The name that is made.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        match self {
            Self::File { name } | Self::Symlink { name, .. } | Self::HardLink { name, .. } => name,
        }
    }
}

/// A change of a file's attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// Its permissions and the set-user-id, set-group-id and sticky bits, in one of 12 bits each. Set-id bits are refused
    /// (EPERM) where a program would be refused them.
    Mode(u32),
    /// Its times. A missing one stays as it is.
    Times {
        /// The last access.
        accessed: Option<Time>,
        /// The last change of the content.
        modified: Option<Time>,
    },
}

/// A time since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Time {
    /// Whole seconds; negative before the epoch.
    pub seconds: i64,
    /// The rest, from 0 to 999,999,999.
    pub nanoseconds: u32,
}

/// The purpose of opening a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OpenMode {
    /// To read.
    Read {
        /// Whether a final symbolic link is followed; otherwise ELOOP.
        follow: bool,
    },
    /// To write. Files of kernel file systems are refused (EACCES).
    Write(WriteMode),
    /// To list a directory. ENOTDIR for anything else.
    Directory {
        /// Whether a final symbolic link is followed.
        follow: bool,
    },
    /// To list the directory at the end of a path without symbolic links; ELOOP if there is one.
    DirectoryWithoutLinks,
}

/// How a file is opened to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteMode {
    /// Whether missing directories on the way are made.
    pub parents: bool,
    /// The permissions of a new file, less the umask; without them the file must exist.
    pub create: Option<u32>,
    /// What happens to a file that exists.
    pub existing: Existing,
    /// Whether each write goes to the end of the file.
    pub append: bool,
}

/// What happens to a file that is opened to write and exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Existing {
    /// It is emptied.
    Empty,
    /// It keeps its content.
    Keep,
    /// EEXIST, for a symbolic link too.
    Refuse,
}

/// Whether files on a file system of this kind (`statfs(2)`, `f_type`) belong to the kernel: writing to them changes
/// the state of the kernel or of a process, with the rights of the writer. File calls write to none of them.
#[must_use]
pub fn is_kernel_interface(filesystem: i64) -> bool {
    // The kernel's numbers have 32 bits, and an architecture may return them as negative numbers.
    matches!(
        filesystem as u32,
        0x0000_9fa0 // proc
        | 0x6265_6572 // sysfs
        | 0x0027_e0eb // cgroup
        | 0x6367_7270 // cgroup2
        | 0x6462_6720 // debugfs
        | 0x7472_6163 // tracefs
        | 0x7363_6673 // securityfs
        | 0xcafe_4a11 // bpf
        | 0x6265_6570 // configfs
        | 0xde5e_81e4 // efivarfs
        | 0xf97c_ff8c // selinuxfs
        | 0x4341_5d53 // smackfs
        | 0x6165_676c // pstore
        | 0x4249_4e4d // binfmt_misc
        | 0x0765_5821 // resctrl
        | 0x6573_5543 // fusectl
        | 0x6759_6969 // rpc_pipefs
        | 0x6e66_7364 // nfsd
        | 0xabba_1974 // xenfs
        | 0x6c6f_6f70 // binderfs
        | 0x6e73_6673 // nsfs
        | 0x5049_4446 // pidfs
        | 0x1980_0202 // mqueue
        | 0x0000_1cd1 // devpts
    )
}

/// A file's attributes, as in `statx(2)`. Times are nanoseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are stat(2)'s own")]
pub struct Attributes {
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub nlink: u32,
    pub ino: u64,
    pub size: u64,
    pub blocks: u64,
    pub dev: u64,
    pub rdev: u64,
    pub atime_ns: i64,
    pub mtime_ns: i64,
    pub ctime_ns: i64,
    pub birthtime_ns: i64,
}
