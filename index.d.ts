// The public types of `agent-vm`, written by hand: this file is the contract, and tests hold the code to it. The process and
// shell calls have the names and shapes of agentOS's documentation ("Processes & Shell"), so that code written for it moves
// over unchanged. `agent-vm/rivetkit` and `agent-vm/client` have their types in dist/rivetkit.
/// <reference types="node" />
import type { EventEmitter } from "node:events";
import type { Duplex, Readable, Writable } from "node:stream";

// ---------------------------------------------------------------- errors
/** The codes of `AgentVmError`: one of these, or the name of the errno that a system call failed with. */
export type AgentVmErrorCode =
  | "INVALID_ARGUMENT" // an argument has the wrong type or value; the message names the argument and what is allowed
  | "ISOLATION_UNAVAILABLE" // this host cannot isolate as requested, or the native binary is missing; the message names the cause and the remedy
  | "VM_DISPOSED" // the VM was disposed, or its init has died
  | "VM_BUSY" // something runs or is open in the VM, and the call needs one in which nothing does
  | "VM_PAUSED" // the VM is paused, and the call would start or use a program; `resume` first
  | "PROCESS_NOT_FOUND" // the message is "Process not found: 99999"
  | "SHELL_NOT_FOUND" // the message is "Shell not found: shell-9"
  | "CONTEXT_NOT_FOUND" // the message is "Context not found: context-9"
  | "DISK_IN_USE" // a VM has the named disk, of this server or of another one
  | "SNAPSHOT_NOT_FOUND" // no snapshot of this server has that id: none was made with it, or it was removed
  | "STDIN_CLOSED" // standard input was closed, or its process has exited
  | "LIMIT_EXCEEDED" // a limit refused the call; the message names the limit and its value
  | "COMMAND_FAILED" // a command that was run with `check: true` failed; the error's `result` has how, and its output
  | "ABORTED" // the call's AbortSignal was aborted; the signal's reason is the error's `cause`
  | "OUTPUT_ENDED" // the output of a process or shell has ended without what waitForOutput or waitForScreen waits for
  | "ETIMEDOUT" // what a call waits for has not happened within its `timeout`, or a listener's queue is full
  | "ENOENT"
  | "EACCES"
  | "EEXIST"
  | "ENOTDIR"
  | "EISDIR"
  | "ENOTEMPTY"
  | "ENOSPC"
  | (string & {}); // the name of another errno

/** Every rejection of the API is an AgentVmError. Branch on `code`, which is stable; `message` is for people and may change. */
export class AgentVmError extends Error {
  /** What kind of error this is. */
  code: AgentVmErrorCode;
  /** The errno of the system call that failed: a negative number, as in Node.js (-2 for ENOENT). Absent for other errors. */
  errno?: number;
  /** The name of the system call that failed. Absent for other errors. */
  syscall?: string;
  /** The path or program that the call failed for. */
  path?: string;
  /** How many bytes of the output are no longer kept, for the LIMIT_EXCEEDED of a handle's stream. */
  truncatedBytes?: number;
  /** The result of the command, for COMMAND_FAILED. Its output is bytes if `encoding` was "buffer". */
  result?: ExecResult | ExecResult<Uint8Array>;
}

// ---------------------------------------------------------------- options of create
/** A level of isolation. docs/isolation.md compares them. */
export type IsolationLevel = "namespaces" | "landlock" | "none";
/** Which ids a VM's root has: one, which is also `user`'s, or a range. docs/root.md compares them. */
export type RootIds = "single" | "range";

/** A host directory, or a regular file, that a VM shows. */
export interface Mount {
  /**
   * The path inside: absolute, at most 4,095 bytes, without `.` and `..`, and not a place that the VM provides itself (`/`,
   * `/usr`, `/etc`, `/home/user`, anything below `/dev` or `/proc`, …), else INVALID_ARGUMENT.
   *
   * Missing parent directories are created, also in a home or in a writable mount that `path` is below. On a read-only file
   * system they must exist (EROFS). None of them may be a symbolic link (ELOOP).
   */
  path: string;
  /**
   * The path on the host: absolute, and neither the host's root nor /proc, /sys or a similar file system. `create` resolves
   * symbolic links in it, so no component may be one that a program inside a VM can replace.
   */
  hostPath: string;
  /** Whether writes are refused with EROFS, also on file systems that are mounted below `hostPath`. Default true. */
  readOnly?: boolean;
  /**
   * Places inside a writable mount that stay read-only, such as [".git/hooks/", ".git/config", ".bashrc"]: paths below
   * `path`, without `.` and `..`, at most 64. Requires `readOnly: false`. Default: none.
   *
   * Writes to a place, or to anything below it, fail with EROFS. To remove, replace or move a place, or a directory between
   * the mount and the place, fails with EBUSY; to rename or link a file from one side of such a directory to the other fails
   * with EXDEV (`mv` then copies). A place that does not exist shows as an empty file, or as an empty directory if it ends
   * with a slash; missing directories above it are made. For that the host has placeholders while the VM exists: an empty
   * file or directory with the modification time 1985-11-05T00:53:22Z. They go when the VM has ended, also if the server
   * was killed, unless somebody on the host has written to one.
   *
   * `create` rejects with INVALID_ARGUMENT if a place is, or leads through, a symbolic link; if it is neither a directory nor a
   * regular file; if a file of it has several names (hard links); or if another writable mount or the home shows the place as
   * well. It rejects with ISOLATION_UNAVAILABLE if the place does not exist and the owner of `hostPath` may not make it.
   *
   * Protection holds against the programs of this VM. The host, and other VMs that show the directory, can change the
   * places. If one of them removes or moves a place, or replaces it by another file, what then has the name is not protected in
   * VMs that run already.
   */
  protect?: string[];
}

/** Limits of one VM. */
export interface VmLimits {
  /**
   * Memory of the whole VM in bytes, 4 MiB or more: all its programs, their private files (which are in memory) and the
   * kernel's structures for them. At the limit the kernel kills the largest process; see `ExitStatus.reason`, "oom".
   * Default: no limit. Rejects with ISOLATION_UNAVAILABLE where no cgroup can enforce it; `AgentVm.doctor()` reports that.
   *
   * With isolation "namespaces" programs read this limit and `cpus` in /sys/fs/cgroup, so Java, Node.js and others size
   * themselves. /proc/meminfo, and with it `free`, keep showing the host's memory.
   */
  memoryBytes?: number;
  /**
   * Processor time of the whole VM, in cores: 0.01 or more, fractions allowed. At the limit programs wait. Default: no limit.
   * Rejects as `memoryBytes`.
   *
   * With a limit, OMP_NUM_THREADS, GOMAXPROCS and PYTHON_CPU_COUNT are the next whole number, at most what the server may use;
   * `env` overrides them. `nproc` prints the first one. /proc/cpuinfo and lscpu keep showing the host's processors.
   */
  cpus?: number;
  /**
   * Processes and threads of the whole VM. Default 4,096. At the limit programs get EAGAIN. A server that is not root can give
   * at most half of its own limit (`ulimit -u`), which all its VMs share.
   */
  pids?: number;
  /**
   * Open files of each process, from 16 to 1,048,576. Default 4,096. At the limit programs get EMFILE. The limit inside also
   * stays at least 512 below the server's own hard limit (`ulimit -Hn`), or is half of it where that is 1,024 or less;
   * `ulimit -n` inside reports it. The kernel lets one user send as many descriptors over Unix sockets as the sender may
   * open, so a program with the server's limit could block every VM of an ordinary user's server.
   */
  openFiles?: number;
  /**
   * Bytes of private files. They are in one tmpfs, and so in memory. Default 1 GiB. At the limit programs get ENOSPC. null, and
   * only null, for a `disk` in a directory of the host, which has no bound.
   */
  diskBytes?: number | null;
  /**
   * Terminals that are open at the same time: those of `openShell` and those that programs open. From 1 to 4,096; default 64.
   * At the limit programs and `openShell` get ENOSPC. All VMs, containers and the host share the kernel's pool, of which 3,072
   * are available to VMs by default (`/proc/sys/kernel/pty/max` less `reserve`). Only under isolation "namespaces":
   * INVALID_ARGUMENT under "landlock", where programs cannot open terminals, and ISOLATION_UNAVAILABLE under "none".
   */
  terminals?: number;
  /**
   * Bytes of output that are kept for `readProcessOutput` and `readShell`, for each process and shell. Default 1 MiB. Processes
   * and shells that have exited share 16 MiB; the oldest output is dropped first.
   */
  replayBytes?: number;
}

/** Destinations that a VM may connect to. */
export interface NetworkAllowList {
  /**
   * At most 1,024 entries, in any order. Each is a name ("registry.npmjs.org"), all subdomains of a domain ("*.github.com",
   * without the domain itself), an address ("10.0.0.5", "::1", "[::1]") or a range ("10.0.0.0/8"), with a port (":443") or for
   * every port. Anything else is INVALID_ARGUMENT; so is "*": use "public".
   *
   * A name is resolved on the host; one of two or more labels is absolute, without the host's search domains. A listed name is
   * refused if it resolves to an address that is not public, or to one of the host's own, unless that address is listed
   * too. "localhost" is the host's loopback. A range includes non-public addresses only if all of it is of that kind:
   * "127.0.0.0/8" and "10.1.0.0/16" do; "0.0.0.0/0" and "::/0" mean public addresses. A metadata service and a public address
   * of the host are reached only by their exact address.
   */
  allow: string[];
}

/**
 * A software package of agentOS, as its npm package exports it: commands (`{ commands, commandDir, aptName }`), an agent
 * (`{ type: "agent", packageDir, requires }`) or a tool (`{ type: "tool", packageDir, requires, bins }`). Other members are
 * allowed and not read.
 */
export interface SoftwarePackage {
  /** Names the package in messages. */
  name?: string;
  /** What it is. Default: commands, or with `packageDir` npm packages. */
  type?: "agent" | "tool" | "wasm-commands";
  /** Commands that the VM must have on its PATH. Default: the names of the files in `commandDir`. */
  commands?: readonly (string | SoftwareCommand)[];
  /** The host directory of the commands' WebAssembly. Only the files' names are used. */
  commandDir?: string;
  /** Further commands, as the names of members. */
  aliases?: Readonly<Record<string, string>>;
  /** The Debian package that has the commands, for the message about a missing one. */
  aptName?: string;
  /** The npm package's directory on the host, an absolute path. `requires` is resolved from there. */
  packageDir?: string;
  /** The npm packages whose commands the VM gets. */
  requires?: readonly string[];
  /** Command name to npm package name. Default: every command of the packages in `requires`. */
  bins?: Readonly<Record<string, string>>;
  /**
   * Absolute host paths, themselves without symbolic links. Symbolic links of the packages may lead to these paths and below
   * them, and each path is shown whole. Default: none.
   */
  allowLinks?: readonly string[];
  /** Not read: agentOS's settings for an agent. */
  agent?: object;
  /** Not read: agentOS's permissions for WebAssembly. */
  permissions?: object;
}

/** A command of a software package. */
export interface SoftwareCommand {
  /** The command's name: a file name without `/` and control characters. */
  readonly name: string;
}

/** Software packages, also in nested arrays. */
export type Software = SoftwarePackage | readonly Software[];

/**
 * Options of `AgentVm.create`. All are optional. A wrong one rejects with INVALID_ARGUMENT.
 *
 * The options of every call are read once, from the object and its classes (including computed members), never from
 * Object.prototype.
 */
export interface AgentVmOptions {
  /**
   * Host directory to use as the root file system, such as debootstrap makes: an absolute path. `create` resolves symbolic
   * links in it and rejects as for `mounts`. It must have a shell as /bin/sh, or as a link to a program within the directory
   * (else INVALID_ARGUMENT). Default: the host's own programs and what
   * their packages brought (see `host`), read-only, without its other data.
   *
   * The directory never changes. Writes go to the VM's overlay and count towards `limits.diskBytes`. The directory's owner maps
   * to `user` inside the VM, so `user` can modify the files of the owner, and only those. Where the server's user does not own
   * the directory and the server is not root, little is writable. Where the kernel cannot mount an overlay (before Linux 5.11,
   * or as a third overlay), the root is read-only.
   *
   * The VM provides /dev, /proc, /tmp, /run, /var/tmp, the home, and in /etc: hostname, hosts, resolv.conf, passwd and group
   * (the root's own with `user` added), and mailname if the root has none. The server's Node.js is not shown, and neither are
   * file systems that the host has mounted below the directory.
   */
  rootfs?: string;
  /**
   * Host directories and files to show inside, at most 100. A missing or unreadable `hostPath` rejects with ENOENT, ENOTDIR or
   * EACCES and has `path` set to it. Default: none.
   *
   * Links on the way to `hostPath` are followed, but none below a directory that a VM of this server can write to, where a program
   * may have put it (ENOTDIR). The same holds for `home`.
   *
   * The owner of `hostPath` is the VM's `user` inside, as for `home`. On a file system that cannot map owners, a read-only mount
   * gives what the host gives to others. A root server without CAP_SYS_ADMIN, or in a user namespace of its container, cannot
   * show any: ISOLATION_UNAVAILABLE.
   *
   * A program inside can connect to Unix sockets of the owner in a writable mount, and under a server that is not root also in
   * a read-only one; do not show directories that contain any. Do not show set-user-id programs of the owner in a writable
   * mount either: a program inside cannot make such a file, but it can put its own code into an existing one through a shared
   * memory mapping.
   *
   * In a writable mount and in a `home`, programs can make directories set-group-id; every other set-user-id or set-group-id
   * mode fails with EPERM. On the VM's own files (/tmp and the like) such modes work and have no effect: where the VM has
   * `mounts`, `home`, `software` or `network: "host"`, by `chmod(2)`, as tar and dpkg set them, and not by `open(2)` (EPERM).
   */
  mounts?: Mount[];
  /**
   * Empty, writable directories of the VM besides the home and /tmp, such as ["/workspace"]; at most 32. They belong to `user`,
   * have mode 0755, count towards `limits.diskBytes` and end with the VM. They hide what a `rootfs` has at the same path.
   * Default: none.
   *
   * Each is an absolute path of at most 4,095 bytes without `.` and `..`, neither at nor below a system directory (/usr, /etc,
   * /proc, /sys, /dev, /run, /tmp, /var, /home/user, …), another entry, or the `path` of a mount: INVALID_ARGUMENT. A mount may
   * be below one. In a `rootfs` no parent directory may be a symbolic link (ELOOP), and in a read-only one the parents must
   * exist (EROFS).
   */
  directories?: string[];
  /**
   * Host directory that becomes /home/user and outlives the VM: an absolute path. `create` resolves symbolic links in it and
   * rejects as for `mounts`. Default: a private directory that ends with the VM.
   *
   * The directory's owner is the VM's `user` inside. Files made inside belong to the owner on the host, with the owner's group
   * or, in a set-group-id directory, with that directory's group; new directories in it inherit the bit. Modes with such bits:
   * see `mounts`. Under a root server, files of another owner or group than the directory's own can be read as others may read
   * them, and cannot be written; the file system must support idmapped mounts (ext4, XFS, Btrfs, tmpfs and others; not overlay
   * or NFS), else ISOLATION_UNAVAILABLE. `limits.diskBytes` does not count what is written there. With `isolation: "none"` it is where
   * HOME points.
   */
  home?: string;
  /**
   * Which settings and data of installed programs the VM shows of the host, read-only. By default a VM shows, below /etc, /var/lib,
   * /var/cache and /opt, the files that Debian packages own and nobody changed, and caches that programs generate;
   * docs/host-files.md has the lists. Files that others may not read never show. A file that somebody wrote or changed shows only
   * where `etc` names it. The server decides once, and again after packages were installed. Works with isolation "landlock" too;
   * INVALID_ARGUMENT with `rootfs` or isolation "none".
   */
  host?: {
    /**
     * Files and directories below /etc to show whatever their origin, like ["gitconfig", "npmrc"] or ["/etc/pip.conf"]; at most 64. A
     * directory shows with everything in it that others may read. The VM shows the state when it is made. `create` rejects with
     * ENOENT if one is missing and EACCES if others may not read it, each with `path`; and with INVALID_ARGUMENT for one that never
     * shows: passwords, keys, credentials, what identifies the host. Default: none.
     */
    etc?: string[];
    /** Absolute paths below /etc, /var/lib, /var/cache or /opt to hide, with everything below them; at most 64. Default: none. */
    hide?: string[];
  };
  /**
   * agentOS software packages, also in nested arrays (`software: [common, pi]`). Default: none.
   *
   * A package of commands requires that the VM has native programs of these names on its PATH (with `rootfs`, those of that
   * root); its WebAssembly is not used. A missing one rejects with ENOENT, and the message names the command, the package and the
   * Debian package that has it. Names with a leading underscore are not required.
   *
   * An agent or a tool is a set of npm packages. The VM shows the node_modules directory that contains them and all their
   * dependencies, whole and read-only, below /opt/agent-vm/software, once for all packages; so install them where
   * nothing else is that the VM must not read. Packages outside of any node_modules directory (of a workspace) are shown by
   * themselves. Programs inside must not be able to write to software: `create` rejects with INVALID_ARGUMENT where it overlaps
   * a writable mount or the home of this VM or of another running VM of this server. It does not know the VMs of other servers.
   *
   * A symbolic link of the installer is followed only into a `node_modules` that `packageDir` itself searches, into a member of
   * its workspace (`workspaces` of npm and yarn, pnpm-workspace.yaml), or into `allowLinks`. Any other link before a needed
   * package, a `packageDir` behind a link, and a `packageDir` outside of node_modules and workspaces that would be shown
   * itself, are INVALID_ARGUMENT; the message names the link and the remedy. No link on the way to the packages may appear
   * later: each `create` opens them without following any.
   *
   * Under a root server `user` reads and runs what others may: EACCES for a command that others may not read and execute. Under
   * an ordinary user's server `user` is that user, and can read the user's files of mode 0600 there.
   *
   * The packages' commands are on the PATH, after node and /home/user/.local/bin and before the system's. They run on the
   * server's Node.js, or with `rootfs` on that of the root, if it has one. `create` rejects with ENOENT if a package in
   * `requires` is not installed, with EACCES if a command is not executable, and with INVALID_ARGUMENT for a package.json whose
   * `bin` is neither a path nor an object of paths, or for a command name that is empty, longer than 255 bytes, or contains a
   * slash or a control character. A package object is examined once and must not change afterwards.
   */
  software?: Software[];
  /** Environment variables of every process. Nothing of the server's own environment is passed in. Default: none added. */
  env?: Record<string, string>;
  /** The host name inside. Default "agent-vm". */
  hostname?: string;
  /**
   * What programs can reach: their own loopback only ("none", the default), the internet ("public"), the host's network
   * ("host"), or listed destinations. "public" and a list require isolation "namespaces".
   *
   * With "public" or a list, programs connect through an HTTP and SOCKS 5 proxy on 127.0.0.1:1080, which environment variables
   * name (HTTP_PROXY and the like, NODE_USE_ENV_PROXY). The proxy connects to the very address that it has checked. A refused
   * request gets status 403 with the reason in the status line ("403 not in network.allow: registry.example.com:443") and in
   * the body, and emits `networkDenied`. A connection ends after 10 minutes without a byte. All VMs share the places for
   * connections fairly: where none is free, the VM with the most connections loses the one that was idle for longest.
   *
   * "public" reaches every public address at every port, and names that the host resolves to public addresses. It never reaches
   * a loopback, private, link-local, multicast, shared (100.64.0.0/10), benchmarking, documentation or reserved address, a
   * metadata service, an IPv6 address that contains such an address (mapped, NAT64, 6to4, Teredo), or an address of the host,
   * neither directly nor by a name. Names of one label, and names below .local, .internal or .home.arpa, are not resolved.
   *
   * The VM's own names (localhost and its subdomains, `hostname`, 127.0.0.0/8, 0.0.0.0, "::1", "::") lead to servers inside
   * the VM, also through the proxy, unless the list contains them with that port. NO_PROXY contains those that clients
   * treat alike, so most clients do not ask the proxy for them.
   *
   * With "none", environment variables set the retries of npm, pnpm, pip, uv, Yarn and Cargo so that they fail at once; `env`
   * overrides them.
   *
   * "host" shares the host's ports and everything that they reach, including a cloud's metadata service. Under isolation
   * "none" it is the default and the only value.
   */
  network?: "none" | "public" | "host" | NetworkAllowList;
  /** Limits of the whole VM or of each process. `vm.enforcement` reports which mechanism enforces each. */
  limits?: VmLimits;
  /**
   * The level of isolation. Default "namespaces". "landlock" is for hosts that forbid user namespaces; "none" isolates nothing.
   * A level that the host cannot provide rejects with ISOLATION_UNAVAILABLE, with the cause and the remedy; `create` never
   * falls back to another level.
   *
   * "landlock" (Linux 6.12 or later) restricts programs within the host's own namespaces. They see the host's paths, and read an
   * /etc/passwd and /etc/group of the VM; the home is a private directory (`$HOME`, the default `cwd`), `$TMPDIR` another one;
   * there is no network: `connect` and `fetch` reject with ISOLATION_UNAVAILABLE. `home`, `mounts`, `directories`, `rootfs`,
   * `hostname`, `limits.diskBytes`, `limits.terminals` and any `network` except "none" are INVALID_ARGUMENT.
   */
  isolation?: IsolationLevel;
  /**
   * Where the files are that the VM writes: "memory" (default), bounded by `limits.diskBytes`, or a directory of the host, for work
   * that does not fit there. Everything that a snapshot would keep is on the disk; `/run` and `/dev/shm` stay in memory, 1 GiB at most.
   * See `DiskOptions`.
   */
  disk?: "memory" | DiskOptions;
  /**
   * A snapshot, or the id of one, with which the VM begins: it has all that the snapshot's VM could write and had written. The
   * options of that VM hold for this one too, except those that are given here. An unknown id rejects with SNAPSHOT_NOT_FOUND,
   * another `rootfs` than the snapshot's with INVALID_ARGUMENT. Needs isolation "namespaces".
   */
  from?: Snapshot | string;
  /**
   * The user that programs run as by default, and in whose home they start: "user" (the default), or "root", which gives the VM a
   * root (docs/root.md). Also by number, "0" or "1000". With a range of ids also a name of the root's table of users, or numbers of
   * user and group such as "33:33". Fixed when the VM is made: in a VM without a root, a call with
   * `user: "root"` is INVALID_ARGUMENT. Only with isolation "namespaces".
   */
  user?: string;
  /**
   * Gives the VM a root that calls can run programs as, and says which ids it has. "single": root and `user` are one id of the host,
   * so nothing keeps them apart. Root has no capability, and changes of owners and ids do nothing and report success.
   * "range": every user is an id of its own, root has the capabilities that act on these, and set-user-id programs of a `rootfs` work.
   * Rejects with ISOLATION_UNAVAILABLE where the host has no 65,536 ids to give (`doctor`, "id range"), and where the server is an
   * ordinary user, together with `home` or writable `mounts`. Default: a range if possible, else "single", if `user` needs it; else no root.
   * `vm.enforcement.ids` reports it.
   */
  ids?: RootIds;
}

// ---------------------------------------------------------------- events
/** The events of an AgentVm. A slow listener slows down the program that writes; no output is lost. */
export interface AgentVmEvents {
  /** A spawned process, or a process that it left behind, has written output. */
  processOutput: [ProcessOutputEvent];
  /** A spawned process has exited. Emitted after all output that the process itself wrote. */
  processExit: [ProcessExitEvent];
  /**
   * The output of a spawned process has ended: the process has exited, and no process that it left behind can write to it.
   * Emitted after `processExit` and after the last `processOutput`, and before `exit`. Not emitted, and output that comes
   * then is dropped, once another spawned process has the pid.
   */
  processClose: [ProcessCloseEvent];
  /** A spawned process has written to one of its `descriptors`. */
  descriptorOutput: [DescriptorOutputEvent];
  /** A shell's terminal has shown output. */
  shellData: [ShellDataEvent];
  /** A shell has exited. Emitted after all output that the shell itself wrote, unless `closeShell` ended it. */
  shellExit: [ShellExitEvent];
  /** The proxy refused a connection from inside. The program gets its answer after this event. */
  networkDenied: [NetworkDeniedEvent];
  /**
   * The program in a shell's foreground waits for input, as for `waitForIdle`. Emitted once until the shell is written to, or the
   * program does something else or is another one; also for a shell that waited before this had a listener.
   */
  shellWaiting: [ShellWaitingEvent];
  /**
   * A port has its first listener inside. Emitted for each port that is listened on while this or `portClosed` has a listener here,
   * also for those that were open before. A port that is open for a few milliseconds only may go unnoticed.
   */
  portOpened: [ListeningPort];
  /** A port that `portOpened` reported has no listener inside any more. Not emitted when the VM ends. */
  portClosed: [PortClosedEvent];
  /** The VM has ended. Emitted after the exit events of all its processes and shells. */
  exit: [VmExitEvent];
}
/** A chunk of a spawned process's output. */
export interface ProcessOutputEvent {
  /** The pid that `spawn` returned. */
  pid: number;
  /** The stream that the process wrote to. */
  stream: "stdout" | "stderr";
  /** The bytes, at most 64 KiB. A character may begin in one chunk and end in the next. */
  data: Uint8Array;
  /** How many bytes the process wrote before these, to stdout and stderr together. */
  seq: number;
}
/** How a spawned process ended. */
export interface ProcessExitEvent extends ExitStatus {
  /** The pid that `spawn` returned. */
  pid: number;
}
/** The end of a spawned process's output. */
export interface ProcessCloseEvent {
  /** The pid that `spawn` returned. */
  pid: number;
}
/** A chunk of what a process writes to one of its `descriptors`. */
export interface DescriptorOutputEvent {
  /** The pid that `spawn` returned. */
  pid: number;
  /** The number of the descriptor in the process. */
  fd: number;
  /** The bytes, at most 64 KiB. */
  data: Uint8Array;
  /** How many bytes of this descriptor came before. */
  seq: number;
}
/** A chunk of a terminal's output. */
export interface ShellDataEvent {
  /** The id that `openShell` returned. */
  shellId: string;
  /** The bytes, including escape sequences, at most 64 KiB. */
  data: Uint8Array;
  /** How many bytes this terminal showed before these. */
  seq: number;
}
/** How a shell ended. */
export interface ShellExitEvent extends ExitStatus {
  /** The id that `openShell` returned. */
  shellId: string;
}
/** A connection that the proxy refused. */
export interface NetworkDeniedEvent {
  /** The name or address that the program asked for. */
  host: string;
  /** From 1 to 65,535. */
  port: number;
  /** The reason, for people. */
  reason: string;
}
/** A shell that waits for input. */
export interface ShellWaitingEvent {
  /** The id that `openShell` returned. */
  shellId: string;
}
/** A TCP port inside that a process listens on. */
export interface ListeningPort {
  /** From 1 to 65,535. */
  port: number;
  /** The address that the listener is bound to, such as "127.0.0.1", "0.0.0.0" or "::". */
  address: string;
  /**
   * The process that holds the listener; of several, the one that started first. Null if it cannot be found: the process has opened
   * it a moment ago, the VM has more than 65,536 open files, or the server may not look at its processes (docs/waiting.md).
   */
  pid: number | null;
}
/** A port inside that nothing listens on any more. */
export interface PortClosedEvent {
  /** From 1 to 65,535. */
  port: number;
}
/** Why a VM ended. */
export interface VmExitEvent {
  /** "disposed" by `dispose`, or "died": its init ended without a request. */
  reason: "disposed" | "died";
}

/** How a program ended, and what it used. */
export interface ExitStatus {
  /** As a shell reports it: the exit status, or 128 + the signal number. */
  exitCode: number;
  /** The signal that ended the program, or null. "SIGSYS" ends a 32-bit program: a VM runs 64-bit programs only. */
  signal: NodeJS.Signals | null;
  /**
   * "exited" by itself; ended by a "signal"; killed at its "timeout"; killed for lack of memory ("oom"); or "disposed" with its
   * VM (exit code 137, SIGKILL, zero usage).
   *
   * "oom": at `limits.memoryBytes`, the kernel killed the program, or killed a process that it had started and whose end it
   * returned as its own (as `sh -c "program"` does: exit code 137, no signal). The kernel counts OOM kills for each command,
   * not for each process: a command that lost a child this way and is then killed with SIGKILL from inside is "oom" too.
   */
  reason: "exited" | "signal" | "timeout" | "oom" | "disposed";
  /** What the program and the children that it waited for used. */
  usage: ResourceUsage;
}
/** Resources that an ended program used, from getrusage(2). */
export interface ResourceUsage {
  /** Processor time in user mode, in milliseconds. */
  userMs: number;
  /** Processor time in the kernel, in milliseconds. */
  systemMs: number;
  /**
   * The peak memory of a single process, in bytes. The kernel includes what the VM's init held when it started the program:
   * a few megabytes, which grow with the longest arguments so far (at most 6 MiB).
   */
  maxRssBytes: number;
}

// ---------------------------------------------------------------- the VM
/**
 * An isolated Linux machine. `AgentVm.create()` makes it. It lives until `dispose()`, until the server's process ends or, when
 * nothing runs in it and no reference to it is left, until it is garbage-collected.
 *
 * **Text.** A string that becomes a path, a name or a word must be well-formed Unicode: half a surrogate pair, which has no form in
 * UTF-8, is INVALID_ARGUMENT. In data, such as the content of a file, it becomes U+FFFD, as in Node.js.
 *
 * **Order of checks.** Every call checks its arguments (INVALID_ARGUMENT), then that the VM is alive (VM_DISPOSED), then ids
 * (PROCESS_NOT_FOUND, SHELL_NOT_FOUND).
 *
 * **Order of events.** The wait calls resolve after the exit event, which comes after all output that the process
 * itself wrote. When a VM ends, everything that ran ends with reason "disposed"; then `exit` is emitted; then `dispose`
 * resolves. Pending calls reject with VM_DISPOSED.
 *
 * **Context.** `onStdout`, `onStderr` and the listeners of an event run in the asynchronous context (AsyncLocalStorage) of the
 * call that started the process or shell.
 *
 * **Records.** The last 1,024 processes and the last 1,024 shells that have exited still answer wait, read, get and list
 * calls. On them closeShell, closeProcessStdin and stopProcess do nothing; writeShell and resizeShell reject with
 * SHELL_NOT_FOUND. A pid names the newest process that `spawn`
 * returned it for; once another process has the number, calls on the old record do nothing.
 *
 * **Limits of the kernel.** One argument, and the command of `exec`, has at most 128 KiB: E2BIG. Kill, timeout
 * and abort end all processes that a command started. Only with `isolation: "none"`, and where the server has no cgroup of its own,
 * a process that sets its limit on file locks, forks twice and calls setsid is found only by `dispose`.
 *
 * @example
 * ```js
 * await using vm = await AgentVm.create({ limits: { pids: 100 } }); // TypeScript, or Node.js 24; else: vm.dispose()
 * const { stdout, exitCode } = await vm.exec("python3 -c 'print(6 * 7)'", { timeout: 5000 });
 * ```
 */
export class AgentVm extends EventEmitter<AgentVmEvents> {
  private constructor();
  /**
   * Boots a VM, in a few milliseconds and without forking the server's process. Rejects with INVALID_ARGUMENT for a wrong
   * option, with ISOLATION_UNAVAILABLE where the host cannot isolate as requested (the message has the cause and the remedy),
   * and with an errno for a host directory that cannot be shown.
   *
   * `node` inside is the server's own Node.js. Under Bun or Deno it is the first Node.js on the server's PATH: the first call
   * runs each candidate once to ask. Where there is none, `node` inside says so and exits with 127.
   */
  static create(options?: AgentVmOptions): Promise<AgentVm>;
  /** Probes what this host can isolate, and says how to get what is missing. Never rejects. */
  static doctor(): Promise<DoctorReport>;

  // one-shot
  /**
   * Runs a command with `/bin/sh -c` (`sh -c --` if the command begins with `-` or `+`), and resolves when the command has ended.
   * A command that fails, is killed or exceeds its timeout is a result, not a rejection, unless `check` is true. Emits no `processOutput` and no
   * `processExit`; `allProcesses` lists the command, `listProcesses` does not. Rejects with ENOENT for a missing `cwd`, E2BIG
   * for a command longer than 128 KiB, and ABORTED.
   *
   * With `contextId` the context's shell runs the command itself (`eval`), and keeps its state for the next one. Commands of one
   * context run in the order of the calls, those of different contexts at the same time. Rejects with CONTEXT_NOT_FOUND, and with
   * LIMIT_EXCEEDED if 256 commands of the context run or wait already.
   */
  exec(command: string, options: ExecBufferOptions | ContextExecBufferOptions): Promise<ExecResult<Uint8Array>>;
  exec(command: string, options?: ExecOptions | ContextExecOptions): Promise<ExecResult>;
  /**
   * Runs a program without a shell, and otherwise as `exec`. `file` is a path or a name on the PATH, and the program gets `args`
   * unchanged. Rejects with ENOENT or EACCES, with `path`, if the program cannot be run.
   */
  execFile(file: string, args: string[] | undefined, options: ExecBufferOptions): Promise<ExecResult<Uint8Array>>;
  execFile(file: string, args?: string[], options?: ExecOptions): Promise<ExecResult>;

  // contexts
  /**
   * Starts a shell that keeps its state between the commands that `exec` runs in it: working directory, variables, functions, aliases,
   * options, background jobs. A command's end is reported by no text in its output: the kernel shows that the shell waits for the
   * next command. A redirection by `exec` (`exec >log`) lasts, except that of standard input.
   *
   * A shell that ends (`exit`, `exec program`) is restarted for the next command; see `ExecResult.contextRestarted`. Processes that
   * its commands left running live on until `resetContext` or `deleteContext`. A context does not keep an actor awake, and its state
   * ends with the VM. At most 64 at a time: LIMIT_EXCEEDED. Rejects with INVALID_ARGUMENT for another shell, and with ENOENT or
   * EACCES, with `path`, if the shell or the directory cannot be used.
   */
  createContext(options?: ContextOptions): Promise<CreatedContext>;
  /** One context. CONTEXT_NOT_FOUND if there is none of that name. */
  getContext(contextId: string): Promise<ContextInfo>;
  /** The contexts in the order of `createContext`. */
  listContexts(): Promise<ContextSummary[]>;
  /**
   * Kills everything in the context, and starts it again as `createContext` made it. The command that runs ends with SIGKILL; commands
   * that wait reject with ABORTED.
   */
  resetContext(contextId: string): Promise<void>;
  /**
   * Kills everything in the context and forgets it. The command that runs ends with SIGKILL; commands that wait reject with
   * CONTEXT_NOT_FOUND.
   */
  deleteContext(contextId: string): Promise<void>;

  // long-running
  /**
   * Starts a process, and resolves when it runs, to a handle with its pid and its streams. `processOutput` events bring its
   * output, which is also kept for `readProcessOutput`. Its standard input is a pipe that stays open until `closeProcessStdin`.
   * While the process runs, it keeps the VM and Node.js alive. Rejects as `execFile`.
   */
  spawn<const D extends ProcessDescriptors = ProcessDescriptors>(
    command: string,
    args?: string[],
    options?: SpawnOptions<D>,
  ): Promise<VmProcess<D>>;
  /**
   * A handle of a spawned process, or of a shell, by what `spawn` or `openShell` returned. Each call makes a handle of its own,
   * whose streams begin at the first byte. Rejects with PROCESS_NOT_FOUND or SHELL_NOT_FOUND.
   */
  getHandle(pid: number): Promise<VmProcess>;
  getHandle(shellId: string): Promise<VmShell>;
  /**
   * Writes to a process's standard input, a string as UTF-8. Resolves when the pipe has taken all of it; writes to one process
   * keep their order. Rejects with STDIN_CLOSED after `closeProcessStdin`, or if no process reads it any more; and with
   * LIMIT_EXCEEDED, without writing anything, if other writes are waiting and more than 64 MiB would then wait. While no write
   * waits, one write may have any size.
   */
  writeProcessStdin(pid: number, data: string | Uint8Array): Promise<void>;
  /** Closes a process's standard input after everything that was written. A second call does nothing. */
  closeProcessStdin(pid: number): Promise<void>;
  /** Resolves to the exit code of a spawned process, after `processExit`; at once if it has exited. */
  waitProcess(pid: number): Promise<number>;
  /** As `waitProcess`, and resolves to everything that is known of the end: exit code, signal, reason, usage. */
  waitProcessExit(pid: number): Promise<ExitStatus>;
  /** The spawned processes in the order of `spawn`: all that run, and the last 1,024 that have exited. */
  listProcesses(): Promise<SpawnedProcessInfo[]>;
  /** One spawned process. PROCESS_NOT_FOUND for a pid that `spawn` never returned, or whose record was dropped. */
  getProcess(pid: number): Promise<SpawnedProcessInfo>;
  // stopProcess, killProcess and signalProcess take every pid that allProcesses lists, and every pid that spawn returned.
  // waitProcess, waitProcessExit, getProcess, readProcessOutput and the stdin calls take those that spawn returned. Init's pid is
  // PROCESS_NOT_FOUND to all.
  /**
   * Sends SIGTERM to the process group that the process leads, or else to the process alone. Does nothing if the process has
   * exited.
   */
  stopProcess(pid: number): Promise<void>;
  /**
   * Sends SIGKILL to the process and to everything that it started; if the process has exited, to what it left behind.
   * Resolves when all of them are gone and, for a spawned process, after `processExit`. A process of the VM that traces one of
   * them (`ptrace(2)`) and has not waited for its end within 500 ms is killed too; the same holds at a timeout, at an abort and
   * for `closeShell`.
   */
  killProcess(pid: number): Promise<void>;
  /**
   * Sends a signal, by its name, to the process group that the process leads, or else to the process alone. Does nothing if the
   * process has exited.
   */
  signalProcess(pid: number, signal: NodeJS.Signals): Promise<void>;
  /** The output of a spawned process that is kept, stdout and stderr in the order of arrival. */
  readProcessOutput(pid: number, options?: ReplayOptions): Promise<ProcessOutputReplay>;

  /**
   * Stops reading standard output, standard error, or without `stream` both, until `resumeProcessOutput`. At most 2 MiB of each
   * that were read already are still emitted. A process that keeps writing fills its pipe and waits. When a paused process
   * exits, what it wrote itself is emitted before `processExit`; output of the processes that it left behind stays paused.
   */
  pauseProcessOutput(pid: number, stream?: "stdout" | "stderr"): Promise<void>;
  /** Ends a pause. The output continues unless an unread stream of a handle also pauses it. */
  resumeProcessOutput(pid: number, stream?: "stdout" | "stderr"): Promise<void>;
  /**
   * Closes the reading end of standard output, standard error, or without `stream` both. Output that was not read yet is lost;
   * a process that writes to it from then on gets SIGPIPE, or EPIPE. A second call does nothing.
   */
  closeProcessOutput(pid: number, stream?: "stdout" | "stderr"): Promise<void>;

  // everything in the VM
  /** Every process of the VM as the kernel reports it, including those of exec, of shells and in the background. */
  allProcesses(): Promise<ProcessInfo[]>;
  /** The same processes, each with its children. The top level has those whose parent is init or not in the VM. */
  processTree(): Promise<ProcessTreeNode[]>;
  /** What the VM uses now, what it has used since it booted, and its traffic (docs/metrics.md). */
  stats(): Promise<VmStats>;
  /**
   * Reads `stats` again and again: the first value at once, and each further one when it is asked for, at least an interval after
   * the one before. What a slow reader misses is skipped, never queued. The iterator ends when the VM does, and rejects with
   * ABORTED after an abort. While a `for await` loop waits, it keeps Node.js running.
   */
  watchStats(options?: WatchStatsOptions): AsyncIterableIterator<VmStats, undefined>;

  // shells
  /**
   * Starts a program on a terminal of its own, whose session it leads. It ends like a process: `shellExit`, `waitShell`.
   * While it runs, it keeps the VM and Node.js alive. Resolves to a handle with its id and its stream. Rejects with ENOENT or
   * EACCES, with `path`, if the program or the directory cannot be used.
   */
  openShell(options?: OpenShellOptions): Promise<VmShell>;
  /**
   * Writes to a shell's terminal what a person would type: `"ls\n"`, `"\x03"` for Ctrl-C. Resolves when the terminal has taken
   * all of it; writes to one shell keep their order. Rejects with SHELL_NOT_FOUND if the shell ends first, and with
   * LIMIT_EXCEEDED, without writing anything, as `writeProcessStdin`. While the terminal is in canonical mode (the default), the
   * kernel keeps at most 4,095 bytes of one line.
   */
  writeShell(shellId: string, data: string | Uint8Array): Promise<void>;
  /** Sets the terminal's size, from 1 to 65,535 each. The foreground process group gets SIGWINCH if the size changes. */
  resizeShell(shellId: string, cols: number, rows: number): Promise<void>;
  /**
   * Sends SIGHUP and SIGCONT to every process of the shell's session, and SIGKILL after 2 s to those that are left. Resolves when
   * all of them are gone. A process that has left the session (setsid) lives on. A second call during the first waits for the
   * same end.
   */
  closeShell(shellId: string): Promise<void>;
  /** Resolves to the exit code, after `shellExit`. What a job prints later still comes as `shellData`. */
  waitShell(shellId: string): Promise<number>;
  /** As `waitShell`, and resolves to everything that is known of the end. */
  waitShellExit(shellId: string): Promise<ExitStatus>;
  /** The shells in the order of `openShell`: all that run, and the last 1,024 that have exited. */
  listShells(): Promise<ShellInfo[]>;
  /**
   * The output of a shell that is kept. To follow a shell from some moment on, listen to `shellData` first and then read: ignore
   * those bytes of events that are before `nextSeq`, because `data` has them.
   */
  readShell(shellId: string, options?: ReplayOptions): Promise<ShellReplay>;
  /**
   * What a person sees on a shell's terminal. `openShell` with `screen: true` has it drawn from the first byte on; without, the
   * first call draws it from the kept output. Rejects with LIMIT_EXCEEDED if the terminal has no screen (more than 1,024 columns
   * or rows, more than 65,536 cells, or one column), or if the screens of the VM have more than 262,144 cells together; those of
   * shells that have exited make room. Rejects with ETIMEDOUT if drawing what the terminal has brought takes longer than 10 s.
   *
   * A VM's screens are read one after the other, with a turn of the event loop between them.
   */
  readScreen(shellId: string, options?: ReadScreenOptions): Promise<ShellScreen>;
  /**
   * Resolves to the screen as soon as its text, the lines joined by "\n", contains the string or matches the RegExp. Rejects with
   * ETIMEDOUT, with ABORTED, or with OUTPUT_ENDED if the shell ends before; otherwise as `readScreen`. A screen that is
   * shown and overwritten within 10 ms may be missed.
   */
  waitForScreen(shellId: string, pattern: string | RegExp, options?: WaitOptions): Promise<ShellScreen>;

  // files
  // Paths are absolute, and resolve inside as the VM's user sees them; no symbolic link leads out. ELOOP for a magic link of
  // /proc, EACCES for what /proc shows of init. Devices, FIFOs and sockets are neither read nor written, and hold no call up:
  // EINVAL or ENXIO. Files of kernel file systems (/proc and others) can be read and not written: EACCES. A name that is not
  // UTF-8 is listed with U+FFFD for each invalid sequence; a recursive delete removes it, but no path names it. A result larger than a
  // JavaScript value can be is LIMIT_EXCEEDED, of every call.
  /**
   * Reads a file, or from `offset` on `length` bytes of it. Resolves to bytes, or with `encoding` to a string. Rejects with EFBIG
   * if that is more than `maxBytes`, or 2 GiB or more, and with ENOENT, EACCES, EISDIR. All VMs together read at most 256 MiB at
   * the same time: a call waits for its turn, and a larger file is read alone. Files of up to 1 MiB do not wait for larger ones.
   */
  readFile(path: string, options?: ReadFileOptions & object): Promise<Uint8Array>;
  /** The same, decoded with this encoding, such as "utf8". */
  readFile(path: string, options: BufferEncoding | ReadFileTextOptions): Promise<string>;
  /**
   * Writes a whole file, a string as UTF-8. Creates missing parent directories; a new file has mode 0644. Follows a symbolic
   * link, and truncates an existing file first. Rejects with EACCES, EISDIR, EROFS, and with ENOSPC, after writing what had room.
   */
  writeFile(path: string, content: string | Uint8Array, options?: WriteFileOptions): Promise<void>;
  /** Appends to a file, a string as UTF-8. Creates the file if it is missing, and no directories (ENOENT). */
  appendFile(path: string, content: string | Uint8Array, options?: AppendFileOptions): Promise<void>;
  /** Reads several files. The results are in the order of `paths`; a file that cannot be read has `content` null. */
  readFiles(paths: string[], options?: ReadFileOptions & object): Promise<ReadFileResult[]>;
  /** The same, decoded with this encoding. */
  readFiles(paths: string[], options: BufferEncoding | ReadFileTextOptions): Promise<ReadFileResult<string>[]>;
  /** Writes several files. The results are in the order of `entries`; one that fails does not stop the others. */
  writeFiles(entries: WriteFileEntry[]): Promise<WriteFileResult[]>;
  /**
   * Cuts a file off at `length` bytes, 0 by default, or extends it with zeros, which take no room. Rejects with ENOENT, EISDIR,
   * EACCES, EFBIG.
   */
  truncate(path: string, length?: number): Promise<void>;
  /**
   * Sets the permissions of a file, and its set-user-id, set-group-id and sticky bits: a number such as 0o755, or octal digits in
   * a string; the type in the `mode` of a `stat` is left out. A symbolic link is followed. Set-id bits are as for programs inside:
   * without effect, and EPERM on directories of the host. Rejects with EPERM for a file of another user.
   */
  chmod(path: string, mode: number | string): Promise<void>;
  /** Sets the times of a file: the last access, and the last change of the content. A symbolic link is followed. */
  utimes(path: string, atime: FileTime, mtime: FileTime): Promise<void>;
  /** Creates a symbolic link at `path` that contains `target`, which need not exist. Rejects with EEXIST, ENOENT. */
  symlink(target: string, path: string): Promise<void>;
  /** What a symbolic link contains. Rejects with EINVAL for anything else. */
  readlink(path: string): Promise<string>;
  /** The absolute path of an existing file, without symbolic links, `.` and `..`. Rejects with ENOENT, ELOOP. */
  realpath(path: string): Promise<string>;
  /** Makes a directory of mode 0755. Rejects with EEXIST if the path exists, and with ENOENT if the parent does not. */
  mkdir(path: string, options?: MkdirOptions): Promise<void>;
  /** Makes a directory of mode 0700 whose name is `prefix` and six random letters or digits. Resolves to its path. */
  mkdtemp(prefix: string): Promise<string>;
  /**
   * The names in a directory, without `.` and `..`, in no particular order. Rejects with ENOENT, ENOTDIR, EACCES, and with
   * LIMIT_EXCEEDED for more than 1,000,000 names or 64 MiB of names.
   */
  readdir(path: string): Promise<string[]>;
  /** The names in a directory with their types, within the same bounds. A symbolic link is not followed. */
  readdirEntries(path: string): Promise<NamedEntry[]>;
  /**
   * All entries below a directory; symbolic links are listed and not followed. Rejects with ENOENT, ENOTDIR, EACCES, and with
   * LIMIT_EXCEEDED for more than 1,000,000 names, 64 MiB of paths, or a directory that is more than 4,096 levels deep and that
   * neither `maxDepth` nor `exclude` leaves out.
   */
  readdirRecursive(path: string, options?: ReaddirRecursiveOptions): Promise<DirectoryEntry[]>;
  /** The attributes of a file; symbolic links are followed. Rejects with ENOENT, ENOTDIR, EACCES, ELOOP. */
  stat(path: string): Promise<VmStat>;
  /** The attributes of a file, or of the symbolic link itself. */
  lstat(path: string): Promise<VmStat>;
  /** Whether the path exists, as far as the VM's user can see. */
  exists(path: string): Promise<boolean>;
  /**
   * Renames a file or directory. A file replaces a file or a link, and a directory an empty directory; otherwise EISDIR,
   * ENOTDIR or ENOTEMPTY.
   *
   * Between mounts (the home, /tmp and others, each of `mounts`) the call copies, with every attribute that a copy can keep,
   * and then deletes. If that fails it rejects with EXDEV, with the reason in the message, also for a directory onto one that
   * is not empty; `from` is then unchanged, and part of the copy may exist.
   *
   * As rename(2), the call refuses a last component `.` or `..` (EBUSY), and a trailing slash unless `from` is a directory,
   * which a link to one is not (ENOTDIR). Nothing has changed then.
   */
  move(from: string, to: string): Promise<void>;
  /**
   * Copies a file, a symbolic link or, with `recursive`, a directory with everything below it, as `fs.cp` with
   * `verbatimSymlinks`: links are copied as links, and missing parents of `to` are made. A directory is merged into an existing
   * one. A copy has the permissions of its original without set-user-id and set-group-id, and holes stay holes.
   *
   * Rejects with EISDIR for a directory without `recursive` or onto something else, ENOTDIR for something else onto a directory,
   * EINVAL onto itself or into itself and for devices, FIFOs and sockets, and LIMIT_EXCEEDED within the bounds of
   * `readdirRecursive`. What was copied so far stays.
   */
  copy(from: string, to: string, options?: CopyOptions): Promise<void>;
  /**
   * Copies what is in the directory `hostPath` of the host into the directory `path` of the VM, which is made if it is missing.
   * Resolves to what was copied. `hostPath` may be relative to the server's working directory. Links on its way are followed, but
   * none in a directory that a VM of this server can write to, where a program may have put it (ENOTDIR).
   *
   * The content is merged: a file or link replaces what is there and is no directory (EISDIR), and a directory that exists stays,
   * with its mode. New files and directories have the permissions and the time of the last change (in nanoseconds) of their
   * originals, without set-user-id and set-group-id, and belong to the VM's user. Symbolic links are copied as links; none is
   * followed, also not where the copies go: a link in the place of a directory is ENOTDIR. Hard links become files of their own,
   * holes stay holes, and names may be any bytes. Devices, FIFOs and sockets are not copied, but counted as `skipped`.
   *
   * Rejects with the error and the path of the first failure, with LIMIT_EXCEEDED beyond `maxBytes` or `maxEntries`, 4096
   * directories in one another, or a million names in one directory. What was copied so far stays. At most two trees of a VM are
   * copied at a time; more wait.
   */
  uploadDirectory(hostPath: string, path: string, options?: TransferOptions): Promise<TransferTotals>;
  /**
   * Copies what is in the directory `path` of the VM into the directory `hostPath` of the host, as `uploadDirectory` in the other
   * direction. What is copied belongs to the server's user. Each file has a temporary name, `.agent-vm-*.tmp`, until it is
   * complete, and then takes its own at once: if the server is killed meanwhile, at most such files are left besides whole ones.
   */
  downloadDirectory(path: string, hostPath: string, options?: TransferOptions): Promise<TransferTotals>;
  /**
   * A tar archive of what is in the directory `path`, as a stream of bytes in the pax format. Each part is made when it is read. It
   * keeps what `downloadDirectory` keeps; holes are written as GNU tar writes them, all entries belong to uid 1000, and a hard link
   * is a file of its own. For a `.tar.gz`, pipe it through `zlib.createGzip()`. At most 8 archives of a VM are open, and each needs
   * up to 300 descriptors: LIMIT_EXCEEDED. Errors are emitted as `error`.
   */
  readArchive(path: string, options?: TransferOptions): Readable;
  /**
   * Writes what a tar archive contains into the directory `path`, which is made if it is missing, as `uploadDirectory` does. Resolves
   * to what was written when the archive is at its end. `archive` is a Readable, or another asynchronous iterable of Uint8Arrays; a
   * compressed one has to be piped through `zlib.createGunzip()` first.
   *
   * It reads the formats of POSIX (ustar, pax) and GNU tar, with holes. Everything stays below `path`: names that begin at the root
   * count from there, `..` is INVALID_ARGUMENT as a damaged archive is, and no link is followed (ENOTDIR). A hard link is one to a file
   * below `path`. Devices and FIFOs are not made, but counted as `skipped`, and owners and set-id bits are not kept. An entry
   * replaces an earlier one of the same name. A directory gets its mode and time when the archive goes on outside of it.
   */
  writeArchive(path: string, archive: AsyncIterable<Uint8Array>, options?: TransferOptions): Promise<TransferTotals>;
  /**
   * A stream of a file's bytes, or with an encoding of strings, from `start` to `end`. It reads as it is read, so a stream that
   * nobody reads holds `highWaterMark` bytes, by default at most 1 MiB, and one open file. The streams of a VM have at most 256 files open: LIMIT_EXCEEDED.
   * Errors, those of opening the file too, are emitted as `error`, with the codes of `readFile`.
   */
  createReadStream(path: string, options?: BufferEncoding | ReadStreamOptions): Readable;
  /**
   * A stream that writes a file as it is written. The file is closed when all is written (`finish`, then `close`) or when the
   * stream is destroyed. Unlike `writeFile` it makes no directories (ENOENT).
   */
  createWriteStream(path: string, options?: WriteStreamOptions): Writable;
  /**
   * Watches a file or a directory, with `recursive` and all directories below it, by inotify(7). The result iterates over what
   * happens, from `ready` on, in order; what happens before that may be reported. To end the loop, `return()`, an abort of
   * `signal` and `dispose` end the watch. It ends by itself after a `removed` event of `path`.
   *
   * `next` and `ready` reject with ENOENT, ENOTDIR, EACCES or ELOOP if `path` cannot be opened to read, EINVAL if it is neither a
   * directory nor a regular file, EOPNOTSUPP where the kernel reports nothing (`/proc`, `/sys`), ABORTED, VM_DISPOSED when the VM
   * ends, and LIMIT_EXCEEDED beyond the bounds: 64 watches of a VM, and 32,768 directories of all of them, or a quarter of
   * `fs.inotify.max_user_watches` if that is less.
   *
   * Links are not followed, except in `path` itself. Paths begin with `path`; bytes that are not UTF-8 become U+FFFD.
   */
  watch(path: string, options?: WatchOptions): FileWatcher;
  /**
   * Deletes a file, a link or an empty directory. Rejects with ENOENT, ENOTEMPTY, EACCES, and with EBUSY for a mount point, also
   * with `recursive`: what is on another mount is not deleted. If a recursive call fails, what was deleted so far stays
   * deleted.
   *
   * As rm(1), the call refuses a last component `.` or `..` (EINVAL), and a trailing slash after anything but a directory, also
   * after a link to one (ENOTDIR). Nothing has been deleted then.
   */
  delete(path: string, options?: DeleteOptions): Promise<void>;

  // network into the VM
  /**
   * Connects to a TCP port inside, from within the VM's own network: to 127.0.0.1, or to ::1 if nothing listens there. Resolves
   * to a `net.Socket`, which closes without an error event when the VM ends. Rejects with ECONNREFUSED if nothing listens, with
   * ETIMEDOUT if the listener's queue is full for 10 s, and with LIMIT_EXCEEDED while 1,024 connections of this VM are being
   * made.
   */
  connect(port: number): Promise<Duplex>;
  /**
   * The standard `fetch`, over a connection of its own to `port` inside. `request` is a path, short for
   * `http://localhost:port/path`, an http: URL or a Request; the URL's host is only the Host header. Redirects to the URL's own
   * host and to this port of the loopback are followed; a redirect to anywhere else is the response. A body that is not read
   * holds the server up until it is cancelled or garbage-collected.
   *
   * A body is decoded (gzip, deflate, br, and zstd where Node.js has it) while it is read, from the first read on; the reader
   * must bound its size. EPROTO for more than two encodings, for 1 MiB of encoded bytes that decode to nothing, for a zstd
   * window over 8 MiB, and for about 256 KiB that belong neither to the head nor to the body (interim responses, chunk
   * extensions, …).
   *
   * Rejects, or fails a body that is being read, with ECONNREFUSED if nothing listens, ECONNRESET if the response breaks off,
   * EPROTO for anything but HTTP/1.1 and for what cannot be decoded, ELOOP after 20 redirects, EIO if the request's own body
   * fails, LIMIT_EXCEEDED as `connect`, VM_DISPOSED when the VM ends, and ABORTED at any time until the body is read. It has no
   * time limit; `AbortSignal.timeout` sets one.
   */
  fetch(port: number, request: Request | string | URL, init?: RequestInit): Promise<Response>;

  // waiting
  /**
   * The TCP ports that the VM's own processes listen on, by port and address; also with `network: "host"`. At most 4,096 of IPv4
   * and 4,096 of IPv6. Empty with isolation "landlock", where there is no network. Rejects with ISOLATION_UNAVAILABLE where the VM
   * shares the host's network and the server may not look at its processes.
   */
  listPorts(): Promise<ListeningPort[]>;
  /**
   * Resolves when a process of the VM listens on the TCP port, at an address that `connect` and `fetch` reach (127.0.0.1, ::1 or
   * all addresses); at once if one does. Rejects with ETIMEDOUT, ABORTED, VM_DISPOSED when the VM ends, LIMIT_EXCEEDED while 1,024
   * calls of the VM wait for something, and ISOLATION_UNAVAILABLE as `listPorts` and with isolation "landlock".
   */
  waitForPort(port: number, options?: WaitOptions): Promise<ListeningPort>;
  /**
   * Resolves when a spawned process (by its pid) or a shell (by its id) has printed a text, or something that a regular expression
   * matches. Searches the kept output from `after` on, then what follows, each stream by itself, decoded as UTF-8 (invalid sequences
   * become U+FFFD); the chunks do not matter. A text has at most 16,384 characters, and a match is found if it is at most 64 KiB
   * long. The flags `g` and `y` of an expression do not count.
   *
   * Rejects with OUTPUT_ENDED when nothing can write to the output any more, with ETIMEDOUT, ABORTED, VM_DISPOSED when the VM ends,
   * LIMIT_EXCEEDED while 1,024 such calls of the VM wait, and PROCESS_NOT_FOUND or SHELL_NOT_FOUND.
   */
  waitForOutput(id: number | string, pattern: string | RegExp, options?: WaitForOutputOptions): Promise<OutputMatch>;

  /**
   * Resolves when the program in the shell's foreground waits for input: for 100 ms the kernel shows that a thread of it reads the
   * terminal, or waits until it can (poll, select, epoll), while it neither runs nor prints. What was written to the shell before
   * the call is taken into account. A shell that waits for its next command counts, and so does any program that asks for
   * something; a program that computes, sleeps, or waits for a process or for the network does not (docs/waiting.md).
   *
   * Rejects with SHELL_NOT_FOUND if there is no such shell or it exits, and otherwise as `waitForPort`; with
   * ISOLATION_UNAVAILABLE where the kernel does not let the server look.
   */
  waitForIdle(shellId: string, options?: WaitOptions): Promise<void>;

  // snapshots
  /** The snapshots of this server. They are in memory, and end with the server's process. */
  static readonly snapshots: {
    /** All snapshots, the oldest first. */
    list(): Promise<Snapshot[]>;
    /**
     * Forgets a snapshot. Its memory is free when no VM and no other snapshot descends from it. An unknown id rejects with
     * SNAPSHOT_NOT_FOUND.
     */
    remove(snapshot: Snapshot | string): Promise<void>;
  };
  /**
   * Keeps what the VM has written: everything in its private directories (`/home/user`, `/tmp`, `/var/tmp`, `directories`, and
   * root's home) and, with a `rootfs`, everywhere. Not what is in `/run` and `/dev/shm`, in `home` and `mounts` of the host, and no
   * processes. Contexts are kept as their working directory and environment.
   *
   * With nothing running it costs about as much as a boot, however much was written: the VM goes on as a new one over what it has
   * written, with new limits on disk space for what it writes from then on. If something runs, the VM stays as it is: everything in it
   * is frozen while what it has written since it began is copied, about a second for each GiB, and then goes on. Where a VM cannot be
   * paused (`pause`), a snapshot while programs run rejects with ISOLATION_UNAVAILABLE; contexts in which nothing runs are no obstacle.
   *
   * Rejects with VM_BUSY while a call that changes files has not settled, or a stream or archive is open. Calls made meanwhile wait.
   * Needs isolation "namespaces" and Linux 6.15 or later, else ISOLATION_UNAVAILABLE. A server keeps at most 10,000 snapshots, else
   * LIMIT_EXCEEDED. If it rejects, the VM is as it was.
   */
  snapshot(options?: SnapshotOptions): Promise<Snapshot>;
  /**
   * Makes the VM what a snapshot is, of this VM or of another one with the same `rootfs` and ids. What was written since is lost. With
   * `kill`, whatever runs is killed, with `reason: "disposed"`, and calls that wait for it reject with VM_DISPOSED; without it, VM_BUSY
   * if something runs or is open, a context or a watch among it, or another call has not settled.
   *
   * Contexts are those of the snapshot, under their names; the first command of each starts a shell again (`contextRestarted`). The
   * same holds for VMs that begin with it. If it rejects, the VM is as it was.
   */
  rollback(snapshot: Snapshot | string, options?: RollbackOptions): Promise<void>;
  /**
   * Makes `count` VMs (1 to 1,000, default 1) with the options of this one that begin with what this one has written, and resolves to
   * them. What they write is theirs alone. It is a snapshot that is not listed, with the same conditions; if a fork cannot be made, all
   * are disposed of.
   */
  fork(count?: number): Promise<AgentVm[]>;

  // lifetime
  /**
   * How many spawned processes and shells run, and how many execs are pending; not what they left in the background. An actor
   * does not sleep while this is not 0. A VM whose count is not 0 is not garbage-collected.
   */
  readonly activeCount: number;
  /** The level of isolation, as requested. */
  readonly isolation: IsolationLevel;
  /** The mechanism that enforces each limit, null where there is no limit; and which ids the VM's root has, null without a root. */
  readonly enforcement: Readonly<
    Record<"memoryBytes" | "cpus" | "pids" | "openFiles" | "diskBytes", Enforcement | null> & { ids: RootIds | null }
  >;
  /**
   * Freezes everything that runs in the VM: programs get no processor time, and do not notice, until `resume`. Resolves when all of
   * that is frozen, or when `resume` is called meanwhile. Memory stays as it is.
   *
   * While the VM is paused, calls that would start a program, or run a command in a context, reject with VM_PAUSED. Calls about files,
   * listings, `stats`, kept output, and `kill` of any kind work; `connect` succeeds, and the server inside answers after `resume`.
   * Signals other than SIGKILL, and input, arrive then. Timeouts go by the clock, and kill.
   *
   * Rejects with ISOLATION_UNAVAILABLE if the VM's programs have no cgroups of version 2 (`AgentVm.doctor()`, "cgroup"), and with
   * ETIMEDOUT if a process cannot be frozen within 5 s because it waits for a device: then everything runs on. A second call does
   * nothing.
   */
  pause(): Promise<void>;
  /** Lets everything run again. Does nothing if the VM is not paused. If it rejects, call it again. */
  resume(): Promise<void>;
  /** Kills everything inside and frees all resources. A second call resolves with the first. */
  dispose(): Promise<void>;
  /** Calls `dispose`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * A mechanism of the kernel: a controller of cgroup version 1 or 2, a resource limit (setrlimit(2); for processes, of the VM's
 * user in its user namespace), or the size of the tmpfs that private files are in.
 */
export type Enforcement = "cgroup1" | "cgroup2" | "rlimit" | "tmpfs";

/** What a VM had written at some time. */
export interface Snapshot {
  /** Its id, which no other snapshot has or had. */
  readonly id: string;
  /** The id of the snapshot that its VM descended from, which may have been removed; null for none. */
  readonly parent: string | null;
  /** The name that was given to it; null for none. */
  readonly name: string | null;
  /** The bytes of memory for what was written since `parent`. */
  readonly bytes: number;
  /** When it was made, in milliseconds since 1970. */
  readonly createdAt: number;
}
/**
 * A directory of the host for the files of VMs, each in a directory of its own. It must exist, belong to the server's user, be writable
 * by nobody else (else INVALID_ARGUMENT), be nowhere where a VM can write, and be on a file system on which the kernel can lay
 * overlays (ext4, XFS, Btrfs). Where the server is root, that must also be able to map owners (not NFS), else ISOLATION_UNAVAILABLE.
 *
 * The server cannot bound what is written there: `limits.diskBytes` must be null, which says that you accept that, else
 * ISOLATION_UNAVAILABLE. The same code refuses snapshots and forks of such a VM and, where the server is an ordinary user, `ids: "range"`.
 * Needs isolation "namespaces".
 */
export interface DiskOptions {
  /** Its path on the host. */
  directory: string;
  /**
   * The disk's name: 1 to 128 letters, digits, ".", "_" and "-", beginning with a letter, a digit or "_". It is made if it does not
   * exist, and stays when its VM ends, for the next VM with this name; that has the same `rootfs` and as many ids, else INVALID_ARGUMENT. One VM
   * has it at a time: for another one, of whatever server on this machine, `create` rejects with DISK_IN_USE. To remove it, remove
   * `directory/name` while no VM has it. Without a name, the disk is removed with its VM; if the server was killed, by the next VM
   * without a name in this directory.
   */
  name?: string;
}

/** Options of `snapshot`. */
export interface SnapshotOptions {
  /** A name for people: 1 to 255 characters, without control characters. Names need not differ. */
  name?: string;
}
/** Options of `rollback`. */
export interface RollbackOptions {
  /** Whether to kill what runs in the VM. Default false. */
  kill?: boolean;
}

/** What a host can isolate. */
export interface DoctorReport {
  /** The strongest level that works. */
  level: IsolationLevel;
  /** Every probe, in the order in which it ran. */
  checks: DoctorCheck[];
}
/** A probe of `AgentVm.doctor`. */
export interface DoctorCheck {
  /** What was probed: "kernel", "memory limit" and so on. */
  name: string;
  /** Whether the host has it. */
  ok: boolean;
  /** The finding, for people. */
  detail: string;
  /** How to get what is missing. Absent where `ok` is true. */
  remedy?: string;
}

/** Options of the calls that wait. */
export interface WaitOptions {
  /** Milliseconds, after which the call rejects with ETIMEDOUT. Default 0: none. */
  timeout?: number;
  /** An abort ends the wait, and the call rejects with ABORTED. */
  signal?: AbortSignal;
}

/** Options of `waitForOutput`. */
export interface WaitForOutputOptions extends WaitOptions {
  /** The byte of the output to begin at, counted like `seq`. Default 0. */
  after?: number;
}
/** What `waitForOutput` has found. */
export interface OutputMatch {
  /** The stream that the process wrote to; "stdout" for a shell. */
  stream: "stdout" | "stderr";
  /** What matched. */
  text: string;
  /** What the groups of a regular expression matched, in their order; undefined for a group that took no part. */
  groups: (string | undefined)[];
  /** What the named groups matched. */
  named: Record<string, string | undefined>;
  /** The position of the first byte of the match, counted like `seq` of the events. */
  seq: number;
  /** The position after the match: the next call's `after`, to continue there. */
  nextSeq: number;
  /** How many bytes from `after` on were not searched because they are no longer kept (`limits.replayBytes`). */
  truncatedBytes: number;
}

/** What a VM uses, what it has used since it booted, and its traffic. Init and what works for it are not counted. */
export interface VmStats {
  /** The number of processes. */
  processes: number;
  /**
   * The largest `processes` that a reading of `stats` has found, or how many programs of `exec`, `spawn` and `openShell` ran at the
   * same time if that is more. The kernel counts no such peak.
   */
  peakProcesses: number;
  /**
   * Processor time that all programs have used since the VM booted, in milliseconds, those that have ended too. It never
   * decreases. Where the VM has no directory of cgroup v2, a program that ignores SIGCHLD keeps the time of its ended children
   * out of it.
   */
  cpuMs: number;
  /** Memory that the present processes hold, in bytes; a shared page counts for each. */
  memoryBytes: number;
  /**
   * The largest `memoryBytes` that a reading of `stats` has found, or the most that one ended process held if that is more.
   * `memory.peakBytes` is exact.
   */
  peakMemoryBytes: number;
  /** Bytes written to standard inputs and terminals since the VM booted. */
  bytesIn: number;
  /** Bytes read from standard outputs and terminals since then, including those that exec dropped. */
  bytesOut: number;
  /**
   * Outputs of ended commands, processes and shells that were closed although a process left behind may still have written to
   * them, because too many were open (256 per VM; docs/bounds.md). stdout and stderr count one each. Absent while it is 0.
   */
  outputsCut?: number;
  /** Memory against `limits.memoryBytes`. Absent without this limit. */
  memory?: VmMemoryStats;
  /** Processor time against `limits.cpus`. Absent without this limit. */
  cpu?: VmCpuStats;
  /** The room for private files. Absent without namespaces, where the VM's files are in a directory of the host. */
  disk?: VmDiskStats;
  /**
   * Bytes that went through the VM's proxy, to and from destinations outside. With `network: "none"` they stay 0. Absent where
   * the VM has no network of its own: with `network: "host"`, and without namespaces.
   */
  network?: VmTraffic;
  /** Bytes of `connect` and `fetch`, from and to servers in the VM. What was written counts when the socket has taken it. */
  ports: VmTraffic;
}
/** Options of `watchStats`. */
export interface WatchStatsOptions {
  /** Milliseconds between two readings, from 100 to 2,147,483,647. Default 1,000. */
  interval?: number;
  /** An abort ends the iterator with ABORTED. */
  signal?: AbortSignal;
}
/** Memory against its limit, as the kernel's controller counts it. */
export interface VmMemoryStats {
  /** Bytes that count against the limit: of processes, of private files, and of files that the kernel keeps in memory. */
  usedBytes: number;
  /** The most that `usedBytes` has ever been. Absent with cgroup v2 before Linux 5.19. */
  peakBytes?: number;
  /** The limit. */
  limitBytes: number;
}
/** Processor time against its limit, as the kernel's controller counts it. */
export interface VmCpuStats {
  /** The limit in cores. */
  limit: number;
  /** How many periods of 100 ms had something to run. */
  periods: number;
  /** In how many of them programs had to wait because the limit was used up. */
  throttledPeriods: number;
  /** How long they waited, in milliseconds, added up over the processors. */
  throttledMs: number;
}
/** The file system that all private directories of a VM share. The host's files in `home` and `mounts` are not in it. */
export interface VmDiskStats {
  /** Bytes in use. A new VM has some kilobytes of files of its own. */
  usedBytes: number;
  /** Bytes that are left of `limits.diskBytes`. */
  freeBytes: number;
  /** Files, directories and links in use. */
  usedFiles: number;
  /** How many more there can be. */
  freeFiles: number;
}
/** Bytes since the VM booted, as the VM sees them. */
export interface VmTraffic {
  /** Bytes that programs in the VM have sent. */
  sentBytes: number;
  /** Bytes for programs in the VM. */
  receivedBytes: number;
}

// ---------------------------------------------------------------- processes
/** Options of `exec` and `execFile`. */
export interface ExecOptions {
  /** Environment variables, added to the VM's. The program is looked up on this PATH. */
  env?: Record<string, string>;
  /**
   * The working directory, an absolute path. Default /home/user. Symbolic links are followed. ELOOP for a magic link of `/proc`
   * (`/proc/self/cwd`, `/dev/fd/3`), and EACCES for what `/proc` shows of init (which is `/proc/self` here).
   */
  cwd?: string;
  /** Standard input, a string as UTF-8, and then end of file. Default: empty. */
  stdin?: string | Uint8Array;
  /**
   * Milliseconds, from 0 to 2,147,483,647. After it, everything that the command started is killed (SIGKILL, exit code 137),
   * unless `killSignal` asks it to end first; the result has `timedOut` and the output so far. A program that does not even
   * begin to run in this time, and in no less than a second, is given up with the same result, or `spawn` rejects with ETIMEDOUT.
   * Default 0: none.
   */
  timeout?: number;
  /**
   * The signal that asks the program, and its process group, to end at its timeout. If the program has not ended after
   * `killGrace`, and once it has, everything that the command started is killed. The result has `timedOut`, reason "timeout", and
   * the exit status that the program ended with. Default: none, everything is killed at the timeout; SIGTERM if `killGrace` is set.
   * An abort kills at once, also during the grace.
   */
  killSignal?: NodeJS.Signals;
  /** Milliseconds that the program has to end after `killSignal`, from 0 to 2,147,483,647. Default 5,000 if `killSignal` is set. */
  killGrace?: number;
  /** What the program gets as its own name, `argv[0]` (for `exec`, the shell). Default: the program as it was passed. */
  argv0?: string;
  /**
   * The user that it runs as, "user" or "root", or with a range of ids anybody (`AgentVmOptions.user`); HOME, USER, LOGNAME, SHELL, PATH and the default `cwd` are that user's. Default: the
   * VM's `user`. INVALID_ARGUMENT for a user that the VM does not have.
   */
  user?: string;
  /** An abort kills everything that the command started, and the call rejects with ABORTED. */
  signal?: AbortSignal;
  /**
   * Called with each chunk of standard output when it arrives, before the call resolves. An exception that it throws is an
   * uncaught exception.
   */
  onStdout?: (data: Uint8Array) => void;
  /** Called with each chunk of standard error, as `onStdout`. */
  onStderr?: (data: Uint8Array) => void;
  /**
   * How many bytes of each stream the result keeps, from 0 to 536,870,888 or what Node.js has as
   * `buffer.constants.MAX_STRING_LENGTH`. Default 16 MiB. Further output is read and dropped, and the result reports that.
   */
  maxOutputBytes?: number;
  /**
   * Which bytes the result keeps of a stream that has more than `maxOutputBytes`: the first ones ("head", the default), the last
   * ones ("tail"), or half of them from each end ("ends"), where the beginning has one more if the number is odd.
   */
  keepOutput?: "head" | "tail" | "ends";
  /**
   * Whether the call rejects with COMMAND_FAILED unless the command exits with 0 before its timeout. The error's `result` is what
   * the call would have resolved to. Default false.
   */
  check?: boolean;
  /** What `stdout` and `stderr` of the result are: text ("utf8", the default), or with "buffer" bytes (`ExecBufferOptions`). */
  encoding?: "utf8";
  /** Only in `ContextExecOptions`. */
  contextId?: undefined;
}
/** Options of `exec` and `execFile` for a result with bytes. */
export interface ExecBufferOptions extends Omit<ExecOptions, "encoding"> {
  /** The result has `stdout` and `stderr` as bytes, exactly as the command wrote them. */
  encoding: "buffer";
}
/** How a command ended, and its output: text, or with `encoding: "buffer"` bytes. */
export interface ExecResult<Output extends string | Uint8Array = string> extends ExitStatus {
  /**
   * Standard output. As text it is decoded as UTF-8: invalid sequences become U+FFFD, and where output was dropped, a character of
   * which a part was dropped is left out.
   */
  stdout: Output;
  /** Standard error, in the same way. */
  stderr: Output;
  /** Whether standard output had more than `maxOutputBytes`. */
  stdoutTruncated: boolean;
  /** Whether standard error had more than `maxOutputBytes`. */
  stderrTruncated: boolean;
  /** What `stdout` lacks. Absent unless `stdoutTruncated`. */
  stdoutDropped?: DroppedOutput;
  /** What `stderr` lacks. Absent unless `stderrTruncated`. */
  stderrDropped?: DroppedOutput;
  /** Whether `timeout` ended the command. */
  timedOut: boolean;
  /**
   * Processes that the command left running; exec does not wait for them. Their later output is read and dropped while any of
   * them lives.
   */
  background: BackgroundProcess[];
  /**
   * For a command in a context only: whether the shell was restarted because this command ended it, or because it had ended after
   * the command before. The new shell has the last known working directory and exported variables, and nothing else of the state.
   */
  contextRestarted?: boolean;
}
/** Options of `exec` in a context. The context has the working directory and the environment, and standard input is empty. */
export interface ContextExecOptions extends Pick<
  ExecOptions,
  "onStdout" | "onStderr" | "maxOutputBytes" | "keepOutput" | "check" | "encoding"
> {
  /** The context: the `contextId` that `createContext` returned. */
  contextId: string;
  /**
   * Milliseconds from the command's start in the shell, as in `ExecOptions`; the commands before it do not count. After it, everything
   * that the command started is killed, and bash gives the rest of the command up and keeps its state. Other shells are restarted.
   */
  timeout?: number;
  /** An abort ends the command as `timeout` does, and the call rejects with ABORTED. A command that waits for others never starts. */
  signal?: AbortSignal;
  /** The context has it. */
  cwd?: undefined;
  /** The context has it. */
  env?: undefined;
  /** Empty for every command of a context. */
  stdin?: undefined;
}
/** Options of `exec` in a context for a result with bytes. */
export interface ContextExecBufferOptions extends Omit<ContextExecOptions, "encoding"> {
  /** As in `ExecBufferOptions`. */
  encoding: "buffer";
}
/** Options of `createContext`. All are optional. */
export interface ContextOptions {
  /** The working directory, as `ExecOptions.cwd`. */
  cwd?: string;
  /** Environment variables, added to the VM's. */
  env?: Record<string, string>;
  /**
   * The shell: bash, zsh, fish, sh, dash or ash, or an absolute path that ends with one of these names. Default: bash if the VM has it,
   * else sh. It reads no startup files.
   */
  shell?: string;
  /** The user that its shell runs as, as `ExecOptions.user`. */
  user?: string;
}
/** What `createContext` resolves to. */
export interface CreatedContext {
  /** Names the context in `exec` and in all calls about contexts. */
  contextId: string;
}
/** A context in `listContexts`. */
export interface ContextSummary {
  /** The id that `createContext` returned. */
  contextId: string;
  /** The shell's program, such as "bash". */
  shell: string;
  /** The shell's pid, inside; null between the end of a shell and the next command, which starts another one. */
  pid: number | null;
  /** The working directory when the last command ended. */
  cwd: string;
  /** The command that runs; null if none does. */
  command: string | null;
  /** How many commands wait for it. */
  waiting: number;
}
/** What is known of a context. */
export interface ContextInfo extends ContextSummary {
  /** The exported variables of the shell when the last command ended. */
  env: Record<string, string>;
  /** What descends from the shell: the processes of the running command, and those that earlier commands left. */
  processes: BackgroundProcess[];
}
/** What a result lacks of a stream. */
export interface DroppedOutput {
  /** How many bytes were dropped. */
  bytes: number;
  /**
   * Where they are missing, as an index into the text or the bytes of the result: at its end with `keepOutput: "head"`, at 0 with
   * "tail". `result.stdout.slice(0, at)` is what came before them.
   */
  at: number;
}
/** A process that a command left running. */
export interface BackgroundProcess {
  /** The pid inside; `killProcess` takes it. */
  pid: number;
  /** As in `ProcessInfo`: the program without its directory, such as "sleep". */
  command: string;
  /** As in `ProcessInfo`: its arguments, at most 4 KiB of them, and fewer if many processes are left. */
  args: string[];
}
/**
 * Options of `spawn`: those of `exec`, except that `stdin` is written first and the pipe stays open, that `onStdout` and
 * `onStderr` are called beside the events, and that an aborted process ends with reason "signal".
 */
export interface SpawnOptions<D extends ProcessDescriptors = ProcessDescriptors> extends Omit<
  ExecOptions,
  "maxOutputBytes" | "keepOutput" | "check" | "encoding"
> {
  /**
   * Pipes beside the standard streams, such as `{ 3: "output", 4: "input" }`: the program has these descriptors and no others.
   * `VmProcess.descriptors` has their streams. Default: none.
   */
  descriptors?: D;
}
/** Pipes by their numbers in the program: it writes to an "output", and reads from an "input". */
export type ProcessDescriptors = { readonly [N in 3 | 4 | 5 | 6 | 7 | 8 | 9]?: "input" | "output" };
/** What names a spawned process. */
export interface SpawnedProcess {
  /** The pid inside, as `echo $$` prints it. It names the process in all calls and events. */
  pid: number;
}
/**
 * The handle of a spawned process. `pid` is its only enumerable member: it compares, and becomes JSON, as `{ pid }`. It stays
 * the handle of this process, also when another process gets the pid.
 *
 * **Its streams** cost nothing until they are read for the first time, by `stdout`, `stderr` or `lines()`, and begin at the first
 * byte of the process. If output that events have brought by then is no longer kept (`limits.replayBytes`), they fail with
 * LIMIT_EXCEEDED, and the error has `truncatedBytes`. They take nothing from events, callbacks and other handles. A stream that
 * is not read holds the process up: it pauses when it holds 512 KiB, after which at most 2 MiB still come (see
 * `pauseProcessOutput`). To destroy it, or to leave a `for await` loop, ends that and leaves the process as it is;
 * `closeProcessOutput` is what makes `yes` end. They end when nothing can write to them any more, which may be after `exited`: see
 * `processClose`. With VM_DISPOSED they fail only if they are read for the first time after the VM has ended.
 *
 * @example
 * ```js
 * const child = await vm.spawn("sort");
 * child.stdin.end("b\na\n");
 * for await (const { stream, line } of child.lines()) console.log(stream, line);
 * const { exitCode } = await child.exited;
 * ```
 */
export interface VmProcess<D extends ProcessDescriptors = ProcessDescriptors> extends SpawnedProcess {
  /**
   * Standard input. A write fails with STDIN_CLOSED if no process reads it any more. `end()` closes it, and so does `destroy()`.
   * It is destroyed, without an error, when the process has exited.
   */
  readonly stdin: Writable;
  /** Standard output: bytes, or text after `setEncoding`. */
  readonly stdout: Readable;
  /** Standard error. */
  readonly stderr: Readable;
  /**
   * The streams of the pipes that `options.descriptors` asked for, by number: Readable for an output, with the bounds of `stdout`,
   * and Writable for an input, as `stdin`; a write that no process reads fails with EPIPE. `limits.replayBytes` holds for each by
   * itself.
   */
  readonly descriptors: {
    readonly [N in keyof D]: D[N] extends "input"
      ? Writable
      : D[N] extends "output"
        ? Readable
        : Readable | Writable | undefined;
  };
  /**
   * Both streams by lines, in the order of arrival, without their line ends (`\n` or `\r\n`), decoded as UTF-8: invalid
   * sequences become U+FFFD. What follows the last line end is the last line. Each call reads from the first byte. At most 64 KiB
   * of output wait to be taken before the process is paused. A line of more than 16 Mi characters is LIMIT_EXCEEDED.
   */
  lines(): AsyncIterableIterator<ProcessLine, undefined>;
  /** How the process ended, after `processExit`; with reason "disposed" if it ended with its VM. Never rejects. */
  readonly exited: Promise<ExitStatus>;
  /**
   * Without a signal, as `killProcess`: SIGKILL to everything that the process started, and resolves when all is gone. With one,
   * as `signalProcess`.
   */
  kill(signal?: NodeJS.Signals): Promise<void>;
  /** Calls `kill()`, for `await using`. Does nothing if the VM has ended. */
  [Symbol.asyncDispose](): Promise<void>;
}
/** A line of a process's output. */
export interface ProcessLine {
  /** The stream that the process wrote it to. */
  stream: "stdout" | "stderr";
  /** The line, without its line end. */
  line: string;
}
/** A spawned process. */
export interface SpawnedProcessInfo {
  /** The pid that `spawn` returned. */
  pid: number;
  /** The command that `spawn` was called with. */
  command: string;
  /** The arguments that `spawn` was called with. */
  args: string[];
  /** False from the exit event on. */
  running: boolean;
  /** Null while the process runs. */
  exitCode: number | null;
}
/** A process as the kernel reports it. */
export interface ProcessInfo {
  /** The pid inside, as `ps` there prints it. */
  pid: number;
  /** The parent's pid; 0 if the parent is not in the VM. The VM's init is not listed: a new VM has no processes. */
  ppid: number;
  /** The process group. */
  pgid: number;
  /** The session. */
  sid: number;
  /** The runtime, determined from the executable that the kernel reports. */
  driver: "node" | "python" | "native" | (string & {});
  /** The program's name without its directory, such as "node". A process can change it, and its arguments. */
  command: string;
  /** The arguments: at most 128 KiB of one process, and about 4 MiB of all. Empty for a zombie. */
  args: string[];
  /** The working directory; "" if it cannot be read. */
  cwd: string;
  /** "exited" is a zombie, whose parent has not waited for it. */
  status: "running" | "stopped" | "exited";
  /** Null unless the process has exited. */
  exitCode: number | null;
  /** Milliseconds since the Unix epoch; the same in every call. */
  startTime: number;
  /** For a zombie, when it last ran by the scheduler's clock, where the kernel reports it (`/proc/<pid>/sched`); else null. */
  exitTime: number | null;
  /** Memory that it holds now, including shared pages, in bytes. */
  rssBytes: number;
  /** Processor time so far, user and system, in milliseconds. */
  cpuMs: number;
}
/** A process with its children. */
export interface ProcessTreeNode extends ProcessInfo {
  /** In the order of `allProcesses`. */
  children: ProcessTreeNode[];
}

// ---------------------------------------------------------------- kept output
/** Options of `readProcessOutput` and `readShell`. */
export interface ReplayOptions {
  /** The byte to begin at, counted like `seq`. Default 0. */
  after?: number;
}
/** What both kinds of kept output report. */
export interface OutputReplay {
  /** The next call's `after`, to continue here. */
  nextSeq: number;
  /** How many bytes from `after` on are no longer kept (`limits.replayBytes`). */
  truncatedBytes: number;
  /** How the process or shell ended; null while it runs. */
  exited: ExitStatus | null;
  /**
   * True when the VM no longer reads this output although a process that was left behind may still write to it, because too many
   * outputs of ended processes were open (256 per VM; docs/bounds.md). Such a process gets EPIPE, or EIO on a terminal. Everything
   * that was written before is kept and delivered.
   */
  outputCut: boolean;
}
/** Kept output of a spawned process. */
export interface ProcessOutputReplay extends OutputReplay {
  /** The kept bytes from `after` on. */
  chunks: ProcessOutputEvent[];
}
/** Kept output of a shell. */
export interface ShellReplay extends OutputReplay {
  /** The kept bytes from `after` on. */
  data: Uint8Array;
}

// ---------------------------------------------------------------- shells
/** Options of `openShell`. All are optional. */
export interface OpenShellOptions {
  /** The program. Default: bash if the VM has it, else sh; interactive. */
  command?: string;
  /** The arguments of `command`. Default: none. */
  args?: string[];
  /** Environment variables, added to the VM's. TERM is `xterm-256color` unless this or the VM's `env` sets it. */
  env?: Record<string, string>;
  /** The working directory, as `ExecOptions.cwd`. */
  cwd?: string;
  /** Columns, from 1 to 65,535. Default 80. */
  cols?: number;
  /** Rows, from 1 to 65,535. Default 24. */
  rows?: number;
  /**
   * Whether the shell's screen is drawn from the first byte on, for `readScreen` and `waitForScreen`. A program that writes
   * faster than its screen is drawn then waits, and sizes that a screen cannot have are refused (LIMIT_EXCEEDED). Default false.
   */
  screen?: boolean;
  /** The user that it runs as, as `ExecOptions.user`. */
  user?: string;
}
/** Options of `readScreen`. All are optional. */
export interface ReadScreenOptions {
  /**
   * A position in the output, such as `nextSeq` of the screen before: waits until the shell has written beyond it, and 10 ms
   * more, or has ended. Default: reads at once.
   */
  after?: number;
  /**
   * A number of resizes, such as `resizes` of the screen before: waits until the terminal has been resized more often, and 10 ms
   * more, or the shell has ended. With `after` too, waits for the first of both.
   */
  resizes?: number;
  /** Ends the wait: rejects with ABORTED. */
  signal?: AbortSignal;
}
/** What a person sees on a shell's terminal. Colors are left out. */
export interface ShellScreen {
  /** The number of rows. */
  rows: number;
  /** The number of columns. */
  cols: number;
  /**
   * The text of the rows from top to bottom, each without the blanks at its end. A wide character has two columns of the screen. Of the
   * combining characters of one cell, six are kept.
   */
  lines: string[];
  /** Where the cursor is: row and column from 0, and whether it shows. */
  cursor: { row: number; col: number; visible: boolean };
  /** The title that programs set for the terminal's window, at most 1,024 bytes; "" if they set none. */
  title: string;
  /** Whether the alternate screen shows, which full-screen programs such as vim use. */
  alternateScreen: boolean;
  /**
   * False if output or sizes were dropped before the screen was drawn, so it may lack something. A shell with `screen: true`
   * stays exact while it runs, unless more than 1,024 resizes wait to be drawn. The screen of a shell that has exited may make room
   * for others, and is then built again from the kept output.
   */
  exact: boolean;
  /** The position after the last byte that is drawn, counted like `seq`. */
  nextSeq: number;
  /** How often `resizeShell` had resized the terminal. */
  resizes: number;
  /** How the shell ended; null while it runs. Then the screen is the last one of what the shell wrote itself. */
  exited: ExitStatus | null;
}
/** What names a shell. */
export interface OpenedShell {
  /** Names the shell in all calls and events. */
  shellId: string;
}
/** The handle of a shell. `shellId` is its only enumerable member: it compares, and becomes JSON, as `{ shellId }`. */
export interface VmShell extends OpenedShell {
  /**
   * The terminal: what it shows, from the first byte, and what a person would type. As the streams of `VmProcess`, it costs
   * nothing until it is used for the first time, holds the shell up when nobody reads it, and fails with LIMIT_EXCEEDED if its
   * beginning is no longer kept. A write fails with SHELL_NOT_FOUND once the shell has exited. `end()` ends only the writing, and
   * `destroy()` only the stream: the shell runs on.
   */
  readonly stream: Duplex;
  /** As `resizeShell`. */
  resize(cols: number, rows: number): Promise<void>;
  /** As `readScreen` of the VM. */
  readScreen(options?: ReadScreenOptions): Promise<ShellScreen>;
  /** How the shell ended, after `shellExit`; with reason "disposed" if it ended with its VM. Never rejects. */
  readonly exited: Promise<ExitStatus>;
  /** As `closeShell`. */
  close(): Promise<void>;
  /** Calls `close`, for `await using`. Does nothing if the VM has ended. */
  [Symbol.asyncDispose](): Promise<void>;
}
/** A shell. */
export interface ShellInfo {
  /** The id that `openShell` returned. */
  shellId: string;
  /** The pid of its program, inside. */
  pid: number;
  /** The command that `openShell` was called with, or the shell that it chose. */
  command: string;
  /** The arguments that the program was started with. */
  args: string[];
  /** Columns, as `openShell` or `resizeShell` last set them. */
  cols: number;
  /** Rows, as `openShell` or `resizeShell` last set them. */
  rows: number;
  /** False from the exit event on. */
  running: boolean;
  /** Null while the shell runs. */
  exitCode: number | null;
}

// ---------------------------------------------------------------- files
/** Options of `readFile` and `readFiles`. */
export interface ReadFileOptions {
  /**
   * The size limit of what is read of each file, in bytes, from 0 to 2,147,483,647. Default 2,147,483,647: 2 GiB less one byte.
   */
  maxBytes?: number;
  /** The position of the first byte that is read. Default 0. After the end of the file nothing is read. */
  offset?: number;
  /** How many bytes are read, or fewer if the file ends before. Default: up to the end. */
  length?: number;
  /** "buffer" for bytes. Default "buffer". */
  encoding?: "buffer";
}
/** Options of `readFile` and `readFiles`, for text. */
export interface ReadFileTextOptions extends Omit<ReadFileOptions, "encoding"> {
  /** An encoding of Node.js, such as "utf8", whose invalid sequences become U+FFFD. */
  encoding: BufferEncoding;
}
/** A file of `readFiles`. */
export interface ReadFileResult<Content = Uint8Array> {
  /** The path from the call. */
  path: string;
  /** The content; null if the file cannot be read. */
  content: Content | null;
  /** Why the file cannot be read. */
  error?: string;
  /** The code of that error. */
  code?: AgentVmErrorCode;
}
/** Options of `writeFile`. */
export interface WriteFileOptions {
  /**
   * The mode that the file gets, also if it exists, as for `chmod`. Default: a new file has 0644, another one keeps its mode.
   */
  mode?: number | string;
  /** The time of the last change that the file gets. Default: now. */
  mtime?: FileTime;
}
/** Options of `appendFile`. */
export interface AppendFileOptions {
  /** The permissions of a new file, less the umask 022. Default 0644. */
  mode?: number | string;
}
/** A time of a file: a Date, or seconds since the Unix epoch to the microsecond, such as `stat.mtimeMs / 1000`. */
export type FileTime = Date | number;
/** A file for `writeFiles`. */
export interface WriteFileEntry extends WriteFileOptions {
  /** The path; missing parent directories are created. */
  path: string;
  /** The whole content, a string as UTF-8. */
  content: string | Uint8Array;
}
/** A file of `writeFiles`. */
export interface WriteFileResult {
  /** The path from the call. */
  path: string;
  /** Whether the whole content was written. */
  success: boolean;
  /** Why it was not. */
  error?: string;
  /** The code of that error. */
  code?: AgentVmErrorCode;
}
/** An entry of `readdirEntries`. */
export interface NamedEntry {
  /** The name in the directory. */
  name: string;
  /** The path of the directory in the call, and the name. */
  path: string;
  /** The type; of a symbolic link itself. */
  type: "file" | "directory" | "symlink" | "fifo" | "socket" | "characterDevice" | "blockDevice";
}
/** Options of `copy`. */
export interface CopyOptions {
  /** Copies a directory with everything below it. Default false. */
  recursive?: boolean;
  /** Replaces existing files and links. Default true. */
  force?: boolean;
  /** With `force: false`, an existing file or link is EEXIST. Default false: it is kept, and the copy goes on. */
  errorOnExist?: boolean;
  /** Gives files the times of their originals. Default false. */
  preserveTimestamps?: boolean;
}
/** Options of `uploadDirectory`, `downloadDirectory`, `readArchive` and `writeArchive`. */
export interface TransferOptions {
  /**
   * Patterns of what is left out, a directory with everything below it. A pattern without a slash is for names at any depth
   * ("node_modules", "*.log"); one with a slash is for paths below the copied directory ("/dist", "build/*.o"); a slash at the end
   * restricts it to directories ("target/"). `?` and `*` stand for characters except slashes, `**` for any directories, `[a-z]` for
   * one of these characters, and `{a,b}` for alternatives. At most 256 patterns of 1024 bytes.
   */
  exclude?: string[];
  /** The most bytes of all files together, holes included. Default 16 GiB. */
  maxBytes?: number;
  /** The most files, directories and links. Default 4 million. */
  maxEntries?: number;
  /** Called with the totals so far, at most ten times a second, and with the last ones before the call settles. */
  onProgress?: (totals: TransferTotals) => void;
  /** An abort ends the call, which rejects with ABORTED. */
  signal?: AbortSignal;
}
/** What a call has copied. */
export interface TransferTotals {
  /** Files. */
  files: number;
  /** Directories, without the one that the call names. */
  directories: number;
  /** Symbolic links. */
  links: number;
  /** Bytes of the files, holes included; by `writeArchive`, and `downloadDirectory` of `agent-vm/client`, without the holes. */
  bytes: number;
  /** Devices, FIFOs and sockets, which are not copied. */
  skipped: number;
}
/** Options of `createReadStream`. */
export interface ReadStreamOptions {
  /** The position of the first byte. Default 0. */
  start?: number;
  /** The position of the last byte, which is read too. Default: the end of the file. */
  end?: number;
  /** Emits strings in this encoding; "buffer" for bytes. Default "buffer". */
  encoding?: BufferEncoding | "buffer";
  /**
   * How many bytes the stream reads ahead. By default it reads 65,536 bytes first, and twice as many each time, up to 1,048,576; in
   * `agent-vm/client` always 65,536.
   */
  highWaterMark?: number;
  /** An abort destroys the stream with ABORTED. Default: none. */
  signal?: AbortSignal;
}
/** Options of `createWriteStream`. */
export interface WriteStreamOptions {
  /**
   * "w" empties an existing file, "a" appends to it, "r+" writes over it. "wx" and "ax" reject with EEXIST if it exists; "r+"
   * with ENOENT if it does not. Default "w".
   */
  flags?: "w" | "wx" | "a" | "ax" | "r+";
  /** The position of the first byte; not with "a" and "ax". Default 0. */
  start?: number;
  /** The permissions of a new file, less the umask 022. Default 0644. */
  mode?: number | string;
  /**
   * How many bytes `write` takes before it returns false. Chunks that wait are written together. Default 1,048,576; in
   * `agent-vm/client` 65,536.
   */
  highWaterMark?: number;
  /** An abort destroys the stream with ABORTED. Default: none. */
  signal?: AbortSignal;
}
/** Options of `mkdir`. */
export interface MkdirOptions {
  /** Creates missing parents, and accepts an existing directory. Default false. */
  recursive?: boolean;
}
/** Options of `watch`. */
export interface WatchOptions {
  /** Watches all directories below `path`, too, and those that are made or moved there. Default false. */
  recursive?: boolean;
  /** Names that are neither reported nor watched at any level, with everything below them. Default: none. */
  exclude?: string[];
  /** An abort ends the watch: `next` rejects with ABORTED. Default: none. */
  signal?: AbortSignal;
}
/**
 * What has happened to a file, directory or link.
 *
 * - `created`: it is new at `path`, also by a hard link or by a rename from where nothing is watched.
 * - `changed`: its content or attributes may have changed: it was written, cut off, closed after it had been open to write, or
 *   its mode, owner, times or extended attributes were set. One that has not been taken yet is about all changes up to then.
 * - `removed`: it is no longer at `path`.
 * - `renamed`: it was at `from`, with everything below it. What was at `path` before is gone.
 * - `overflow`: events at or below `path` were lost. List it again; what happens after this event is reported, or is lost and
 *   reported by another `overflow`.
 * - `unwatched`: not all of what happens below the directory `path` is reported from now on, for the reason in `code`.
 */
export type WatchEvent =
  | { type: "created" | "changed" | "removed"; path: string }
  | { type: "renamed"; path: string; from: string }
  | { type: "overflow"; path: string }
  | { type: "unwatched"; path: string; code: AgentVmErrorCode };
/** The events of a watch, each once. Iterating over them takes them. */
export interface FileWatcher extends AsyncIterableIterator<WatchEvent, undefined>, AsyncDisposable {
  /** Resolves when everything is watched. Nobody has to wait for it: the loop gets its error, too. */
  readonly ready: Promise<void>;
  /** The next event, once there is one. Keeps Node.js running while it waits. Rejects once with what has ended the watch. */
  next(): Promise<IteratorResult<WatchEvent, undefined>>;
  /** Ends the watch. Events that were not taken are dropped. */
  return(): Promise<IteratorResult<WatchEvent, undefined>>;
  /** Itself. */
  [Symbol.asyncIterator](): FileWatcher;
}
/** Options of `delete`. */
export interface DeleteOptions {
  /** Deletes a directory with everything below it. Default false. */
  recursive?: boolean;
}
/** Options of `readdirRecursive`. */
export interface ReaddirRecursiveOptions {
  /** How many levels deep to list, from 0 (the directory's own entries) to 4,096. Default: all. */
  maxDepth?: number;
  /** Names to leave out at every level, with everything below them. */
  exclude?: string[];
}
/** An entry of `readdirRecursive`. */
export interface DirectoryEntry {
  /** The absolute path. */
  path: string;
  /** "file" is everything that is neither a directory nor a symbolic link. */
  type: "file" | "directory" | "symlink";
  /** Bytes. */
  size: number;
}
/** The attributes of a file, from stat(2). `isDirectory` and `isSymbolicLink` are booleans, not methods. */
export interface VmStat {
  /** Type and permissions: `mode & 0o777`. */
  mode: number;
  /** Bytes. */
  size: number;
  /** Blocks of 512 bytes that are allocated. */
  blocks: number;
  /** The number of the file system. */
  dev: number;
  /** For a device file, the number of the device. */
  rdev: number;
  /** The inode number. */
  ino: number;
  /** The number of hard links. */
  nlink: number;
  /** The owner's id as the VM's default user sees it: 1000 is `user`, 0 is root; 65,534 is every user without an id there. */
  uid: number;
  /** The group's id inside, in the same way. */
  gid: number;
  /** Whether it is a directory. */
  isDirectory: boolean;
  /** Whether it is a symbolic link, which only `lstat` reports. */
  isSymbolicLink: boolean;
  /** The last read access: milliseconds since the Unix epoch, with fractions. */
  atimeMs: number;
  /** The last change of the content. */
  mtimeMs: number;
  /** The last change of the content or the attributes. */
  ctimeMs: number;
  /** The creation; `ctimeMs` where the file system does not record it. */
  birthtimeMs: number;
}

// ---------------------------------------------------------------- diagnostics
/**
 * A message on `node:diagnostics_channel`, for traces and metrics: on `agent-vm:boot` when `create` has settled, on
 * `agent-vm:exec` when `exec` or `execFile` has settled, on `agent-vm:spawn` when a spawned process has exited or could not be
 * started, on `agent-vm:shell` when a shell has exited or could not be opened, and on `agent-vm:dispose` when `dispose` has resolved. Only what began while the channel had a subscriber is published,
 * in the asynchronous context in which it began.
 */
export interface AgentVmDiagnostic extends Partial<ExitStatus> {
  /** Milliseconds since the Unix epoch. */
  startTime: number;
  /** From the call to the end, in milliseconds, with fractions. */
  durationMs: number;
  /** The VM. Absent if a boot failed. */
  vm?: AgentVm;
  /** For exec, spawn and shell, the program. `exec(command)` is `/bin/sh -c command`. */
  file?: string;
  /** For exec, spawn and shell, the arguments, without the program's own name. */
  args?: string[];
  /** For a spawned process that has exited, its pid. */
  pid?: number;
  /** For a shell that has exited, its id. */
  shellId?: string;
  /**
   * For dispose, the last reading of `stats`, which `dispose` takes while the channel has a subscriber. Absent if the VM had died, or
   * did not answer within 100 ms.
   */
  stats?: VmStats;
  /** What the call rejected with. */
  error?: unknown;
}
