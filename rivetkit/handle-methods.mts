// The calls of a client's handles, which the public calls about a pid or a shell's id lack: they name the process or shell
// itself, not what has its id now. Only our client makes them.
import { types } from "node:util";
import type {
  ExitStatus,
  ShellScreen,
  TransferTotals,
  WatchEvent,
  VmProcess as ProcessHandle,
  VmShell as ShellHandle,
} from "agent-vm";
import type { ArchiveHow } from "#archives";
import type { FileBackend, OpenedFile, WriteHow } from "#file-streams";
import {
  type InputCalls,
  type LocalOutput,
  type LocalProcess,
  type LocalShell,
  type StreamName,
  VmProcess,
  VmShell,
} from "#handles";
import { bare, refuseUnsent, screenCounted } from "./counted.mjs";
import { failure } from "./errors.mjs";
import type { Live } from "./live.mjs";
import type { Machine } from "./machine.mjs";
import type { Use } from "./methods.mjs";
import type { HandleOf } from "./wire.mjs";

/** Of pipes beside the standard streams. */
const NUMBERS = [3, 4, 5, 6, 7, 8, 9];

type HandleMethod = (use: Use, ...args: never[]) => Promise<unknown>;

export const handleMethods = {
  getHandle: async (use: Use, id: unknown): Promise<HandleOf> => {
    const vm = await use.machine.running();
    if (typeof id === "string") {
      if (!vm) throw shellNotFound(id);
      return use.machine.shellNamed(vm, await vm.getHandle(id));
    }
    if (!vm && Number.isInteger(id) && (id as number) > 0) throw processNotFound(id as number);
    // The VM says what is wrong with the id.
    const checked = vm ?? (await use.machine.boot());
    return use.machine.processNamed(checked, await checked.getHandle(id as number));
  },
  handleOutput: async (use: Use, of: HandleOf): Promise<LocalOutput> => {
    const target = bare(of);
    const output =
      "pid" in target ? outputOf(await processOf(use, target), target.fd) : (await shellOf(use, target)).output;
    return use.machine.early.of(keyOf(target), output);
  },
  handleReady: async (use: Use, of: HandleOf): Promise<void> => {
    const target = bare(of);
    for (const fd of [undefined, ...NUMBERS]) use.machine.early.end(keyOf({ ...target, fd } as HandleOf));
  },
  handleWrite: async (use: Use, of: HandleOf, data: unknown): Promise<void> => {
    const target = bare(of);
    const vm = await use.machine.running();
    if ("pid" in target && target.fd !== undefined) {
      if (!types.isUint8Array(data)) throw failure("INVALID_ARGUMENT", "data must be a Uint8Array");
      await inputOf(await processOf(use, target), target.fd).write(data);
    } else if ("pid" in target) {
      await processOf(use, target);
      // The check of the token is followed by the call at once, so no other process has the pid.
      await vm?.writeProcessStdin(target.pid, data as Uint8Array);
    } else {
      await shellOf(use, target);
      await vm?.writeShell(target.shellId, data as Uint8Array);
    }
  },
  handleEnd: async (use: Use, of: HandleOf): Promise<void> => {
    const target = bare(of);
    const process = await processOf(use, target);
    await inputOf(process, "pid" in target ? target.fd : undefined).close();
  },
  handleKill: async (use: Use, of: HandleOf): Promise<void> => (await processOf(use, bare(of))).killAll(),
  handleSignal: async (use: Use, of: HandleOf, signal: unknown): Promise<void> =>
    (await processOf(use, bare(of))).signal(signal),
  handleResize: async (use: Use, of: HandleOf, cols: unknown, rows: unknown): Promise<void> =>
    (await shellOf(use, bare(of))).resize(cols, rows),
  handleReadScreen: async (use: Use, of: HandleOf, options: unknown): Promise<ShellScreen> => {
    const { machine, client = machine, signal } = bare(use);
    const shell = await shellOf(use, bare(of));
    refuseUnsent("options", options);
    // The VM refuses anything that is not an object.
    const isObject = typeof options === "object" && options !== null && !Array.isArray(options);
    const given = signal && (options === undefined || isObject) ? Object.assign(bare(options), { signal }) : options;
    const screen = await machine.waits.run(client, () => shell.readScreen(given));
    return screenCounted(use.claim, screen);
  },
  handleClose: async (use: Use, of: HandleOf): Promise<void> => (await shellOf(use, bare(of))).close(),
  handleWait: async (use: Use, of: HandleOf): Promise<ExitStatus> => {
    const target = bare(of);
    const named = "pid" in target ? await processOf(use, target) : await shellOf(use, target);
    return use.machine.waitHandle(named, bare(use).signal);
  },
  fileOpenToRead: (use: Use, path: unknown): Promise<string> =>
    opened(use, (files) => files.openToRead(filePath(path))),
  fileOpenToWrite: (use: Use, path: unknown, how: unknown): Promise<string> =>
    opened(use, (files) => files.openToWrite(filePath(path), writeHow(how))),
  fileRead: async (
    { machine, claim }: Use,
    token: unknown,
    position: unknown,
    length: unknown,
  ): Promise<Uint8Array> => {
    if (!isCount(position) || !isCount(length) || length > MOST_READ) throw notOurs();
    // Until the call counts its result.
    const own = claim.part();
    own.set(length);
    try {
      return await machine.files.use(token, (files, opened) => files.read(opened, position, length));
    } finally {
      own.release();
    }
  },
  fileWrite: async ({ machine }: Use, token: unknown, bytes: unknown, position: unknown): Promise<void> => {
    if (!types.isUint8Array(bytes) || (position !== undefined && !isCount(position))) throw notOurs();
    await machine.files.use(token, (files, opened) => files.write(opened, bytes, position));
  },
  archiveOpen: async (use: Use, path: unknown, write: unknown, how: unknown): Promise<string> => {
    const { machine, client = machine } = bare(use);
    const [checked, what] = [filePath(path), archiveHow(how)];
    return machine.archives.open(await machine.boot(), client, (all) => all.open(checked, write === true, what));
  },
  archiveRead: async ({ machine, claim }: Use, token: unknown): Promise<Uint8Array> => {
    // Until the call counts its result.
    const own = claim.part();
    own.set(MOST_READ);
    try {
      return await machine.archives.use(token, (all, opened) => all.read(opened));
    } finally {
      own.release();
    }
  },
  archiveWrite: async ({ machine }: Use, token: unknown, piece: unknown): Promise<void> => {
    if (!types.isUint8Array(piece)) throw notOurs();
    await machine.archives.use(token, (all, opened) => all.write(opened, piece));
  },
  archiveEnd: async ({ machine }: Use, token: unknown): Promise<void> =>
    machine.archives.use(token, (all, opened) => all.end(opened)),
  archiveTotals: async ({ machine }: Use, token: unknown): Promise<TransferTotals> =>
    machine.archives.use(token, (all, opened) => all.totals(opened)),
  archiveKeep: async ({ machine }: Use, token: unknown): Promise<void> => machine.archives.use(token, async () => {}),
  archiveClose: async ({ machine }: Use, token: unknown): Promise<void> => machine.archives.close(token),
  fileKeep: async ({ machine }: Use, token: unknown): Promise<void> => machine.files.use(token, async () => {}),
  fileClose: async ({ machine }: Use, token: unknown): Promise<void> => machine.files.close(token),
  watchOpen: async (use: Use, path: unknown, options: unknown): Promise<string> => {
    const { machine, client = machine, signal } = bare(use);
    return machine.watches.open(await machine.boot(), client, (watches) => watches.open(path, options, signal));
  },
  /** The next events; undefined at the end. */
  watchTake: async (use: Use, token: unknown): Promise<WatchEvent[] | undefined> => {
    const { machine, claim, signal } = bare(use);
    // Its client is gone: nobody takes what comes.
    const leave = (): void => machine.watches.close(token);
    signal?.addEventListener("abort", leave, { once: true });
    // Until the call counts its result.
    const own = claim.part();
    own.set(MOST_TAKEN);
    try {
      return await machine.watches.use(token, (watches, opened) => watches.take(opened));
    } finally {
      own.release();
      signal?.removeEventListener("abort", leave);
    }
  },
  watchKeep: async ({ machine }: Use, token: unknown): Promise<void> => machine.watches.use(token, async () => {}),
  watchClose: async ({ machine }: Use, token: unknown): Promise<void> => machine.watches.close(token),
} satisfies Record<string, HandleMethod>;

/** Opens a file for a stream. Returns its token. */
async function opened(use: Use, open: (files: FileBackend) => Promise<OpenedFile>): Promise<string> {
  const { machine, client = machine } = bare(use);
  return machine.files.open(await machine.boot(), client, open);
}

/** What the events that are taken at once use, about. */
const MOST_TAKEN = 256 * 1024;

/** The most that one read of a stream takes. */
const MOST_READ = 1024 * 1024;

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** The addon takes whatever path it gets. */
function filePath(path: unknown): string {
  if (typeof path !== "string" || !path.startsWith("/") || path.includes("\0") || !path.isWellFormed()) throw notOurs();
  return path;
}

function writeHow(how: unknown): WriteHow {
  if (typeof how !== "object" || how === null) throw notOurs();
  const { create, empty, exclusive, append } = bare(how as Partial<WriteHow>);
  if (create !== undefined && (!isCount(create) || create > 0o7777)) throw notOurs();
  for (const flag of [empty, exclusive, append]) if (typeof flag !== "boolean") throw notOurs();
  return {
    ...(create !== undefined && { create }),
    empty: empty === true,
    exclusive: exclusive === true,
    append: append === true,
  };
}

function archiveHow(how: unknown): ArchiveHow {
  if (typeof how !== "object" || how === null) throw notOurs();
  const { exclude, maxBytes, maxEntries } = bare(how as Partial<ArchiveHow>);
  if (!Array.isArray(exclude) || !exclude.every((each) => typeof each === "string" && each.isWellFormed()))
    throw notOurs();
  if (!isCount(maxBytes) || !isCount(maxEntries)) throw notOurs();
  return { exclude, maxBytes, maxEntries };
}

function notOurs(): Error {
  return failure("INVALID_ARGUMENT", "This is no request of agent-vm's client");
}

/**
 * What our client gets of something that it has started. Its first output waits for the client, which may read it; output that
 * goes to callbacks does not.
 */
export function handedOut<T extends HandleOf>(use: Use, named: T, handle: ProcessHandle | ShellHandle, live?: Live): T {
  if (live?.onStdout || live?.onStderr) return named;
  const { early } = use.machine;
  const begin = (of: HandleOf, output: LocalOutput, streams: StreamName[]): void =>
    early.begin(keyOf(of), output, streams, use.claim.apart(0));
  if ("pid" in handle) {
    const { output, pipes } = VmProcess.backendOf(handle);
    begin(named, output, ["stdout", "stderr"]);
    for (const [fd, pipe] of pipes) if ("output" in pipe) begin({ ...named, fd }, pipe.output, ["stdout"]);
  } else begin(named, VmShell.backendOf(handle).output, ["stdout"]);
  return named;
}

function keyOf(of: HandleOf): string {
  const { token } = of;
  return "pid" in of ? `process ${of.pid} ${token} ${of.fd}` : `shell ${of.shellId} ${token}`;
}

async function processOf({ machine }: Use, of: HandleOf): Promise<LocalProcess> {
  if (!("pid" in of)) throw failure("INVALID_ARGUMENT", "This is no request of agent-vm's client");
  const { pid, token } = of;
  if (!Number.isInteger(pid)) throw failure("INVALID_ARGUMENT", "pid must be an integer");
  const vm = await machine.running();
  refuseOld(machine, token);
  if (!vm) throw processNotFound(pid);
  const handle = await vm.getHandle(pid);
  if (token !== undefined && machine.processNamed(vm, handle).token !== token) throw processNotFound(pid);
  return VmProcess.backendOf(handle);
}

async function shellOf({ machine }: Use, of: HandleOf): Promise<LocalShell> {
  if (!("shellId" in of)) throw failure("INVALID_ARGUMENT", "This is no request of agent-vm's client");
  const { shellId, token } = of;
  if (typeof shellId !== "string") throw failure("INVALID_ARGUMENT", "shellId must be a string");
  const vm = await machine.running();
  refuseOld(machine, token);
  if (!vm) throw shellNotFound(shellId);
  const handle = await vm.getHandle(shellId);
  if (token !== undefined && machine.shellNamed(vm, handle).token !== token) throw shellNotFound(shellId);
  return VmShell.backendOf(handle);
}

/** The output of a process, or of one of its other pipes. */
function outputOf({ output, pipes }: LocalProcess, fd: number | undefined): LocalOutput {
  const pipe = fd === undefined ? { output } : pipes.get(fd);
  if (pipe && "output" in pipe) return pipe.output;
  throw failure("INVALID_ARGUMENT", "The process has no such output");
}

/** Its standard input, or another one. */
function inputOf({ stdin, pipes }: LocalProcess, fd: number | undefined): InputCalls {
  const pipe = fd === undefined ? { input: stdin } : pipes.get(fd);
  if (pipe && "input" in pipe) return pipe.input;
  throw failure("INVALID_ARGUMENT", "The process has no such input");
}

function refuseOld(machine: Machine, token: string | undefined): void {
  if (machine.tokenIsOld(token)) throw failure("VM_DISPOSED", "The VM that the handle is of has ended");
}

function processNotFound(pid: number): Error {
  return failure("PROCESS_NOT_FOUND", `Process not found: ${pid}`);
}

function shellNotFound(shellId: string): Error {
  return failure("SHELL_NOT_FOUND", `Shell not found: ${shellId}`);
}
