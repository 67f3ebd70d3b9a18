//! Maps the errors of a boot, by variant, to what callers get: the public error and a remedy. This is the only such
//! place.

use std::io;
use std::path::Path;

use agent_vm_protocol::message::{BootStep, Unprotectable};
use nix::errno::Errno;

use super::cgroup::{CgroupError, Unavailable};
use super::directories::{DirectoryError, Lack};
use super::disk::DiskError;
use super::error::BootError;
use super::hindrance::Hindrance;
use super::host_files::HostFileError;
use super::ids::{IdError, NoSubordinate};
use super::landlock::{self, LandlockError};
use super::sys::LaunchError;
use super::users::UserError;
use crate::error::Error;

const NO_USERS: &str =
    "Leave the container CAP_SETUID, CAP_SETGID and CAP_CHOWN, or run the server as an ordinary user";
const LOW_LIMIT: &str = "Start the server without a hard limit on file locks, which the kernel does not enforce: `prlimit \
     --locks=unlimited node server.js` as root, or `LimitLOCKS=infinity` in its unit; or in a cgroup that is delegated to it";
const DIAGNOSE: &str = "AgentVm.doctor() reports what this host lacks";

/// An error, or the cause of one, for which there is a remedy.
pub trait Remedy {
    /// What the caller can do.
    fn remedy(&self) -> String;
}

impl Remedy for Unavailable {
    fn remedy(&self) -> String {
        "Start the server in a cgroup that is delegated to it: `systemd-run --user --scope -p Delegate=yes node server.js`, or \
         `Delegate=yes` in its unit; or run it as root, in a container with a writable /sys/fs/cgroup; or leave the limit out"
            .into()
    }
}

impl Remedy for Lack {
    fn remedy(&self) -> String {
        match self {
            Self::Capability => {
                "Run the server as an ordinary user, who needs no capability (`docker run --user node`), or as root with \
                 that one (`docker run --cap-add SYS_ADMIN`)"
            }
            Self::FileSystems => {
                "Run the server as an ordinary user of the container (`runAsUser: 1000`), who needs no map of owners"
            }
            Self::Policy => {
                "Start the container with `--security-opt seccomp=unconfined --security-opt apparmor=unconfined`, or the \
                 like"
            }
        }
        .into()
    }
}

impl Remedy for IdError {
    fn remedy(&self) -> String {
        match self {
            Self::None => {
                "Map more ids into the container (at least one beside root's), or run the server as an ordinary user"
            }
            Self::NoDirectory(_) | Self::Lock(_) => {
                "Let the server write to /run/agent-vm or /dev/shm (in a unit, RuntimeDirectory=agent-vm), or run it \
                 as an ordinary user"
            }
            Self::Maps(_) => "Mount /proc where the server runs, or run the server as an ordinary user",
            Self::NoBlock => "Map more ids into the container (65,536 above 1,000,000), or end VMs with such ids",
            Self::Tables(_) => {
                "Let the server read /etc/passwd, /etc/group, /etc/subuid and /etc/subgid, which may have 16 MiB each"
            }
            Self::NoSubordinate(why) => return why.remedy(),
        }
        .into()
    }
}

impl Remedy for NoSubordinate {
    fn remedy(&self) -> String {
        match self {
            Self::NoProgram(_) => {
                "Install newuidmap and newgidmap: `apt-get install uidmap`, or the package shadow-utils or shadow".into()
            }
            Self::NoRange { user, .. } => format!(
                "Give the user 65,536 ids that nobody has, as root: `usermod --add-subuids 524288-589823 --add-subgids \
                 524288-589823 {user}`"
            ),
            Self::Nameless(_) => "Run the server as a user of /etc/passwd".into(),
            Self::Group => "Run the server with the user's own group".into(),
            Self::Table { .. } => "Let the server read that file".into(),
            Self::Refused { .. } => {
                "newuidmap and newgidmap must be set-user-id programs of root, or have file capabilities, on a mount without \
                 nosuid; and the server must run without no_new_privs (in a unit, NoNewPrivileges=no; in a container, without \
                 `--security-opt no-new-privileges`), with CAP_SETUID and CAP_SETGID in its bounding set"
                    .into()
            }
        }
    }
}

impl Remedy for LandlockError {
    fn remedy(&self) -> String {
        match self {
            Self::Refused(Errno::EOPNOTSUPP) => {
                "Start the kernel with Landlock among its security modules: `lsm=landlock,...` on its command line, with \
                 what /sys/kernel/security/lsm lists now after it"
            }
            Self::Refused(Errno::ENOSYS) => {
                "Run on Linux 6.12 or later with Landlock built in (CONFIG_SECURITY_LANDLOCK); in a container, under a \
                 seccomp profile that lets landlock_create_ruleset, landlock_add_rule and landlock_restrict_self pass"
            }
            Self::Refused(_) => {
                "Let landlock_create_ruleset, landlock_add_rule and landlock_restrict_self pass in the container's seccomp \
                 profile"
            }
            Self::TooOld(_) => "Run on Linux 6.12 or later",
            Self::SetUp { step, .. } => match step {
                BootStep::LeaveGroups | BootStep::TakeGroup | BootStep::TakeUser => NO_USERS,
                BootStep::OpenFiles | BootStep::ReachFiles => {
                    "Let TMPDIR of the server be a directory that everybody may search, such as /tmp"
                }
                BootStep::MarkPrograms => LOW_LIMIT,
                _ => DIAGNOSE,
            },
        }
        .into()
    }
}

impl Remedy for Hindrance {
    fn remedy(&self) -> String {
        format!(
            "Run `sysctl {}={}` as root, and keep it in /etc/sysctl.d",
            self.setting, self.wanted
        )
    }
}

impl From<BootError> for Error {
    fn from(error: BootError) -> Self {
        let text = error.to_string();
        let with = |source: &dyn std::fmt::Display| format!("{text}: {source}");
        match &error {
            BootError::Channel(source) => Self::system(source, "boot"),
            BootError::PrivateDirectory(source) => match source.raw_os_error() {
                Some(libc::EPERM) => unavailable(with(source), NO_USERS),
                _ if is_shortage(source) => Self::system(source, "boot"),
                _ => {
                    let directory = std::env::temp_dir().display().to_string();
                    at(source, "mkdtemp", directory)
                }
            },
            BootError::Image { source, path } => at(source, "open", path.display().to_string()),
            BootError::Directory(error) => of_directory(error),
            BootError::Disk(error) => of_disk(error),
            BootError::HostFile(error) => of_host_file(error),
            BootError::SetUp {
                step: BootStep::Mount(path) | BootStep::Protect(path),
                errno,
            } => at(&io::Error::from_raw_os_error(*errno), "mount", path.clone()),
            BootError::SetUp {
                step: BootStep::ProtectElsewhere(path),
                ..
            } => Self::InvalidArgument(format!(
                "mounts must not protect {path}, which another writable mount or the home of this VM shows, or a part of it: show \
                 that one read-only, or protect the place there as well"
            )),
            BootError::Protect { path, why } => of_place(path, why),
            BootError::SetUp {
                step: BootStep::MarkPrograms,
                errno: libc::EPERM,
            } => unavailable(with(&Errno::EPERM), LOW_LIMIT),
            BootError::Launch(LaunchError { errno, .. }) | BootError::SetUp { errno, .. } => {
                let source = io::Error::from_raw_os_error(*errno);
                // The server lacks a resource, which does not mean that the host cannot isolate.
                if is_shortage(&source) {
                    Self::system(&source, "clone")
                } else {
                    unavailable(with(&Errno::from_raw(*errno)), of_refusal(*errno))
                }
            }
            BootError::Cgroup(CgroupError::Step { source, .. })
            | BootError::Ids(IdError::Maps(source) | IdError::Lock(source) | IdError::Tables(source))
                if is_shortage(source) =>
            {
                Self::system(source, "open")
            }
            BootError::Cgroup(CgroupError::Step { source, .. }) => unavailable(
                with(source),
                "AgentVm.doctor() reports which cgroups this host has",
            ),
            BootError::Cgroup(CgroupError::Unavailable(error)) => unavailable(text, error.remedy()),
            BootError::Ids(
                error @ (IdError::Maps(source) | IdError::Lock(source) | IdError::Tables(source)),
            ) => unavailable(with(source), error.remedy()),
            BootError::Ids(
                error @ (IdError::None
                | IdError::NoDirectory(_)
                | IdError::NoBlock
                | IdError::NoSubordinate(_)),
            ) => unavailable(text, error.remedy()),
            BootError::Landlock(error) => unavailable(text, error.remedy()),
            BootError::Maps(source) => unavailable(
                with(source),
                "Leave the container CAP_SETUID and CAP_SETGID, or run the server as an ordinary user",
            ),
            BootError::NoKill => unavailable(
                text,
                "Leave the container CAP_KILL, or run the server as an ordinary user",
            ),
            BootError::NoNetworkNamespace => unavailable(text, "Choose that isolation, or another network"),
            BootError::Layers(source) => unavailable(
                with(source),
                "Leave the server CAP_SYS_ADMIN, or run it as an ordinary user; layers need Linux 6.15 or later",
            ),
            BootError::NoLayers => unavailable(text, "Choose that isolation"),
            BootError::NoUserNamespace => {
                unavailable(text, "Choose that isolation, or leave `user` and `ids` out")
            }
            BootError::User(error) => error.clone().into(),
            BootError::NotWithRange(_) => unavailable(
                text,
                "Leave one of the two out, or use ids \"single\", in which root and `user` share one id",
            ),
            BootError::Frame(_) | BootError::Died(_) | BootError::Deadline(_) => {
                let cause = std::error::Error::source(&error).map_or(text.clone(), |source| with(&source));
                unavailable(cause, "Set AGENT_VM_LOG=debug to see how far init came")
            }
        }
    }
}

impl From<UserError> for Error {
    fn from(error: UserError) -> Self {
        let text = error.to_string();
        match error {
            UserError::NoRoot(_) | UserError::NoOther(_) | UserError::Unknown(_) => {
                Self::InvalidArgument(text)
            }
        }
    }
}

impl BootError {
    /// The cause and the remedy, for a caller that asks what this host lacks.
    #[must_use]
    pub fn into_diagnosis(self) -> (String, String) {
        let remedy = match &self {
            Self::PrivateDirectory(source) if !is_shortage(source) => {
                "Let TMPDIR of the server be a directory that it may write to"
            }
            Self::Image { source, .. } if !is_shortage(source) => {
                "Install agent-vm again: the file of its init program belongs to the package"
            }
            _ => "Give the server what it ran out of",
        };
        match self.into() {
            Error::IsolationUnavailable { cause, remedy } => (cause, remedy),
            other => (other.to_string(), remedy.into()),
        }
    }
}

fn of_disk(error: &DiskError) -> Error {
    let text = error.to_string();
    match error {
        DiskError::Directory(error) => of_directory(error),
        DiskError::InUse { .. } => Error::DiskInUse(text),
        DiskError::System {
            path,
            syscall,
            source,
        } => at(source, syscall, path.display().to_string()),
        DiskError::Shared { path } => Error::InvalidArgument(format!(
            "disk.directory must belong to the server's user, and nobody else may write to it: {}",
            path.display()
        )),
        DiskError::Other { .. } => Error::InvalidArgument(text),
        DiskError::Range => unavailable(text, "Leave one of the two out, or use ids \"single\""),
    }
}

fn of_directory(error: &DirectoryError) -> Error {
    match error {
        DirectoryError::Open {
            path,
            syscall,
            source,
        } => at(source, syscall, path.display().to_string()),
        DirectoryError::Link { path } => Error::InvalidArgument(format!(
            "software must not lead through a symbolic link, as {} does now: install it where no VM can write",
            path.display()
        )),
        DirectoryError::Kind { path } => Error::InvalidArgument(format!(
            "{} is a device, a FIFO or a socket; a VM can show directories and regular files",
            path.display()
        )),
        DirectoryError::Host { path } => Error::InvalidArgument(format!(
            "{} is the host's root or one of the kernel's own file systems; a VM can show directories of files",
            path.display()
        )),
        DirectoryError::Shell { path, lack } => Error::InvalidArgument(format!(
            "rootfs must be a directory with a whole root file system, whose /bin/sh runs commands: {} has no usable \
             /bin/sh, {lack}",
            path.display()
        )),
        DirectoryError::Right { lack, .. } => unavailable(error.to_string(), lack.remedy()),
        DirectoryError::Owner { source, .. } => unavailable(
            format!("{error}: {source}"),
            "Use a directory on ext4, XFS, Btrfs or tmpfs, or one that others may read and show it read-only, or run the \
             server as the ordinary user who owns it",
        ),
    }
}

fn of_place(path: &Path, why: &Unprotectable) -> Error {
    let remedy = match why {
        Unprotectable::Unseen { errno } => {
            return at(
                &io::Error::from_raw_os_error(*errno),
                "open",
                path.display().to_string(),
            );
        }
        Unprotectable::Unmakeable { errno } => {
            let source = io::Error::from_raw_os_error(*errno);
            return unavailable(
                format!("{} {why}: {source}", path.display()),
                "Make the file or directory, or let the directory's owner make files there, on a file system that has locks and \
                 times of whole seconds",
            );
        }
        Unprotectable::Link => "protect what the link leads to, if that is in the mount",
        Unprotectable::NotDirectory => {
            "a path leads through directories, and one with a slash at the end leads to one"
        }
        Unprotectable::Kind => "a VM can protect directories and regular files",
        Unprotectable::HardLinks => "programs could write to it by its other names; replace it by a copy",
        Unprotectable::TooMany => "up to 100,000 files, 128 directories deep, are checked for other names",
    };
    Error::InvalidArgument(format!(
        "mounts cannot protect {}, which {why}: {remedy}",
        path.display()
    ))
}

fn of_host_file(error: &HostFileError) -> Error {
    match error {
        HostFileError::Denied { path } => Error::InvalidArgument(format!(
            "host.etc must not name {path}: secrets, what tells who the host is, and what is the VM's own are never shown. Make \
             a file for the VM, and show that with the option mounts"
        )),
        HostFileError::Unreadable { path, source } => at(&(*source).into(), "open", path.clone()),
    }
}

/// The remedy if the kernel refused a step.
fn of_refusal(errno: i32) -> String {
    if let Some(hindrance) = Hindrance::find() {
        return format!("{} ({hindrance})", hindrance.remedy());
    }
    match errno {
        libc::ENOSPC | libc::EUSERS => {
            "A limit on namespaces is reached: dispose VMs that are not needed, or raise the user.max_*_namespaces settings"
                .into()
        }
        libc::EPERM | libc::EACCES | libc::ENOSYS => {
            let weaker = if landlock::check().is_ok() {
                "the weaker `isolation: \"landlock\"`, which this kernel can do,"
            } else {
                "a weaker `isolation`"
            };
            format!(
                "The server runs in a container or under a policy that forbids what VMs are made of: start it with `docker run \
                 --security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt \
                 systempaths=unconfined`, in a systemd unit without `RestrictNamespaces=`, `ProtectKernelTunables=` and their \
                 kind, or the like; or choose {weaker} on purpose"
            )
        }
        libc::EINVAL => "Run on a kernel of 5.12 or later with user namespaces built in (CONFIG_USER_NS)".into(),
        _ => DIAGNOSE.into(),
    }
}

fn unavailable(cause: String, remedy: impl Into<String>) -> Error {
    Error::IsolationUnavailable {
        cause,
        remedy: remedy.into(),
    }
}

fn at(source: &io::Error, syscall: &str, path: String) -> Error {
    Error::System {
        errno: source.raw_os_error().unwrap_or(libc::EIO),
        syscall: syscall.to_owned(),
        path: Some(path),
    }
}

/// Whether the kernel's error means that the server lacks a resource, which may be temporary.
fn is_shortage(source: &io::Error) -> bool {
    matches!(
        source.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::EAGAIN)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_step_without_namespaces_has_the_remedy_of_its_step() {
        let remedy = |step| {
            LandlockError::SetUp {
                step,
                errno: libc::EPERM,
            }
            .remedy()
        };
        assert!(remedy(BootStep::TakeUser).contains("CAP_SETUID"));
        assert!(remedy(BootStep::LeaveGroups).contains("CAP_SETGID"));
        assert!(remedy(BootStep::ReachFiles).contains("TMPDIR"));
        // Its text contains "directory", but the directory is not the one for the VM's files.
        assert!(remedy(BootStep::TakeCgroupDirectory).contains("doctor"));
    }

    #[test]
    fn a_diagnosis_names_the_file_of_init_if_that_is_missing() {
        let error = BootError::Image {
            path: "/gone/init".into(),
            source: io::ErrorKind::NotFound.into(),
        };
        let (cause, remedy) = error.into_diagnosis();
        assert!(cause.contains("/gone/init"), "{cause}");
        assert!(remedy.contains("Install agent-vm again"), "{remedy}");
    }

    #[test]
    fn a_mount_that_init_could_not_make_is_the_error_of_that_path() {
        let error = BootError::SetUp {
            step: BootStep::Mount("/data".into()),
            errno: libc::ENOTDIR,
        };
        assert_eq!(
            Error::from(error).to_string(),
            "ENOTDIR: Not a directory, mount '/data'"
        );
    }

    #[test]
    fn running_out_of_something_is_not_a_host_that_cannot_isolate() {
        for errno in [libc::EMFILE, libc::ENOMEM] {
            let step = BootStep::MountRoot;
            assert!(matches!(
                Error::from(BootError::SetUp { step, errno }),
                Error::System { .. }
            ));
        }
        let refused = BootError::SetUp {
            step: BootStep::MountRoot,
            errno: libc::EPERM,
        };
        assert_eq!(Error::from(refused).code(), "ISOLATION_UNAVAILABLE");
    }
}
