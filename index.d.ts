// The public contract of `agent-vm`, as its users see it. The shipped index.d.ts may say more (docs, overloads,
// options), never less and never otherwise. Names and shapes of the process and shell calls follow the agentOS
// documentation that users come from, so that their code moves over unchanged.
/// <reference types="node" />
import type { EventEmitter } from "node:events";
import type { Duplex } from "node:stream";

// ---------------------------------------------------------------- what holds throughout
// Arguments are checked first, then VM_DISPOSED, then ids.
// exec runs `sh -c`, and `sh -c --` where the command begins with `-` or `+`; it emits no processOutput or processExit and is
//   not in listProcesses (allProcesses has it).
// onStdout, onStderr and the listeners of an event run in the asynchronous context (AsyncLocalStorage) of the call that
//   started the process or shell.
// waitProcess and waitShell resolve after the exit event, which follows all that the process itself wrote.
// Exited processes and shells (the last 1,024 of each) still answer wait, read, get and list. On them, closeShell,
//   closeProcessStdin, stopProcess do nothing, also a second time; writeShell and resizeShell reject with SHELL_NOT_FOUND.
// A pid names the newest process that spawn gave it to; once another process has the number, calls on the old record
//   touch nothing.
// stopProcess and signalProcess reach the group that the pid leads, or else that process alone.
// A call's env is added to the VM's. Its PATH finds the program. timeout 0 means none.
// spawn: stdin is an open pipe; the `stdin` option is written first and the pipe stays open. onStdout and the events both
//   fire. An abort kills everything it started; reason "signal".
// VM gone: what ran ends with reason "disposed", exit code 137, SIGKILL, zero usage; then `exit` is emitted; then dispose
//   resolves. Calls that were pending reject with VM_DISPOSED.
// activeCount: spawned processes and shells that run, and execs under way; not what they left in the background.
// A VM is garbage-collectable when activeCount is 0 and no call is pending. A running spawn or shell keeps it, and Node, alive.
// An argument, and exec's command, is at most 128 KiB (the kernel's limit): E2BIG.
// Where there is no cgroup to name a family by, a process that forks twice, calls setsid and clears its environment is
//   found only by dispose: doctor() says so. Everywhere else kill, timeout and abort take everything.

// ---------------------------------------------------------------- errors
/** Every rejection is an AgentVmError (exported as a class). Branch on `code`, which is stable; `message` is for people. */
export class AgentVmError extends Error {
  /** Which kind of error: one of these, or the name of the errno where a system call failed. */
  code:
    | "INVALID_ARGUMENT" // wrong type or value: the message names the argument and what it takes
    | "ISOLATION_UNAVAILABLE" // this host cannot isolate as asked, or not any more: the message names the cause and the remedy
    | "VM_DISPOSED" // the VM was disposed or has died
    | "PROCESS_NOT_FOUND" // message: "Process not found: 99999"
    | "SHELL_NOT_FOUND" // message: "Shell not found: shell-9"
    | "STDIN_CLOSED" // writing to a stdin that was closed or whose process has gone
    | "LIMIT_EXCEEDED" // a configured limit refused it: the message names the limit and its value
    | "ABORTED" // the given AbortSignal, whose reason is the error's `cause`
    | "ENOENT"
    | "EACCES"
    | "EEXIST"
    | "ENOTDIR"
    | "EISDIR"
    | "ENOTEMPTY"
    | "ENOSPC"
    | string; // the errno's name
  /** Set where an operating system call failed: its number, negative as Node.js has it (-2 for ENOENT). */
  errno?: number;
  /** Likewise: the call that failed. */
  syscall?: string;
  /** The path, or the program, that it failed for. */
  path?: string;
}

// ---------------------------------------------------------------- the VM
/**
 * How a VM is to be made. All of it is optional; what is wrong rejects `create` with INVALID_ARGUMENT.
 *
 * Options of all calls are read once, from the object itself and its classes (computed members of classes too), never from
 * Object.prototype.
 */
export interface AgentVmOptions {
  /**
   * Host directory to use as the root filesystem: another distribution, with a shell as /bin/sh, which may be a link that leads
   * to a program within the directory (else INVALID_ARGUMENT). An absolute path; symbolic
   * links in it are resolved by `create`, which rejects as for `mounts`. Default: the host's own programs, read-only, none of
   * its data.
   *
   * The directory stays as it is: what is written goes to the VM's own layer and counts towards `limits.diskBytes`. Its owner
   * is the VM's `user` inside, who may thus change it all in his layer, but for what belongs to others than the owner. A
   * directory that the server's user does not own is hardly writable under a server that is not root, and one over which
   * the kernel can lay no layer (before Linux 5.11, or a third overlay) is read-only.
   *
   * Of the VM's own are /dev, /proc, /tmp, /run, /var/tmp, the home, and in /etc: hostname, hosts, resolv.conf, and passwd and
   * group, which are the root's with `user` added; and mailname where the root has none. The server's Node.js is not shown. What is mounted below the directory
   * on the host is not either.
   */
  rootfs?: string;
  /**
   * Host directories, or regular files, to show inside; at most 100. `readOnly` defaults to true and covers what is mounted
   * below `hostPath` too.
   *
   * `path` is absolute, of at most 4,095 bytes without `.` and `..`, and no place of the VM's own (`/`, `/usr`, `/etc`,
   * `/home/user`, below `/dev` or `/proc`, …: INVALID_ARGUMENT). Missing folders on the way are made, also in a home or a writable
   * mount that it lies in; in what is read-only they have to be there (EROFS), and none may be a symbolic link (ELOOP).
   *
   * `hostPath` is absolute, and neither the host's root nor /proc, /sys or the like; symbolic links in it are resolved by
   * `create`, so that it must not lead through what a guest can write to. One that is missing or that the server may not
   * read rejects `create` with ENOENT, ENOTDIR or EACCES and `path` set to it. Its owner is the VM's `user` inside, as with
   * `home`; on a file system that cannot map owners a read-only mount is inside what it is to others on the host. A root
   * server without CAP_SYS_ADMIN, or in a user namespace of its container's, can show none: ISOLATION_UNAVAILABLE.
   *
   * A guest can connect to Unix sockets of the owner that lie in a writable mount, and under a server that is not root also in
   * a read-only one: show no folder that holds any. Nor one with set-user-id programs of the owner's in a writable mount: a
   * guest can make no such file, but can put its own code into one that is there, through a shared mapping.
   */
  mounts?: {
    /** Where it shows inside. */
    path: string;
    /** What shows there: a directory or a regular file of the host's. */
    hostPath: string;
    /** Whether writing to it is refused (EROFS). Default true. */
    readOnly?: boolean;
  }[];
  /**
   * Empty, writable directories of the VM's own besides the home and /tmp, like ["/workspace"]; at most 32. They belong to
   * `user`, have mode 0755, count towards `limits.diskBytes`, and end with the VM. Where a `rootfs` has something at the place,
   * the empty directory hides it. Default: none.
   *
   * Each is an absolute path of at most 4,095 bytes without `.` and `..`, not at or below a place of the system's (/usr, /etc,
   * /proc, /sys, /dev, /run, /tmp, /var, /home/user, …), and neither at nor below another one or the `path` of a mount:
   * INVALID_ARGUMENT. A mount may lie below one. In a `rootfs` none of the directories above it may be a symbolic link (ELOOP), and
   * over a `rootfs` that is read-only those must exist (EROFS).
   */
  directories?: string[];
  /**
   * Host directory that becomes /home/user and outlives the VM. Default: private and gone with the VM. An absolute path;
   * symbolic links in it are resolved by `create`, which rejects as for `mounts`.
   *
   * Its owner keeps it: inside he is the VM's `user`, and what is made inside is his on the host, with his group or, in a
   * set-group-id folder, with that one's; folders made there have the bit too, which can be set on none inside. Under a root
   * server, what is of another owner or another group than the directory itself can be read as others may, and not be
   * written; the file system has to know idmapped mounts
   * (ext4, XFS, Btrfs, tmpfs and others; not overlay or NFS), else ISOLATION_UNAVAILABLE. `limits.diskBytes` does not
   * count what is written there. With `isolation: "none"` it is where HOME leads.
   */
  home?: string;
  /**
   * agentOS software packages, nested arrays and all (`software: [common, pi]`).
   *
   * A package of commands (`{ commands, commandDir, aptName }`) asks that the VM has native programs of these names on its
   * PATH, with `rootfs` those of that root; its WebAssembly is not used. One that is missing rejects `create` with ENOENT, and the message names it, the
   * package and the Debian package that brings it. Names with a leading underscore do not count.
   *
   * An agent (`{ type: "agent", packageDir, requires }`) or a tool (`… bins`) is npm packages. The node_modules folder that
   * they and all they depend on lie in is shown, whole and read-only, below /opt/agent-vm/software, once for all of them: so
   * install them where nothing lies that the VM must not read. Packages outside of any node_modules (a workspace's) are shown
   * by themselves. Software must not be writable by a guest: `create` rejects with INVALID_ARGUMENT where it overlaps a writable
   * mount or the home of this VM or of another running VM of this server. It cannot know the VMs of other servers.
   *
   * A symbolic link of the installer is followed only into a `node_modules` that `packageDir` itself looks into, or to a member
   * of the workspace that it is in (`workspaces` of npm and yarn, pnpm-workspace.yaml). A package may have
   * `allowLinks: string[]`: absolute paths on the host without links, to which, and below which, links may lead also; each is
   * shown as a whole. Default: none. Any other link that a needed package is behind, a `packageDir` behind a link, and a
   * `packageDir` that would show itself and is in neither, is INVALID_ARGUMENT; the message names the link and the remedy.
   * No link on the way to the packages may appear later: each `create` opens them without following any.
   *
   * Under a root server the VM's user reads and runs what others may: EACCES for a command that others may not read and
   * execute. Under a server that is an ordinary user the VM's user is that user: files of mode 0600 there can be read inside.
   *
   * The packages' commands are on the PATH, behind node and /home/user/.local/bin and before the system's; they run on
   * the server's own Node.js, with `rootfs` on that of the root, if it has one. ENOENT for what `requires` names and is not installed, EACCES for a command that is not
   * executable; INVALID_ARGUMENT for a package.json whose `bin` is no path or object of paths, and for a command's name that
   * is empty, longer than 255 bytes, or has a slash or a control character. Looked up once for each package object, which
   * must not be changed afterwards.
   */
  software?: unknown[];
  /** Environment of every process inside. Nothing of the host's environment is passed in by itself. */
  env?: Record<string, string>;
  /** The host name inside. Default "agent-vm". */
  hostname?: string;
  /**
   * Loopback only ("none", the default), the internet ("public"), the host's network ("host"), or named destinations alone.
   *
   * "public" reaches all public addresses, at every port, and the names that the host resolves to them. It reaches no loopback,
   * private, link-local, multicast, shared (100.64.0.0/10), benchmarking, documentation or reserved address, no metadata
   * service, no IPv6 address that contains such an address (mapped, NAT64, 6to4, Teredo), and no address of the host itself,
   * neither directly nor by a name. A name of one label, or below .local, .internal or .home.arpa, is not looked up. The address
   * that was checked is the one that is connected to. "public" and a list use the same proxy, and need isolation "namespaces".
   *
   * An entry of `allow` (at most 1,024) is a name ("registry.npmjs.org"), a domain's subdomains ("*.github.com", not the
   * domain itself), an address ("10.0.0.5", "::1", "[::1]") or a range ("10.0.0.0/8"), each with or without a port (":443");
   * without one it means every port. Anything else is INVALID_ARGUMENT. Programs inside reach them through an HTTP and
   * SOCKS 5 proxy on 127.0.0.1:1080, which the environment names (HTTP_PROXY and the like, NODE_USE_ENV_PROXY); names are
   * resolved on the host, those of two labels or more as absolute names, without the host's search domains. A listed name is
   * refused where it leads to an address that is not public, or that the host itself has, unless that address is
   * listed as well; "localhost" is the host's loopback. What is refused gets 403 with its reason in the status line
   * ("403 not in network.allow: registry.example.com:443") and in the body, and is a `networkDenied` event. "*" is
   * INVALID_ARGUMENT: "public" is all destinations.
   *
   * The VM's own names (localhost and its subdomains, `hostname`, 127.0.0.0/8, 0.0.0.0, "::1", "::") lead to servers inside the
   * VM, by the proxy as well, unless the list contains them with that port. NO_PROXY has those that clients handle
   * alike, so most clients do not ask the proxy for them.
   *
   * A range reaches an address that is not public only if all of the range is of that kind: "127.0.0.0/8" and "10.1.0.0/16"
   * do, "0.0.0.0/0" and "::/0" mean the internet alone. A metadata service and a public address of the host are reached only
   * by their exact address.
   *
   * A connection ends when no byte has passed for 10 minutes. VMs share the places for connections fairly: where none is
   * free, the VM that holds most loses the one that has been idle for longest.
   *
   * With "none", the environment sets the retries of npm, pnpm, pip, uv, Yarn and Cargo so that they fail at once; `env` can
   * set others.
   *
   * "host" shares the host's ports and all that they reach, a cloud's metadata service among it. Under isolation "none" it
   * is the only one, and the default.
   */
  network?:
    | "none"
    | "public"
    | "host"
    | {
        /** Destinations, in any order. At most 1,024. */
        allow: string[];
      };
  /** Bounds of the whole VM or of each process. `vm.enforcement` tells what holds each. */
  limits?: {
    /**
     * Total memory in bytes, 4 MiB or more: all programs of the VM together, their private files (which are in memory) and
     * the kernel's own structures for them. At the bound the kernel kills the largest process; see `reason: "oom"`.
     * Default: no limit. ISOLATION_UNAVAILABLE where no cgroup can hold it: `AgentVm.doctor()` tells.
     */
    memoryBytes?: number;
    /** Cores' worth of time, 0.01 or more, fractions too. At the bound programs wait. Default and errors as `memoryBytes`. */
    cpus?: number;
    /**
     * Processes and threads of the VM. Default 4,096. At the bound: EAGAIN inside. Where the server is not root, at most half of
     * what its user may have (`ulimit -u`), because all VMs are that user.
     */
    pids?: number;
    /**
     * Open files of one process, from 16 to 1,048,576. Default 4,096. At the bound: EMFILE inside. The limit
     * inside is also at least 512 below the server's own hard limit (`ulimit -Hn`), or half of that
     * where it is 1,024 or less: `ulimit -n` inside reports it. The kernel lets one user send as many descriptors over Unix
     * sockets as the sender may open, so a program at the server's limit could block every VM of an ordinary user's server.
     */
    openFiles?: number;
    /** Bytes of private files, which lie in one tmpfs, and so in memory. Default 1 GiB. At the bound: ENOSPC inside. */
    diskBytes?: number;
    /**
     * Terminals that are open at a time: those of `openShell`, and those that programs open. A number from 1 to 4,096; default
     * 64. At the bound: ENOSPC inside, and from `openShell`. All VMs, containers and the host share the kernel's own pool, which
     * leaves 3,072 to VMs by default (`/proc/sys/kernel/pty/max` less `reserve`). Needs isolation "namespaces": INVALID_ARGUMENT
     * under "landlock", where programs can open no terminal, and ISOLATION_UNAVAILABLE under "none".
     */
    terminals?: number;
    /** Kept output per process and shell, for replay. Default 1 MiB; those that have exited share 16 MiB, oldest dropped first. */
    replayBytes?: number;
  };
  /**
   * "namespaces" (default) or refuse; "landlock" for hosts that forbid user namespaces; "none" only on explicit wish. A level
   * that the host cannot give is ISOLATION_UNAVAILABLE, with cause and remedy; another one is never taken in its place.
   *
   * "landlock" (Linux 6.12 or later) walls programs off in the host's own namespaces; README has a table of what it keeps.
   * There the VM sees the host's paths (programs read an /etc/passwd and /etc/group of the VM's own), its home is a private
   * folder (`$HOME`; the default `cwd`), `$TMPDIR` another, and it has no network: `connect` and `fetch` reject with
   * ISOLATION_UNAVAILABLE. `home`, `mounts`, `directories`, `rootfs`, `hostname`, `limits.diskBytes`, `limits.terminals` and any `network` but "none" are INVALID_ARGUMENT.
   */
  isolation?: "namespaces" | "landlock" | "none";
}

/** What an AgentVm emits. A listener that takes its time slows the program that writes, and loses nothing. */
export interface AgentVmEvents {
  /** A spawned process, or what it left behind, has written. */
  processOutput: [ProcessOutputEvent];
  /** A spawned process has ended. Follows all that it wrote itself. */
  processExit: [ProcessExitEvent];
  /** A shell's terminal has shown something. */
  shellData: [ShellDataEvent];
  /** A shell has ended. Follows all that it wrote itself, unless `closeShell` hung up on it. */
  shellExit: [ShellExitEvent];
  /** The network option refused a connection from inside; the program is answered when this has been emitted. */
  networkDenied: [
    {
      /** The name or address that was asked for. */
      host: string;
      /** From 1 to 65,535. */
      port: number;
      /** For people. */
      reason: string;
    },
  ];
  /** The VM is gone: disposed, or its init was killed. Every open process and shell has had its exit event before. */
  exit: [
    {
      /** "died": nobody asked for it. */
      reason: "disposed" | "died";
    },
  ];
}
/** A chunk of what a spawned process has written. */
export interface ProcessOutputEvent {
  /** As `spawn` gave it. */
  pid: number;
  /** Which of its streams. */
  stream: "stdout" | "stderr";
  /** The bytes; a character may begin in one chunk and end in the next. At most 64 KiB. */
  data: Uint8Array;
  /** Bytes that the process wrote before these, to stdout and stderr together. */
  seq: number;
}
/** How the process `pid` has ended. */
export interface ProcessExitEvent extends ExitStatus {
  /** As `spawn` gave it. */
  pid: number;
}
/** A chunk of what a terminal has shown. */
export interface ShellDataEvent {
  /** As `openShell` gave it. */
  shellId: string;
  /** The bytes, escape sequences and all. At most 64 KiB. */
  data: Uint8Array;
  /** Bytes that this shell's terminal has shown before these. */
  seq: number;
}
/** How the shell `shellId` has ended. */
export interface ShellExitEvent extends ExitStatus {
  /** As `openShell` gave it. */
  shellId: string;
}

/** How a program ended, and what it took. */
export interface ExitStatus {
  /** As a shell reports it: the exit status, or 128 + signal number. */
  exitCode: number;
  /** The signal that ended it, or null. */
  signal: NodeJS.Signals | null;
  /**
   * "exited" by itself, or by a "signal"; killed at its "timeout"; or "disposed", with its VM.
   *
   * "oom": the kernel killed it because `limits.memoryBytes` was reached, or killed something it had started, whose end it
   * passes on as its own (as `sh -c "program"` does: exit code 137, no signal). What the kernel killed is counted by command,
   * not by process: a command that lost a child this way, and is then killed with SIGKILL from inside, is "oom" as well.
   */
  reason: "exited" | "signal" | "timeout" | "oom" | "disposed";
  /** What the program used, and those of its children that it waited for. */
  usage: {
    /** Processor time outside of the kernel, in milliseconds. */
    userMs: number;
    /** Processor time inside of the kernel, in milliseconds. */
    systemMs: number;
    /**
     * The most memory that any one of them held at a time. The kernel counts in what the VM's init had held when it started
     * the program: a few megabytes, which grow with the longest arguments so far, and those are at most 6 MiB.
     */
    maxRssBytes: number;
  };
}

/**
 * An isolated Linux machine. It is made by `AgentVm.create()` and lives until `dispose()`, the end of the server's process
 * or, once nothing runs in it and nobody holds it, garbage collection.
 *
 * Every call checks its arguments first (INVALID_ARGUMENT), then whether there still is a VM (VM_DISPOSED).
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
   * Boots a VM: a few milliseconds, and no process of the server's is forked for it. Rejects with ISOLATION_UNAVAILABLE where
   * the host cannot isolate as asked, with cause and remedy in the message; with an errno for a directory that cannot be shown.
   */
  static create(options?: AgentVmOptions): Promise<AgentVm>;
  /** What this host can isolate, probe by probe, and how to get what is missing. Never throws. */
  static doctor(): Promise<{
    /** The strongest that works here. */
    level: "namespaces" | "landlock" | "none";
    /** What was looked at. */
    checks: {
      /** "kernel", "memory limit" and so on. */
      name: string;
      /** Whether it serves. */
      ok: boolean;
      /** What was found, for people. */
      detail: string;
      /** How to get it; where it is not `ok`. */
      remedy?: string;
    }[];
  }>;

  // one-shot
  /**
   * Runs a shell command (`/bin/sh -c`), and resolves when it has ended, to all that it printed. A command that fails, is killed
   * or meets its timeout is a result, not a rejection. Rejects with ENOENT for a `cwd` that is not there, E2BIG for a command of
   * more than 128 KiB, ABORTED.
   */
  exec(command: string, options?: ExecOptions): Promise<ExecResult>;
  /**
   * Likewise, without a shell: the arguments arrive as they are. `file` is a path, or a name on the PATH; ENOENT or EACCES, with
   * `path`, where it cannot be run.
   */
  execFile(file: string, args?: string[], options?: ExecOptions): Promise<ExecResult>;

  // long-running
  /**
   * Starts a process, and resolves when it runs. Its output comes by the `processOutput` event and is kept for
   * `readProcessOutput`; its standard input is a pipe that stays open until `closeProcessStdin`. While it runs it keeps the VM, and
   * Node.js, alive. Rejects as `execFile`.
   */
  spawn(
    command: string,
    args?: string[],
    options?: SpawnOptions,
  ): Promise<{
    /** Inside, as `echo $$` tells it. Names the process in all calls and events. */
    pid: number;
  }>;
  /**
   * Resolves when the process's pipe has taken all of it; writes to one process keep their order. STDIN_CLOSED after
   * `closeProcessStdin`, or where nobody reads any more; LIMIT_EXCEEDED, and nothing is written, when something waits already
   * and more than 64 MiB would wait then. While nothing waits, a write may have any size.
   */
  writeProcessStdin(pid: number, data: string | Uint8Array): Promise<void>;
  /** End of file, once all that was written has been taken. A second time: nothing. */
  closeProcessStdin(pid: number): Promise<void>;
  /** Resolves to the exit code, after `processExit`; at once for one that has exited. */
  waitProcess(pid: number): Promise<number>;
  /** In the order they were spawned: those that run, and the last 1,024 that have exited. */
  listProcesses(): Promise<SpawnedProcessInfo[]>;
  /** One of them. PROCESS_NOT_FOUND for a pid that spawn never gave, or that is forgotten. */
  getProcess(pid: number): Promise<SpawnedProcessInfo>;
  // stopProcess, killProcess and signalProcess take any pid that allProcesses lists, and every pid that spawn gave;
  // waitProcess, getProcess and the stdin calls take those that spawn gave. Init's pid is PROCESS_NOT_FOUND to all.
  /** SIGTERM to the process's group. On an exited process: nothing. */
  stopProcess(pid: number): Promise<void>;
  /**
   * SIGKILL to the process and everything it started. On an exited process: what it left behind is killed. Resolves when none
   * of it is left and, of a spawned process, the exit is told. A process of the VM that traces it (`ptrace(2)`) and has not waited
   * for its end after 500 ms is killed as well, as it is at a timeout, an abort and `closeShell`.
   */
  killProcess(pid: number): Promise<void>;
  /**
   * Any signal by name, "SIGUSR1": to the group that the process leads, or else to it alone. On an exited process: nothing.
   */
  signalProcess(pid: number, signal: NodeJS.Signals): Promise<void>;
  /** Kept output, of stdout and stderr in the order in which it came. PROCESS_NOT_FOUND. */
  readProcessOutput(
    pid: number,
    options?: {
      /** The byte to begin at. Default 0. */
      after?: number;
    },
  ): Promise<{
    /** What is kept from there on. */
    chunks: ProcessOutputEvent[];
    /** Where to go on: the next call's `after`. */
    nextSeq: number;
    /** Bytes from `after` on that are no longer kept (`limits.replayBytes`). */
    truncatedBytes: number;
    /** How it ended; null while it runs. */
    exited: ExitStatus | null;
    /**
     * True when the VM no longer reads this output although something that was left running may still write to it: too many
     * outputs of ended processes were open (256 per VM; docs/bounds.md). Such a writer gets EPIPE, or EIO on a terminal. What was
     * written before is kept and delivered.
     */
    outputCut: boolean;
  }>;

  // everything in the VM
  /** Every process of the VM, also those of exec, of shells and in the background, as the kernel tells of them. */
  allProcesses(): Promise<ProcessInfo[]>;
  /** The same, each with its children. At the top are those whose parent is init, or nobody. */
  processTree(): Promise<ProcessTreeNode[]>;

  /**
   * What the VM uses now, and what went in and out of its commands, processes and shells since it booted (file calls and
   * ports do not count).
   */
  stats(): Promise<{
    /** How many there are. */
    processes: number;
    /** Processor time that these have used so far, user and system, in milliseconds. */
    cpuMs: number;
    /** Memory that these hold; pages that several share count for each. */
    memoryBytes: number;
    /** Bytes written to standard inputs and terminals. */
    bytesIn: number;
    /** Bytes read from them, what exec dropped included. */
    bytesOut: number;
    /**
     * Outputs of ended commands, processes and shells that were closed although something left running may still have written to
     * them: too many were open (256 per VM; docs/bounds.md). Standard output and standard error count one each. Absent while there
     * is none.
     */
    outputsCut?: number;
  }>;

  // shells
  /**
   * A program on a terminal of the VM's own, whose session it leads. It ends like a process: `shellExit`, `waitShell`.
   * Rejects with ENOENT or EACCES, `path` saying for what, where the program or the folder cannot be used.
   */
  openShell(options?: OpenShellOptions): Promise<{
    /** Names the shell in all calls and events. */
    shellId: string;
  }>;
  /**
   * What a person types: `"ls\n"`, `"\x03"` for Ctrl-C. Goes to the terminal at once; resolves when the terminal has taken
   * all of it. Writes to one shell keep their order. SHELL_NOT_FOUND if the shell ends first; LIMIT_EXCEEDED, and nothing is
   * written, as for `writeProcessStdin`. While the terminal hands over lines (it does until a program asks for keys), the
   * kernel keeps at most 4,095 bytes of one.
   */
  writeShell(shellId: string, data: string | Uint8Array): Promise<void>;
  /** From 1 to 65,535 each. The program in the foreground gets SIGWINCH if the size is new. */
  resizeShell(shellId: string, cols: number, rows: number): Promise<void>;
  /**
   * SIGHUP and SIGCONT to every process of the shell's session, SIGKILL after 2 s to what is left of it; resolves when all
   * of it is gone. What had left the session (setsid) lives on. A call while another is under way waits for the same end.
   */
  closeShell(shellId: string): Promise<void>;
  /** Resolves to the exit code, after `shellExit`. What a job left behind prints later still comes as `shellData`. */
  waitShell(shellId: string): Promise<number>;
  /** In the order they were opened: those that run, and the last 1,024 that have ended. */
  listShells(): Promise<
    {
      /** As `openShell` gave it. */
      shellId: string;
      /** Of its program, inside. */
      pid: number;
      /** As it was asked for, or the shell that was found. */
      command: string;
      /** As they were asked for. */
      args: string[];
      /** Columns, as last set by the server. */
      cols: number;
      /** Rows, likewise. */
      rows: number;
      /** False from the exit event on. */
      running: boolean;
      /** Null while it runs. */
      exitCode: number | null;
    }[]
  >;
  /**
   * What the terminal has shown, as far as it is kept. SHELL_NOT_FOUND. To follow a shell from any moment on, listen to `shellData` first, then
   * read: events hold each byte once, so of those that came meanwhile, what lies before `nextSeq` is in `data` already.
   */
  readShell(
    shellId: string,
    options?: {
      /** The byte to begin at. Default 0. */
      after?: number;
    },
  ): Promise<{
    /** What is kept from there on. */
    data: Uint8Array;
    /** Where to go on: the next call's `after`. */
    nextSeq: number;
    /** Bytes from `after` on that are no longer kept (`limits.replayBytes`). */
    truncatedBytes: number;
    /** How it ended; null while it runs. */
    exited: ExitStatus | null;
    /**
     * True when the VM no longer reads this output although something that was left running may still write to it: too many
     * outputs of ended processes were open (256 per VM; docs/bounds.md). Such a writer gets EPIPE, or EIO on a terminal. What was
     * written before is kept and delivered.
     */
    outputCut: boolean;
  }>;

  // files (absolute paths inside the VM; they resolve as the VM's own user sees them, symlinks never lead out)
  // The magic links of /proc are not followed, and nothing that tells of init is opened: ELOOP or EACCES. What is no regular
  // file (a device, a FIFO, a socket) is not read or written, and holds no call up: EINVAL, ENXIO. Files of the kernel's
  // (/proc and its kind) are read and never written: EACCES. A file of 2 GiB or more is EFBIG to readFile. Names that are not UTF-8 show with U+FFFD in place of what is not: readdir lists them and a recursive
  // delete takes them, but no path leads to them. writeFile follows a symlink, empties the file first (a new one has mode
  // 0644) and, where the disk is full (ENOSPC), leaves what had room. A listing
  // has at most 1,000,000 names and 64 MiB of names or paths, from at most 4,096 directories deep; a directory below that is
  // not left out, but ends the call unless `maxDepth` or `exclude` keeps it out (LIMIT_EXCEEDED). A result that is larger than
  // a value of JavaScript can be is LIMIT_EXCEEDED too, of whatever call.
  /**
   * The whole content. What is being read at one time, of all VMs, is at most 256 MiB: a read waits for its turn, and a larger
   * file is read alone. Files of up to 1 MiB do not wait for larger ones. EFBIG for a file of more than `maxBytes`; ENOENT, EACCES, EISDIR.
   */
  readFile(
    path: string,
    options?: {
      /** The most bytes that the file may have, from 0 to 2,147,483,647. Default 2,147,483,647, which is 2 GiB less one. */
      maxBytes?: number;
    },
  ): Promise<Uint8Array>;
  /** Writes the whole content, a string as UTF-8. Makes missing parent folders. EACCES, EISDIR, EROFS, ENOSPC. */
  writeFile(path: string, content: string | Uint8Array): Promise<void>; // makes missing parent folders
  /**
   * Several; what comes back is in their order. For one that cannot be read the call does not reject.
   */
  readFiles(
    paths: string[],
    options?: {
      /** As for `readFile`, of each file. */
      maxBytes?: number;
    },
  ): Promise<
    {
      /** As it was given. */
      path: string;
      /** Null where it cannot be read. */
      content: Uint8Array | null;
      /** Why it cannot. */
      error?: string;
    }[]
  >;
  /** Several; what comes back is in their order. What fails says so in its entry, and the others are written. */
  writeFiles(
    entries: {
      /** Where; missing parent folders are made. */
      path: string;
      /** A string is written as UTF-8. */
      content: string | Uint8Array;
    }[],
  ): Promise<
    {
      /** As it was given. */
      path: string;
      /** Whether the whole content is written. */
      success: boolean;
      /** Why it is not. */
      error?: string;
    }[]
  >;
  /**
   * Makes a folder of mode 0755. EEXIST where there is something, ENOENT without a parent.
   */
  mkdir(
    path: string,
    options?: {
      /** Makes missing parents, and takes a folder that is there. Default false. */
      recursive?: boolean;
    },
  ): Promise<void>;
  /**
   * The names in a folder, without `.` and `..`, in no particular order. ENOENT, ENOTDIR, EACCES; LIMIT_EXCEEDED beyond
   * 1,000,000 names or 64 MiB of them.
   */
  readdir(path: string): Promise<string[]>;
  /**
   * Everything below a folder; symbolic links are listed and not followed. ENOENT, ENOTDIR, EACCES; LIMIT_EXCEEDED
   * beyond 1,000,000 names, 64 MiB of paths or 4,096 directories deep.
   */
  readdirRecursive(
    path: string,
    options?: {
      /** How many folders deep, from 0, which is the folder's own entries, to 4,096. Default: all. */
      maxDepth?: number;
      /** Names that are left out wherever they stand, with all below them. */
      exclude?: string[];
    },
  ): Promise<
    {
      /** From the root on. */
      path: string;
      /** "file" is whatever is none of the others. */
      type: "file" | "directory" | "symlink";
      /** Bytes. */
      size: number;
    }[]
  >;
  /** Of what a path leads to, symbolic links followed. ENOENT, ENOTDIR, EACCES, ELOOP. */
  stat(path: string): Promise<VmStat>;
  /** Whether there is something at the path, as far as the VM's user can see. */
  exists(path: string): Promise<boolean>;
  /**
   * Renames. A file takes the place of a file (or a link), a folder that of an empty folder; else EISDIR, ENOTDIR or ENOTEMPTY.
   *
   * Between mounts (the home, /tmp and the like, each of `mounts`) it copies with all that a copy can keep, and then deletes.
   * Where that fails it is EXDEV, with the reason in the message, also for a folder onto one that is not empty; `from` is then
   * still there, and what was copied by then may be.
   *
   * As rename(2), it refuses a last name `.` or `..` (EBUSY), and a slash behind either name unless `from` is a directory, which
   * a link to one is not (ENOTDIR). It then changes nothing.
   */
  move(from: string, to: string): Promise<void>;
  /**
   * A file, a link or an empty folder. ENOENT, ENOTEMPTY, EACCES; EBUSY where something is mounted, with `recursive` too: what
   * is on another mount is not deleted. Where a recursive call fails, what it has deleted by then stays deleted.
   *
   * As rm(1), it refuses a last name `.` or `..` (EINVAL) and a slash behind the name of something that is no directory, of a
   * link too (ENOTDIR). It then deletes nothing.
   */
  delete(
    path: string,
    options?: {
      /** A folder and all below it, too. Default false. */
      recursive?: boolean;
    },
  ): Promise<void>;

  // network into the VM
  /**
   * A connection to a port that something inside listens on, made inside the VM's own network: to 127.0.0.1, or to ::1 if
   * nobody listens there. It is a `net.Socket`. ECONNREFUSED if nobody listens; ETIMEDOUT if the listener has a full queue
   * for 10 s; LIMIT_EXCEEDED while 1,024 connections of this VM are being made. It closes, without an error event, when the
   * VM goes.
   */
  connect(port: number): Promise<Duplex>;
  /**
   * `fetch` as it is elsewhere, over a connection of its own to `port` of the VM. `request` is a path, which stands for
   * `http://localhost:port/path`, or an http: URL, or a Request; the URL's host goes into the Host header and nowhere else.
   * Redirects are followed to the URL's own host and to this port of the loopback; one to elsewhere is the response, with
   * its status and its `location`. A body that nobody reads stops the server, until it is cancelled or garbage.
   *
   * A body is decoded (gzip, deflate, br, and zstd where Node.js has it) as it is read, from the first read on; how much it
   * becomes is for the reader to bound. EPROTO for more than two encodings, for 1 MiB of an encoding that decodes to nothing,
   * for a window of zstd over 8 MiB, and for about 256 KiB from the server that are neither part of the answer's head nor of its
   * body (interim answers, extensions of chunks, …).
   *
   * Rejects, and fails a body that is being read, with ECONNREFUSED where nobody listens, ECONNRESET where an answer
   * breaks off, EPROTO for what is not HTTP/1.1 or cannot be decoded, ELOOP after 20 redirects, EIO where the request's
   * own body fails, LIMIT_EXCEEDED as `connect` does, VM_DISPOSED when the VM goes, and ABORTED at any time until the body has
   * been read. There is no time limit: `AbortSignal.timeout` makes one.
   */
  fetch(port: number, request: Request | string | URL, init?: RequestInit): Promise<Response>;

  // lifetime
  /** How many processes and shells are running: what keeps an actor from sleeping. */
  readonly activeCount: number;
  /** The level that it has: the one that was asked for. */
  readonly isolation: "namespaces" | "landlock" | "none";
  /** What holds each limit; null where there is none. */
  readonly enforcement: Readonly<
    Record<"memoryBytes" | "cpus" | "pids" | "openFiles" | "diskBytes", Enforcement | null>
  >;
  /** Kills everything inside and frees it all. Idempotent. Pending calls reject with VM_DISPOSED. */
  dispose(): Promise<void>;
  /** `dispose`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * A mechanism of the kernel's: a controller of cgroup version 1 or 2, a resource limit (setrlimit(2); of processes, those of
 * the VM's user in its user namespace), or the size of the file system in memory that private files are in.
 */
export type Enforcement = "cgroup1" | "cgroup2" | "rlimit" | "tmpfs";

// ---------------------------------------------------------------- processes
/** Of `exec` and `execFile`. */
export interface ExecOptions {
  /** Added to the VM's. Its PATH finds the program. */
  env?: Record<string, string>;
  /**
   * An absolute path. Default /home/user. Symbolic links are followed; magic links of `/proc` (`/proc/self/cwd`, `/dev/fd/3`) are
   * refused with ELOOP, and what `/proc` shows of init (`/proc/self` is init here) with EACCES.
   */
  cwd?: string;
  /** Default: empty, at end of file. */
  stdin?: string | Uint8Array;
  /** Milliseconds; then everything the command started is killed (SIGKILL, exit code 137). The result says so and keeps what was printed. */
  timeout?: number;
  /** Aborts likewise; the call rejects with ABORTED. */
  signal?: AbortSignal;
  /** Called with each chunk as it comes, before the call resolves. What it throws is an uncaught exception. */
  onStdout?: (data: Uint8Array) => void;
  /** Likewise, for standard error. */
  onStderr?: (data: Uint8Array) => void;
  /** Kept per stream. Default 16 MiB. The rest is read and dropped, and the result says so. */
  maxOutputBytes?: number;
}
/** How a command ended, and what it printed. */
export interface ExecResult extends ExitStatus {
  /** As UTF-8; what is none of it is U+FFFD. `onStdout` has the bytes. */
  stdout: string;
  /** Likewise, of standard error. */
  stderr: string;
  /** Whether there was more than `maxOutputBytes`. */
  stdoutTruncated: boolean;
  /** Likewise, of standard error. */
  stderrTruncated: boolean;
  /** Whether `timeout` ended it. */
  timedOut: boolean;
  /**
   * What the command left running in the background. exec returns when the command ends, not when these do. Their later output
   * is read and dropped while any of them lives.
   */
  background: {
    /** Inside; `killProcess` takes it. */
    pid: number;
    /** As `allProcesses` has it: the program, without its directory: "sleep". */
    command: string;
    /** As `allProcesses` has it: its arguments, at most 4 KiB of them, fewer where many processes are left. */
    args: string[];
  }[];
}
/** As for exec; `stdin` is written first and the pipe stays open, and an aborted process ends with reason "signal". */
export interface SpawnOptions extends Omit<ExecOptions, "maxOutputBytes"> {}
/** A process as `spawn` was asked for it. */
export interface SpawnedProcessInfo {
  /** Inside, as `echo $$` tells it. */
  pid: number;
  /** As `spawn` was given it. */
  command: string;
  /** Likewise. */
  args: string[];
  /** False from the exit event on. */
  running: boolean;
  /** Null while it runs. */
  exitCode: number | null;
}
/** A process as the kernel tells of it. */
export interface ProcessInfo {
  /** Inside, as `ps` there tells it. */
  pid: number;
  /** 0 for processes that have no parent in the VM. The VM's own init is not listed: a fresh VM has no processes. */
  ppid: number;
  /** Its process group. */
  pgid: number;
  /** Its session. */
  sid: number;
  /** The runtime that the process runs on. */
  driver: "node" | "python" | "native" | string;
  /** As it was started, without its folder: "node". The process may have made up another, and arguments. */
  command: string;
  /** At most 128 KiB of them, and about 4 MiB of all processes'; what is more is cut off. None of a zombie. */
  args: string[];
  /** "" where it cannot be read. */
  cwd: string;
  /** "exited": a zombie, whose parent has not waited for it. */
  status: "running" | "stopped" | "exited";
  /** Null unless it has exited. */
  exitCode: number | null;
  /** Milliseconds since the Unix epoch; the same at every look. */
  startTime: number;
  /** Of a zombie: when it last ran, by the scheduler's clock, where the kernel tells (`/proc/<pid>/sched`). */
  exitTime: number | null;
  /** Memory that it holds now, what it shares with others included. */
  rssBytes: number;
  /** Processor time so far, user and system. */
  cpuMs: number;
}
/** A process with those it is the parent of. */
export interface ProcessTreeNode extends ProcessInfo {
  /** In the order of `allProcesses`. */
  children: ProcessTreeNode[];
}

// ---------------------------------------------------------------- shells
/** What a shell is to be. All of it is optional. */
export interface OpenShellOptions {
  /** Default: bash where the VM has it, else sh; interactive. */
  command?: string;
  /** Of `command`; none by default. */
  args?: string[];
  /** Added to the VM's. TERM is `xterm-256color` unless this or the VM's `env` says otherwise. */
  env?: Record<string, string>;
  /**
   * An absolute path. Default /home/user. Symbolic links are followed; magic links of `/proc` (`/proc/self/cwd`, `/dev/fd/3`) are
   * refused with ELOOP, and what `/proc` shows of init (`/proc/self` is init here) with EACCES.
   */
  cwd?: string;
  /** From 1 to 65,535. Default 80. */
  cols?: number;
  /** From 1 to 65,535. Default 24. */
  rows?: number;
}

/** What stat(2) tells, as Node's `fs.Stats` has it. */
export interface VmStat {
  /** Type and permissions: `mode & 0o777`. */
  mode: number;
  /** Bytes. */
  size: number;
  /** Of 512 bytes each. */
  blocks: number;
  /** The number of the file system that it is on. */
  dev: number;
  /** Of a device: which one. */
  rdev: number;
  /** Its number on that file system. */
  ino: number;
  /** How many names it has. */
  nlink: number;
  /** Its owner, inside: 1000 is `user`, 65,534 whoever has no number there. */
  uid: number;
  /** Its group, likewise. */
  gid: number;
  /** Whether it is a folder. */
  isDirectory: boolean;
  /** False: links are followed. */
  isSymbolicLink: boolean;
  /** When it was last read: milliseconds since the Unix epoch, with fractions. */
  atimeMs: number;
  /** When its content last changed. */
  mtimeMs: number;
  /** When its content or its attributes last changed. */
  ctimeMs: number;
  /** When it was made, or else, where the file system does not keep that, `ctimeMs`. */
  birthtimeMs: number;
}

// ---------------------------------------------------------------- diagnostics
/**
 * What is published on `node:diagnostics_channel` when something has ended, for traces and metrics: on `agent-vm:boot` when
 * `create` has settled, on `agent-vm:exec` when `exec` or `execFile` has, on `agent-vm:spawn` when a spawned process has
 * exited or could not be started. Only what began with a subscriber there is told.
 */
export interface AgentVmDiagnostic extends Partial<ExitStatus> {
  /** Milliseconds since the Unix epoch. */
  startTime: number;
  /** From the call to the end, in milliseconds, with fractions. */
  durationMs: number;
  /** Absent where a boot failed. */
  vm?: AgentVm;
  /** exec and spawn: what was run. `exec(command)` is `/bin/sh -c command`. */
  file?: string;
  /** Likewise, without the program's own name. */
  args?: string[];
  /** Of a spawned process that has exited. */
  pid?: number;
  /** What the call rejected with. */
  error?: unknown;
}

// ---------------------------------------------------------------- agent-vm/rivetkit (server) and agent-vm/client
// agentOs({ options, onBeforeConnect?, sleepTimeout?, … }): an actor definition for rivetkit's setup({ use: { vm } }).
//   `options` are AgentVmOptions (plus `persist`); rivetkit's own actor options stand beside it.
//   Actions: every method above that takes and returns plain values, by the same name, but not dispose; `delete` is also
//   `deleteFile`; vmFetch(port, url, { method, headers, body }) resolves to { status, statusText,
//   headers: Record<string, string>, body: Uint8Array }.
//   Events: processOutput, processExit, shellData, shellExit, networkDenied, vmBooted {}, vmShutdown { reason }.
//   The actor boots its VM once, on first use; stays awake while anything runs; and sleeps when the last process and shell
//   are gone, however they ended.
//   Everything works at any size under setup()'s default message limits: events go out in chunks of at most 32 KiB, and our
//   client carries larger arguments and results in pieces. rivetkit's plain client gets a rejection for a call that is too
//   large, naming maxIncomingMessageSize or maxOutgoingMessageSize.
// createClient<typeof registry>(endpoint): rivetkit's client, whose actor handles also have `on`, `once`, `off` and `dispose`,
//   so that the documented snippets run as printed. A handle connects on its first call or subscription. A connection
//   without subscriptions or pending calls closes after a second, so that the actor can sleep; a subscription keeps it.
//   `handle.dispose()` closes it; the next call opens another. No call holds one action longer than 20 s: waitProcess,
//   waitShell and long execs are started and followed, and survive a lost connection.
//   `signal`, `onStdout` and `onStderr` of exec, execFile and spawn, and `signal` of vmFetch, work through this client. Output
//   comes once and in order, before the call resolves, also after a lost connection; a spawned process's until it ends. A
//   command whose client is 64 MiB of output behind is killed (LIMIT_EXCEEDED); of a spawned process the oldest output goes.
//   rivetkit's plain client cannot send these options: INVALID_ARGUMENT names the option that arrives. Its calls end at
//   actionTimeout and with their connection; an actor runs at most 4,096 of them, of which 1,024 over one connection.
