// The public types of both sides: what of AgentVm can be called from afar, and what it tells.
import type {
  AgentVm,
  AgentVmEvents,
  AgentVmOptions,
  ExecOptions,
  ExecResult,
  ProcessExitEvent,
  ProcessOutputEvent,
  ShellDataEvent,
  ShellExitEvent,
  SpawnOptions,
} from "agent-vm";

/**
 * ExecOptions. `signal`, `onStdout` and `onStderr` stay with the client, which serves them from there: all output comes, once and
 * in order, before the call resolves, also after a lost connection. A command that has printed 64 MiB more than its client
 * has taken is killed: LIMIT_EXCEEDED. rivetkit's own client cannot send them: INVALID_ARGUMENT.
 */
export type RemoteExecOptions = ExecOptions;
/**
 * SpawnOptions. With `signal`, `onStdout` or `onStderr`, the client keeps its connection until the process has ended; `dispose`
 * of the handle ends the callbacks and leaves the process running. The output comes once and in order until the
 * process has ended; what its children write later comes as `processOutput` alone. Of the output that the client has not
 * taken, 64 MiB are kept, and the oldest goes first.
 */
export type RemoteSpawnOptions = SpawnOptions;

/** What `vmFetch` sends. */
export interface VmFetchInit {
  /** Default "GET". */
  method?: string;
  /** By name; default: those that `fetch` sends unasked. */
  headers?: Record<string, string>;
  /** A string is sent as UTF-8; what is neither text nor bytes is INVALID_ARGUMENT. Default: none. */
  body?: string | Uint8Array;
  /** Aborts the request: the call rejects with ABORTED. Default: none. rivetkit's own client cannot send it. */
  signal?: AbortSignal;
}

/** What the server inside answered, whole. */
export interface VmFetchResult {
  /** As 200 or 404: no status is a rejection. */
  status: number;
  /** What the server says beside the status; "" where it says nothing. */
  statusText: string;
  /** By name in lower case; several of one name are joined by ", ", but of set-cookie it is the last. */
  headers: Record<string, string>;
  /** Decoded, where the server compressed it. */
  body: Uint8Array;
}

/** The calls of an AgentVm that take and return plain values, by the same names. */
export interface RemoteCalls extends Pick<
  AgentVm,
  | "writeProcessStdin"
  | "closeProcessStdin"
  | "waitProcess"
  | "listProcesses"
  | "getProcess"
  | "stopProcess"
  | "killProcess"
  | "signalProcess"
  | "readProcessOutput"
  | "allProcesses"
  | "processTree"
  | "openShell"
  | "writeShell"
  | "resizeShell"
  | "closeShell"
  | "waitShell"
  | "listShells"
  | "readShell"
  | "readFile"
  | "writeFile"
  | "readFiles"
  | "writeFiles"
  | "mkdir"
  | "readdir"
  | "readdirRecursive"
  | "stat"
  | "exists"
  | "move"
  | "delete"
> {
  /** As `AgentVm.exec`. */
  exec(command: string, options?: RemoteExecOptions): Promise<ExecResult>;
  /** As `AgentVm.execFile`. */
  execFile(file: string, args?: string[], options?: RemoteExecOptions): Promise<ExecResult>;
  /** As `AgentVm.spawn`: its output comes by the actor's `processOutput`, too; `stdin` is at most 64 MiB. */
  spawn(command: string, args?: string[], options?: RemoteSpawnOptions): ReturnType<AgentVm["spawn"]>;
  /** `delete` by the name that agentOS gives it. */
  deleteFile: AgentVm["delete"];
  /** A request to a port that something inside listens on. The body is at most 256 MiB. */
  vmFetch(port: number, url: string, init?: VmFetchInit): Promise<VmFetchResult>;
}

/** The actor's actions. rivetkit's client types take the first parameter, the actor's context, away. */
export type AgentOsActions = {
  [K in keyof RemoteCalls]: (c: unknown, ...args: Parameters<RemoteCalls[K]>) => ReturnType<RemoteCalls[K]>;
};

/** What the actor sends to those who listen. */
export interface AgentOsEvents {
  /** At most 32 KiB of output at once. */
  processOutput: ProcessOutputEvent;
  /** A spawned process has ended. Follows all that it wrote itself. */
  processExit: ProcessExitEvent;
  /** At most 32 KiB of what a terminal has shown at once. */
  shellData: ShellDataEvent;
  /** A shell has ended. Follows all that it wrote itself, unless `closeShell` hung up on it. */
  shellExit: ShellExitEvent;
  /** The network option refused a connection from inside. */
  networkDenied: AgentVmEvents["networkDenied"][0];
  /** The actor has a VM, made for its first call. */
  vmBooted: Record<string, never>;
  /**
   * The actor's VM is gone; the next call boots another. An actor that sleeps because it is idle has nobody connected who
   * could hear it.
   */
  vmShutdown: {
    /** "error": the VM died, or the connection to it was lost before anybody said more. */
    reason: "sleep" | "destroy" | "error";
  };
}

/** AgentVmOptions, and what an actor's VM may keep. */
export interface AgentOsOptions extends AgentVmOptions {
  /** Keeps /home/user while the actor sleeps, until the actor is destroyed. Default: the home goes with the VM. */
  persist?: {
    /**
     * Where each actor's home is, a folder by itself: an absolute path; made where it is missing. For actors that move between
     * servers, a directory that all the servers share.
     */
    directory: string;
  };
}
