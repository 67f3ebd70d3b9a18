// The public types of both sides: what of AgentVm can be called from afar, and what it tells.
import type {
  AgentVm,
  AgentVmOptions,
  ExecOptions,
  ExecResult,
  ProcessExitEvent,
  ProcessOutputEvent,
  ShellDataEvent,
  ShellExitEvent,
  SpawnOptions,
} from "agent-vm";

/** ExecOptions without what cannot travel: callbacks and signals. */
export type RemoteExecOptions = Omit<ExecOptions, "signal" | "onStdout" | "onStderr">;
/** SpawnOptions without what cannot travel: output comes as `processOutput` events. */
export type RemoteSpawnOptions = Omit<SpawnOptions, "signal" | "onStdout" | "onStderr">;

/** What `vmFetch` sends. */
export interface VmFetchInit {
  method?: string;
  headers?: Record<string, string>;
  body?: string | Uint8Array;
}

/** What the server inside answered, whole. */
export interface VmFetchResult {
  status: number;
  statusText: string;
  headers: Record<string, string>;
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
  /** As `AgentVm.exec`; callbacks and signals do not travel. */
  exec(command: string, options?: RemoteExecOptions): Promise<ExecResult>;
  /** As `AgentVm.execFile`, likewise. */
  execFile(file: string, args?: string[], options?: RemoteExecOptions): Promise<ExecResult>;
  /** As `AgentVm.spawn`, likewise: its output comes by the actor's `processOutput`. */
  spawn(command: string, args?: string[], options?: RemoteSpawnOptions): Promise<{ pid: number }>;
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
  processExit: ProcessExitEvent;
  shellData: ShellDataEvent;
  shellExit: ShellExitEvent;
  /** The network option refused a connection from inside. */
  networkDenied: { host: string; port: number; reason: string };
  vmBooted: Record<string, never>;
  /**
   * "error": the VM died, or the connection to it was lost before anybody said more. The next call boots another. An actor
   * that sleeps because it is idle has nobody connected who could hear it.
   */
  vmShutdown: { reason: "sleep" | "destroy" | "error" };
}

/** AgentVmOptions, and what an actor's VM may keep. */
export interface AgentOsOptions extends AgentVmOptions {
  /**
   * Keeps /home/user while the actor sleeps, in a folder per actor under `directory` (an absolute path; made where it is
   * missing), until the actor is destroyed. For actors that move between servers, a directory that all the servers share.
   */
  persist?: { directory: string };
}
