// How each call is carried out by the actor's machine. Calls about a process or shell do not boot a VM, which could not
// have it.
import { types } from "node:util";
import { AgentVm, type ExecOptions, type ExitStatus, type ReadFileResult, type VmStats } from "agent-vm";
import type { Claim } from "./budget.mjs";
import {
  bare,
  counted,
  readCounted,
  readFilesCounted,
  refuseUnsent,
  responseCounted,
  screenCounted,
  spawnCounted,
} from "./counted.mjs";
import { failure } from "./errors.mjs";
import { handedOut } from "./handle-methods.mjs";
import type { Live } from "./live.mjs";
import type { Machine } from "./machine.mjs";
import type {
  RemoteCalls,
  RemoteContextExecOptions,
  RemoteExecOptions,
  VmFetchInit,
  VmFetchResult,
} from "./remote.mjs";

/** What a wait for output holds beside its pattern: places in a queue. */
const WAIT_BYTES = 64 * 1024;
/** What it holds for each character of its pattern: the code point, its place in the table, and where it began in either stream. */
const BYTES_OF_CHARACTER = 22;
/** A longer pattern is refused. */
const MOST_PATTERN = 16_384;

/** The statistics of an actor without a VM. */
function nothing(): VmStats {
  const ports = { sentBytes: 0, receivedBytes: 0 };
  const peaks = { peakProcesses: 0, peakMemoryBytes: 0 };
  return { processes: 0, cpuMs: 0, memoryBytes: 0, ...peaks, bytesIn: 0, bytesOut: 0, ports };
}

/** What a call is run with. */
export interface Use {
  readonly machine: Machine;
  /** Counts the memory for what the call reads. */
  readonly claim: Claim;
  /** Aborts when nobody waits for the call any longer. */
  readonly signal?: AbortSignal | undefined;
  /** The signal and output that the client follows while the call runs. */
  readonly live?: Live | undefined;
  /** Whether the client is ours, which makes handles of what spawn and openShell return. */
  readonly handles?: boolean;
  /** The same object for all calls of one client. */
  readonly client?: object;
}

export type Methods = {
  [K in keyof RemoteCalls]: (use: Use, ...args: Parameters<RemoteCalls[K]>) => ReturnType<RemoteCalls[K]>;
};

export const methods: Methods = {
  exec: async (use, command, options) => {
    const contextId = contextOf(options);
    const vm = contextId === undefined ? await use.machine.boot() : await withContext(use.machine, contextId);
    return counted(use.claim, own(use), options, (each) => vm.exec(command, each));
  },
  execFile: async (use, file, args, options) => {
    const vm = await use.machine.boot();
    return counted(use.claim, own(use), options, (each) =>
      // They are those of execFile, which the client was given.
      vm.execFile(file, args, each as ExecOptions | undefined),
    );
  },

  createContext: async ({ machine }, ...args) => (await machine.boot()).createContext(...args),
  getContext: async (use, contextId) =>
    listing(use, async () => (await withContext(use.machine, contextId)).getContext(contextId)),
  listContexts: async ({ machine }) => (await machine.running())?.listContexts() ?? [],
  resetContext: async ({ machine }, contextId) => (await withContext(machine, contextId)).resetContext(contextId),
  deleteContext: async ({ machine }, contextId) => (await withContext(machine, contextId)).deleteContext(contextId),

  spawn: async (use, ...args) => {
    const { machine, claim } = use;
    const { live, handles } = own(use);
    const vm = await machine.boot();
    const process = await spawnCounted(vm, claim, live, args, (started) => {
      machine.started(started);
      live?.outlive(machine.waitProcess(vm, started.pid));
    });
    return handles ? handedOut(use, machine.processNamed(vm, process), process, live) : { pid: process.pid };
  },
  writeProcessStdin: async ({ machine }, pid, data) => (await withProcess(machine, pid)).writeProcessStdin(pid, data),
  closeProcessStdin: async ({ machine }, pid) => (await withProcess(machine, pid)).closeProcessStdin(pid),
  waitProcess: async (use, pid) => (await processExit(use, pid)).exitCode,
  waitProcessExit: (use, pid) => processExit(use, pid),
  listProcesses: async ({ machine }) => (await machine.running())?.listProcesses() ?? [],
  getProcess: async ({ machine }, pid) => (await withProcess(machine, pid)).getProcess(pid),
  stopProcess: async ({ machine }, pid) => (await withProcess(machine, pid)).stopProcess(pid),
  killProcess: async ({ machine }, pid) => (await withProcess(machine, pid)).killProcess(pid),
  signalProcess: async ({ machine }, pid, signal) => (await withProcess(machine, pid)).signalProcess(pid, signal),
  readProcessOutput: (use, pid, options) =>
    listing(use, async () => (await withProcess(use.machine, pid)).readProcessOutput(pid, options)),
  pauseProcessOutput: async ({ machine }, pid, stream) =>
    (await withProcess(machine, pid)).pauseProcessOutput(pid, stream),
  resumeProcessOutput: async ({ machine }, pid, stream) =>
    (await withProcess(machine, pid)).resumeProcessOutput(pid, stream),
  closeProcessOutput: async ({ machine }, pid, stream) =>
    (await withProcess(machine, pid)).closeProcessOutput(pid, stream),
  pause: async ({ machine }) => (await machine.boot()).pause(),
  resume: async ({ machine }) => (await machine.running())?.resume(),
  allProcesses: (use) => listing(use, async () => (await use.machine.running())?.allProcesses() ?? []),
  processTree: (use) => listing(use, async () => (await use.machine.running())?.processTree() ?? []),
  stats: async ({ machine }) => (await machine.running())?.stats() ?? nothing(),

  openShell: async (use, ...args) => {
    const { machine } = use;
    const vm = await machine.boot();
    const shell = await vm.openShell(...args);
    const { shellId } = shell;
    machine.started({ shellId });
    return own(use).handles ? handedOut(use, machine.shellNamed(vm, shell), shell) : { shellId };
  },
  writeShell: async ({ machine }, shellId, data) => (await withShell(machine, shellId)).writeShell(shellId, data),
  resizeShell: async ({ machine }, shellId, cols, rows) =>
    (await withShell(machine, shellId)).resizeShell(shellId, cols, rows),
  closeShell: async ({ machine }, shellId) => (await withShell(machine, shellId)).closeShell(shellId),
  waitShell: async (use, shellId) => (await shellExit(use, shellId)).exitCode,
  waitShellExit: (use, shellId) => shellExit(use, shellId),
  listShells: async ({ machine }) => (await machine.running())?.listShells() ?? [],
  readShell: (use, shellId, options) =>
    listing(use, async () => (await withShell(use.machine, shellId)).readShell(shellId, options)),
  // Not in turn with listings, whose places a wait would hold: the VM reads one screen at a time.
  readScreen: async (use, shellId, options) => {
    const vm = await withShell(use.machine, shellId);
    const screen = await inVm(use, vm, () => vm.readScreen(shellId, withSignal(use, options)));
    return screenCounted(use.claim, screen);
  },
  waitForScreen: async (use, shellId, pattern, options) => {
    const vm = await withShell(use.machine, shellId);
    refuseExpression(pattern);
    const screen = await inVm(use, vm, () => vm.waitForScreen(shellId, pattern, withSignal(use, options)));
    return screenCounted(use.claim, screen);
  },

  // The types are those of the results without an encoding, which RemoteVariants adds.
  readFile: async ({ machine, claim }, ...args) =>
    readCounted(await machine.boot(), claim, args) as Promise<Uint8Array>,
  writeFile: async ({ machine }, ...args) => (await machine.boot()).writeFile(...args),
  appendFile: async ({ machine }, ...args) => (await machine.boot()).appendFile(...args),
  readFiles: async ({ machine, claim }, ...args) =>
    readFilesCounted(await machine.boot(), claim, args) as Promise<ReadFileResult[]>,
  writeFiles: async ({ machine }, ...args) => (await machine.boot()).writeFiles(...args),
  truncate: async ({ machine }, ...args) => (await machine.boot()).truncate(...args),
  chmod: async ({ machine }, ...args) => (await machine.boot()).chmod(...args),
  utimes: async ({ machine }, ...args) => (await machine.boot()).utimes(...args),
  symlink: async ({ machine }, ...args) => (await machine.boot()).symlink(...args),
  readlink: async ({ machine }, ...args) => (await machine.boot()).readlink(...args),
  realpath: async ({ machine }, ...args) => (await machine.boot()).realpath(...args),
  mkdtemp: async ({ machine }, ...args) => (await machine.boot()).mkdtemp(...args),
  mkdir: async ({ machine }, ...args) => (await machine.boot()).mkdir(...args),
  readdir: (use, ...args) => listing(use, async () => (await use.machine.boot()).readdir(...args)),
  readdirRecursive: (use, ...args) => listing(use, async () => (await use.machine.boot()).readdirRecursive(...args)),
  readdirEntries: (use, ...args) => listing(use, async () => (await use.machine.boot()).readdirEntries(...args)),
  stat: async ({ machine }, ...args) => (await machine.boot()).stat(...args),
  lstat: async ({ machine }, ...args) => (await machine.boot()).lstat(...args),
  exists: async ({ machine }, ...args) => (await machine.boot()).exists(...args),
  copy: async ({ machine }, ...args) => (await machine.boot()).copy(...args),
  move: async ({ machine }, ...args) => (await machine.boot()).move(...args),
  delete: async ({ machine }, ...args) => (await machine.boot()).delete(...args),
  deleteFile: async ({ machine }, ...args) => (await machine.boot()).delete(...args),

  listPorts: async ({ machine }) => (await machine.running())?.listPorts() ?? [],
  waitForPort: async (use, port, options) =>
    inVm(use, await use.machine.boot(), (vm) => vm.waitForPort(port, withSignal(use, options))),
  waitForIdle: async (use, shellId, options) =>
    inVm(use, await withShell(use.machine, shellId), (vm) => vm.waitForIdle(shellId, withSignal(use, options))),
  waitForOutput: async (use, id, pattern, options) => {
    const { machine } = use;
    const vm = typeof id === "string" ? await withShell(machine, id) : await withProcess(machine, id);
    refuseExpression(pattern);
    const held = use.claim.part();
    held.set(WAIT_BYTES + BYTES_OF_CHARACTER * Math.min(pattern.length, MOST_PATTERN));
    try {
      return await inVm(use, vm, () => vm.waitForOutput(id, pattern, withSignal(use, options)));
    } finally {
      held.release();
    }
  },

  vmFetch: async (use, port, url, init) =>
    vmFetch(await use.machine.boot(), use.claim, own(use).signal, port, url, init),
};

/** How many arguments a call has; no method here may ignore a further one. */
export function argumentsOf(method: keyof Methods): number {
  if (method === "vmFetch") return 3;
  return AgentVm.prototype[method === "deleteFile" ? "delete" : method].length;
}

/** Reads own members only: members that other code in the server added to Object.prototype do not count. */
function own(use: Use): { signal: AbortSignal | undefined; live: Live | undefined; handles: boolean | undefined } {
  const { signal, live, handles } = bare(use);
  return { signal, live, handles };
}

/** An expression of a client could keep the server busy for as long as the client likes. */
function refuseExpression(pattern: unknown): void {
  if (typeof pattern !== "string") {
    throw failure("INVALID_ARGUMENT", "pattern must be a string; createClient of agent-vm/client takes a RegExp too");
  }
}

/** The options of a wait, with the signal of its client. */
function withSignal<T extends { signal?: AbortSignal }>(use: Use, options: T | undefined): T | undefined {
  refuseUnsent("options", options);
  const { signal } = own(use);
  // The VM refuses anything that is not an object.
  if (!signal || (options !== undefined && (typeof options !== "object" || options === null || Array.isArray(options))))
    return options;
  return Object.assign(bare(options ?? {}), { signal }) as unknown as T;
}

/** Runs a call that waits in the VM. */
function inVm<T>(use: Use, vm: AgentVm, wait: (vm: AgentVm) => Promise<T>): Promise<T> {
  const { machine } = use;
  return machine.waits.run(clientOf(use), () => wait(vm));
}

/** Whom a call's places in the VM count for. */
function clientOf(use: Use): object {
  return bare(use).client ?? use.machine;
}

function listing<T>(use: Use, call: () => Promise<T>): Promise<T> {
  return use.machine.listing(call, own(use).signal);
}

async function withProcess(machine: Machine, pid: number): Promise<AgentVm> {
  const vm = await machine.running();
  if (vm) return vm;
  if (!Number.isInteger(pid) || pid < 1) {
    throw failure("INVALID_ARGUMENT", "pid must be a positive integer");
  }
  throw failure("PROCESS_NOT_FOUND", `Process not found: ${pid}`);
}

async function processExit(use: Use, pid: number): Promise<ExitStatus> {
  return use.machine.waitProcess(await withProcess(use.machine, pid), pid, own(use).signal);
}

async function shellExit(use: Use, shellId: string): Promise<ExitStatus> {
  return use.machine.waitShell(await withShell(use.machine, shellId), shellId, own(use).signal);
}

/** The context that an exec's options name; undefined where there is none, and where the VM is to say what is wrong with them. */
function contextOf(options: RemoteExecOptions | RemoteContextExecOptions | undefined): string | undefined {
  if (typeof options !== "object" || options === null || !Object.hasOwn(options, "contextId")) return undefined;
  return (options as Partial<RemoteContextExecOptions>).contextId;
}

async function withContext(machine: Machine, contextId: string): Promise<AgentVm> {
  const vm = await machine.running();
  if (vm) return vm;
  if (typeof contextId !== "string") throw failure("INVALID_ARGUMENT", "contextId must be a string");
  throw failure("CONTEXT_NOT_FOUND", `Context not found: ${contextId}`);
}

async function withShell(machine: Machine, shellId: string): Promise<AgentVm> {
  const vm = await machine.running();
  if (vm) return vm;
  if (typeof shellId !== "string") throw failure("INVALID_ARGUMENT", "shellId must be a string");
  throw failure("SHELL_NOT_FOUND", `Shell not found: ${shellId}`);
}

async function vmFetch(
  vm: AgentVm,
  claim: Claim,
  signal: AbortSignal | undefined,
  port: number,
  url: string,
  init: VmFetchInit = {},
): Promise<VmFetchResult> {
  if (typeof init !== "object" || init === null) throw failure("INVALID_ARGUMENT", "init must be an object");
  refuseUnsent("init", init);
  const { method, headers, body, signal: _signal, ...unknown } = bare(init);
  const [key] = Object.keys(unknown);
  if (key !== undefined) {
    throw failure(
      "INVALID_ARGUMENT",
      `init has no member ${JSON.stringify(key)}; there are method, headers, body, signal`,
    );
  }
  // A number, or an object with a length, would become an array of that length.
  if (body !== undefined && typeof body !== "string" && !types.isUint8Array(body)) {
    throw failure("INVALID_ARGUMENT", "init.body must be a string or a Uint8Array");
  }
  const response = await vm.fetch(port, url, {
    ...(method === undefined ? {} : { method }),
    ...(headers === undefined ? {} : { headers }),
    // A copy, whose memory is certainly an ArrayBuffer of its own.
    ...(body === undefined ? {} : { body: typeof body === "string" ? body : new Uint8Array(body) }),
    ...(signal === undefined ? {} : { signal }),
  });
  return {
    status: response.status,
    statusText: response.statusText,
    headers: Object.fromEntries(response.headers),
    body: await responseCounted(claim, response),
  };
}
