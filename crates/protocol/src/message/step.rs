//! The steps of a boot that the kernel can refuse.

use serde::{Deserialize, Serialize};

/// The step at which a boot failed. Its text completes the sentence "init could not …".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[allow(missing_docs, reason = "each says itself what it is")]
pub enum BootStep {
    // Steps for the process.
    #[error("start a session")]
    StartSession,
    #[error("become a subreaper")]
    BecomeSubreaper,
    #[error("read the limit on open files")]
    ReadOpenFiles,
    #[error("raise init's limit on open files")]
    RaiseOpenFiles,
    #[error("draw a random number")]
    DrawRandom,
    #[error("block signals")]
    BlockSignals,
    #[error("make a descriptor for signals")]
    MakeSignalFd,
    #[error("prepare to start programs")]
    PrepareSpawning,
    #[error("hide init from tracing")]
    HideInit,
    #[error("share /proc")]
    ShareProc,

    // Steps for its ids and namespaces.
    #[error("join a cgroup")]
    JoinCgroup,
    #[error("take a cgroup namespace")]
    TakeCgroupNamespace,
    #[error("map the VM's ids")]
    MapIds,
    #[error("keep capabilities over a change of user")]
    KeepCapabilities,
    #[error("read the groups")]
    ReadGroups,
    #[error("leave the host's groups")]
    LeaveGroups,
    #[error("take the VM's group")]
    TakeGroup,
    #[error("take the VM's user")]
    TakeUser,
    #[error("set the host name")]
    SetHostName,

    // Steps for cgroups.
    #[error("take a cgroup's tasks")]
    TakeTasks,
    #[error("clone the mount of a cgroup directory")]
    CloneCgroupMount,
    #[error("take a cgroup directory")]
    TakeCgroupDirectory,
    #[error("attach a cgroup directory")]
    AttachCgroup,
    #[error("show the VM's cgroups")]
    ShowCgroups,
    #[error("leave the host's cgroups behind")]
    LeaveCgroups,

    // Steps for the root.
    #[error("open the host's root")]
    OpenHostRoot,
    #[error("open the host's /proc")]
    OpenHostProc,
    #[error("mount a tmpfs for the root")]
    MountRoot,
    #[error("attach the root")]
    AttachRoot,
    #[error("look at the root")]
    LookAtRoot,
    #[error("look above the root")]
    LookAboveRoot,
    #[error("make the root read-only")]
    RestrictRoot,
    #[error("change to the root")]
    ChangeToRoot,
    #[error("pivot_root")]
    PivotRoot,
    #[error("detach the host's root")]
    DetachHostRoot,
    #[error("leave the host's root behind")]
    LeaveHostRoot,
    #[error("change to /")]
    ChangeToSlash,
    #[error("size the private files")]
    SizePrivate,
    #[error("mount a tmpfs for private files")]
    MountPrivate,
    #[error("attach the private files")]
    AttachPrivate,

    #[error("make the directories of private files")]
    MakePrivatePlaces,
    #[error("look at the private files")]
    LookAtPrivate,
    #[error("attach the layers below")]
    AttachLayers,
    #[error("open the VM's disk")]
    OpenDisk,
    #[error("lay a layer over those below")]
    StackLayers,

    // Steps for a root that the caller brings.
    #[error("open the rootfs")]
    OpenRootfs,
    #[error("make the rootfs read-only")]
    RestrictRootfs,
    #[error("make a directory for the layer")]
    MakeLayer,
    #[error("make the directories of the layer")]
    MakeLayerDirectories,
    #[error("make directories in the layer")]
    FillLayer,
    #[error("attach the rootfs")]
    AttachRootfs,
    #[error("change to the layer")]
    ChangeToLayer,
    #[error("lay a layer over the rootfs")]
    MountLayer,
    #[error("show the directories of the rootfs")]
    ShowRootfs,

    // Steps for what the root shows.
    #[error("make the directory /proc")]
    MakeProc,
    #[error("mount /proc")]
    MountProc,
    #[error("attach /proc")]
    AttachProc,
    #[error("open /proc")]
    OpenProc,
    #[error("make the directory /sys")]
    MakeSys,
    #[error("mount /sys")]
    MountSys,
    #[error("attach /sys")]
    AttachSys,
    #[error("make the directory /dev")]
    MakeDev,
    #[error("make a directory for /dev")]
    MakePrivateDev,
    #[error("make the links in /dev")]
    LinkDevices,
    #[error("make /dev read-only")]
    RestrictDev,
    #[error("make the directory /dev/pts")]
    MakePts,
    #[error("mount /dev/pts")]
    MountPts,
    #[error("attach /dev/pts")]
    AttachPts,
    #[error("make the directory /dev/shm")]
    MakeShm,
    #[error("make a directory for /dev/shm")]
    MakePrivateShm,
    #[error("attach /dev/shm")]
    AttachShm,

    // Steps for the network.
    #[error("make a socket for the loopback interface")]
    MakeLoopbackSocket,
    #[error("bring the loopback interface up")]
    RaiseLoopback,
    #[error("listen on the loopback interface")]
    ListenOnLoopback,
    #[error("allow every port")]
    AllowPorts,
    #[error("allow ICMP echo requests")]
    AllowPing,

    // Steps for limits and rights.
    #[error("forbid core dumps")]
    ForbidCoreDumps,
    #[error("limit the processes")]
    LimitProcesses,
    #[error("limit the queued signals")]
    LimitSignals,
    #[error("limit the message queues")]
    LimitMessageQueues,
    #[error("limit the locked memory")]
    LimitLockedMemory,
    #[error("mark programs by their limit on file locks")]
    MarkPrograms,
    #[error("limit inotify")]
    LimitInotify,
    #[error("make the user namespace of root")]
    MakeInnerNamespace,
    #[error("map the id of root")]
    MapInnerIds,
    #[error("open the user namespace of root")]
    OpenInnerNamespace,
    #[error("forbid user namespaces inside")]
    ForbidUserNamespaces,
    #[error("clear the ambient capabilities")]
    ClearAmbient,
    #[error("empty the capability bounding set")]
    EmptyBounding,
    #[error("lock the secure bits")]
    LockSecurebits,
    #[error("drop the capabilities")]
    DropCapabilities,
    #[error("set no_new_privs")]
    SetNoNewPrivs,
    #[error("fence off the host's abstract sockets")]
    FenceAbstractSockets,
    #[error("install the system call filter")]
    InstallFilter,

    // Steps without namespaces.
    #[error("learn what the VM may read")]
    LearnReadable,
    #[error("make a Landlock ruleset")]
    MakeRuleset,
    #[error("open the directory for the VM's files")]
    OpenFiles,
    #[error("reach the directory for the VM's files as the VM's user")]
    ReachFiles,
    #[error("make the tables of users and groups")]
    MakeTables,
    #[error("open what the VM may read")]
    OpenReadable,
    #[error("make a socket for init's deputy")]
    MakeDeputySocket,
    #[error("start init's deputy")]
    StartDeputy,
    #[error("enter the Landlock domain")]
    EnterDomain,
    #[error("keep signals in the Landlock domain")]
    KeepSignalsIn,
    #[error("install the filter for what Landlock does not hold")]
    InstallDeputyFilter,
    #[error("have the kernel ask about calls")]
    AskAboutCalls,

    // Steps of processes that become no VM.
    #[error("describe the processors")]
    DescribeProcessors,
    #[error("mount a tmpfs for the host's files")]
    MountHeld,
    #[error("attach the host's files")]
    AttachHeld,
    #[error("copy the host's files")]
    CopyHeld,
    #[error("show a file of the host")]
    ShowHeld,
    #[error("find the host's files")]
    FindHeld,
    #[error("clone the mounts of the host's files")]
    CloneHeld,
    #[error("hide the holder from tracing")]
    HideHolder,
    #[error("hide the process that merges layers from tracing")]
    HideMerger,
    #[error("mount a file system for merged layers")]
    MountMerged,
    #[error("merge layers")]
    MergeLayers,

    // Steps for one of several files.
    #[error("cover /proc/{0}")]
    CoverProc(String),
    #[error("show the device {0}")]
    ShowDevice(String),
    #[error("make {0} in the root")]
    MakeEntry(String),

    /// The path of an entry that the caller asked for.
    #[error("mount on {0}")]
    Mount(String),
    /// The path of a place that is read-only in a writable mount.
    #[error("protect {0}")]
    Protect(String),
    /// The path of such a place, which another mount shows writable.
    #[error("protect {0}, which another mount shows")]
    ProtectElsewhere(String),
    #[error("read the VM's mounts")]
    ReadMounts,
}
