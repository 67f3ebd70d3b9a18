// The public types of both sides: the calls and events of AgentVm that an actor offers to its clients.
import type {
  AgentVm,
  AgentVmOptions,
  ContextExecBufferOptions,
  ContextExecOptions,
  ExecBufferOptions,
  ExecOptions,
  ExecResult,
  ListeningPort,
  NetworkDeniedEvent,
  OpenShellOptions,
  OpenedShell,
  OutputMatch,
  PortClosedEvent,
  ProcessCloseEvent,
  ProcessDescriptors,
  ProcessExitEvent,
  ProcessOutputEvent,
  ReadFileOptions,
  ReadFileResult,
  ReadFileTextOptions,
  ShellDataEvent,
  ShellExitEvent,
  ShellScreen,
  ShellWaitingEvent,
  SpawnOptions,
  SpawnedProcess,
  WaitForOutputOptions,
  WaitOptions,
  VmProcess,
  VmShell,
} from "agent-vm";

/**
 * ExecOptions. `agent-vm/client` implements `signal`, `onStdout`, `onStderr` and `check` on the client's side: the callbacks get all
 * output, once and in order, before the call resolves, also after a lost connection. A command that has printed 64 MiB more than
 * its client has taken is killed: LIMIT_EXCEEDED. The COMMAND_FAILED of `check` has the result as `metadata.result`. rivetkit's
 * plain client cannot send these four: INVALID_ARGUMENT names the option.
 */
export type RemoteExecOptions = ExecOptions;
/** ExecBufferOptions, in the same way. */
export type RemoteExecBufferOptions = ExecBufferOptions;
/** ContextExecOptions, with `signal`, `onStdout` and `onStderr` as in RemoteExecOptions. */
export type RemoteContextExecOptions = ContextExecOptions;
/** ContextExecBufferOptions, in the same way. */
export type RemoteContextExecBufferOptions = ContextExecBufferOptions;
/**
 * SpawnOptions. With `signal`, `onStdout` or `onStderr`, the client keeps its connection until the process has ended; the
 * handle's `dispose` ends the callbacks and leaves the process running. The callbacks get the output once and in order until the
 * process has ended; what its children write later is emitted as `processOutput` only. The actor keeps 64 MiB of the output that
 * the client has not taken, and drops the oldest first.
 */
export type RemoteSpawnOptions = SpawnOptions;

/** Options of `vmFetch`. */
export interface VmFetchInit {
  /** Default "GET". */
  method?: string;
  /** By name. Default: those that `fetch` adds by itself. */
  headers?: Record<string, string>;
  /** A string is sent as UTF-8; anything but a string or bytes is INVALID_ARGUMENT. Default: none. */
  body?: string | Uint8Array;
  /** An abort ends the request, and the call rejects with ABORTED. Default: none. rivetkit's plain client cannot send it. */
  signal?: AbortSignal;
}

/** The whole response of the server inside. */
export interface VmFetchResult {
  /** Such as 200 or 404; no status makes the call reject. */
  status: number;
  /** The text after the status; "" if there is none. */
  statusText: string;
  /** By name in lower case. Several of one name are joined by ", "; of set-cookie it is the last one. */
  headers: Record<string, string>;
  /** The body, decoded if the server compressed it. */
  body: Uint8Array;
}

/**
 * The calls of an AgentVm whose arguments and results can be sent, by the same names. No call holds one action longer than 20 s
 * with `agent-vm/client`: the wait calls and long execs are started and then followed, and survive a lost connection.
 */
export interface RemoteCalls extends Pick<
  AgentVm,
  | "createContext"
  | "getContext"
  | "listContexts"
  | "resetContext"
  | "deleteContext"
  | "writeProcessStdin"
  | "closeProcessStdin"
  | "waitProcess"
  | "waitProcessExit"
  | "listProcesses"
  | "getProcess"
  | "stopProcess"
  | "killProcess"
  | "signalProcess"
  | "readProcessOutput"
  | "pauseProcessOutput"
  | "resumeProcessOutput"
  | "closeProcessOutput"
  | "pause"
  | "resume"
  | "allProcesses"
  | "processTree"
  | "stats"
  | "writeShell"
  | "resizeShell"
  | "closeShell"
  | "waitShell"
  | "waitShellExit"
  | "listShells"
  | "readShell"
  | "readScreen"
  | "listPorts"
  | "writeFile"
  | "appendFile"
  | "writeFiles"
  | "truncate"
  | "chmod"
  | "utimes"
  | "symlink"
  | "readlink"
  | "realpath"
  | "mkdir"
  | "mkdtemp"
  | "readdir"
  | "readdirEntries"
  | "readdirRecursive"
  | "stat"
  | "lstat"
  | "exists"
  | "copy"
  | "move"
  | "delete"
> {
  /** As `AgentVm.exec`. */
  exec(command: string, options?: RemoteExecOptions | RemoteContextExecOptions): Promise<ExecResult>;
  /** As `AgentVm.execFile`. */
  execFile(file: string, args?: string[], options?: RemoteExecOptions): Promise<ExecResult>;
  /**
   * As `AgentVm.spawn`; the actor's `processOutput` events bring the output too. `stdin` is at most 64 MiB. With `agent-vm/client`
   * it resolves to a handle, see `RemoteVariants`.
   */
  spawn(command: string, args?: string[], options?: RemoteSpawnOptions): Promise<SpawnedProcess>;
  /** As `AgentVm.openShell`. With `agent-vm/client` it resolves to a handle. */
  openShell(options?: OpenShellOptions): Promise<OpenedShell>;
  /**
   * As `AgentVm.waitForPort`. The wait keeps the actor awake, and ends when its client is gone. rivetkit's plain client cannot send
   * `signal`.
   */
  waitForPort: AgentVm["waitForPort"];
  /** As `AgentVm.readFile`, for at most 256 MiB at a time. */
  readFile(path: string, options?: ReadFileOptions & object): Promise<Uint8Array>;
  /** As `AgentVm.readFiles`, in the same way. */
  readFiles(paths: string[], options?: ReadFileOptions & object): Promise<ReadFileResult[]>;
  /** As `AgentVm.waitForIdle`, with `signal` and an end as `waitForPort`. */
  waitForIdle: AgentVm["waitForIdle"];
  /**
   * As `AgentVm.waitForOutput`, for a text. `agent-vm/client` also takes a regular expression, see `RemoteVariants`. The wait keeps the
   * actor awake, and ends when its client is gone.
   */
  waitForOutput(id: number | string, pattern: string, options?: WaitForOutputOptions): Promise<OutputMatch>;
  /** As `AgentVm.waitForScreen`, for a text, in the same way. */
  waitForScreen(shellId: string, pattern: string, options?: WaitOptions): Promise<ShellScreen>;
  /** `delete`, under its name in agentOS. */
  deleteFile: AgentVm["delete"];
  /** Sends an HTTP request to a port inside, as `AgentVm.fetch`. The response's body is at most 256 MiB. */
  vmFetch(port: number, url: string, init?: VmFetchInit): Promise<VmFetchResult>;
}

/**
 * Calls whose result has another type with `agent-vm/client`: by an option, or because the client makes a handle of it. rivetkit's
 * types know one type of each action, the one in `RemoteCalls`.
 *
 * The handles are those of an `AgentVm`, over the actor. Each belongs to the VM that ran when it was made: when that has ended, its
 * calls reject with VM_DISPOSED. Their errors are rivetkit's, with `code`. In addition to what `VmProcess` says:
 * - `exited` also rejects: if the actor cannot be reached for a minute, or the actor's handle is disposed.
 * - A stream that is read keeps the connection, and the actor awake, until it ends or is destroyed. Over a lost connection it
 *   continues where it was. It fails with VM_DISPOSED when the VM ends before the stream.
 * - The actor holds 384 KiB of each such stream, in addition to what the client holds, and pauses the process when that is full.
 * - When another process has the pid, calls of the older handle reject with PROCESS_NOT_FOUND.
 * - In a browser there is no `stdin`, `stdout`, `stderr` and `stream`: they need Node.js. The other members are there.
 */
export interface RemoteVariants {
  /** As `AgentVm.spawn`. */
  spawn<const D extends ProcessDescriptors = ProcessDescriptors>(
    command: string,
    args?: string[],
    options?: SpawnOptions<D>,
  ): Promise<VmProcess<D>>;
  /** As `AgentVm.openShell`. */
  openShell(options?: OpenShellOptions): Promise<VmShell>;
  /** As `AgentVm.getHandle`. rivetkit's plain client has no such call. */
  getHandle(pid: number): Promise<VmProcess>;
  /** As `AgentVm.getHandle`. */
  getHandle(shellId: string): Promise<VmShell>;
  /**
   * As `AgentVm.waitForOutput`. The client itself matches a regular expression, against the events of the output and what is kept of
   * it, so none runs in the server. For a shell the wait then ends with `shellExit`. The wait also rejects if the actor cannot be
   * reached for a minute, or the actor's handle is disposed.
   */
  waitForOutput(id: number | string, pattern: string | RegExp, options?: WaitForOutputOptions): Promise<OutputMatch>;
  /** As `AgentVm.waitForScreen`. The client itself matches a regular expression, on the screens that it reads. */
  waitForScreen(shellId: string, pattern: string | RegExp, options?: WaitOptions): Promise<ShellScreen>;
  /** As `AgentVm.exec`, with bytes. */
  exec(command: string, options: RemoteExecBufferOptions): Promise<ExecResult<Uint8Array>>;
  /** As `AgentVm.execFile`, with bytes. */
  execFile(file: string, args: string[] | undefined, options: RemoteExecBufferOptions): Promise<ExecResult<Uint8Array>>;
  /** As `AgentVm.readFile`, with text. */
  readFile(path: string, options: BufferEncoding | ReadFileTextOptions): Promise<string>;
  /** As `AgentVm.readFiles`, with text. */
  readFiles(paths: string[], options: BufferEncoding | ReadFileTextOptions): Promise<ReadFileResult<string>[]>;
}

/** The actor's actions. rivetkit's client types remove the first parameter, the actor's context. */
export type AgentOsActions = {
  [K in keyof RemoteCalls]: (c: unknown, ...args: Parameters<RemoteCalls[K]>) => ReturnType<RemoteCalls[K]>;
};

/** The actor's events. */
export interface AgentOsEvents {
  /** A spawned process has written output: at most 32 KiB in one event. */
  processOutput: ProcessOutputEvent;
  /** A spawned process has exited. Emitted after all output that the process itself wrote. */
  processExit: ProcessExitEvent;
  /** The output of a spawned process has ended, its own and that of the processes that it left behind. */
  processClose: ProcessCloseEvent;
  /** A shell's terminal has shown output: at most 32 KiB in one event. */
  shellData: ShellDataEvent;
  /** A shell has exited. Emitted after all output that the shell itself wrote, unless `closeShell` ended it. */
  shellExit: ShellExitEvent;
  /** The proxy refused a connection from inside. */
  networkDenied: NetworkDeniedEvent;
  /**
   * As the events of `AgentVm`, from the first subscription of a client until its connection closes. Ports that were open before are
   * reported when the first client subscribes; `listPorts` has them for the others.
   */
  portOpened: ListeningPort;
  /** As the event of `AgentVm`. */
  portClosed: PortClosedEvent;
  /** As the event of `AgentVm`, also for shells that waited before the first client subscribed. It ends as `portOpened` does. */
  shellWaiting: ShellWaitingEvent;
  /** The actor's VM has booted, for the first call. */
  vmBooted: Record<string, never>;
  /**
   * The actor's VM has ended; the next call boots another one. When an idle actor falls asleep, no client is connected that
   * could get this event.
   */
  vmShutdown: {
    /** "error": the VM died, or its connection was lost for another reason. */
    reason: "sleep" | "destroy" | "error";
  };
}

/** AgentVmOptions, and what an actor keeps while it sleeps. */
export interface AgentOsOptions extends AgentVmOptions {
  /** Keeps /home/user while the actor sleeps, until the actor is destroyed. Default: the home ends with the VM. */
  persist?: {
    /**
     * The directory that contains a directory for each actor's home: an absolute path, created if missing. Actors that move between
     * servers need one that all the servers share.
     */
    directory: string;
  };
}
