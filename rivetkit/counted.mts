// Calls whose results may be large. What they read is counted while they read it, so that many such calls together stay
// within their client's memory.
import { constants } from "node:buffer";
import { types } from "node:util";
import type {
  AgentVm,
  ContextExecOptions,
  ExecOptions,
  ExecResult,
  ReadFileResult,
  ShellScreen,
  SpawnOptions,
  VmProcess,
} from "agent-vm";
import type { Claim } from "./budget.mjs";
import { failure } from "./errors.mjs";
import type { Live } from "./live.mjs";
import { Printed, keptBytes } from "./printed.mjs";
import { CALL_BYTES } from "./wire.mjs";

type SentExecOptions =
  | Omit<ExecOptions, "signal" | "onStdout" | "onStderr" | "check">
  | Omit<ContextExecOptions, "signal" | "onStdout" | "onStderr" | "check">;

/** The default of AgentVm. */
const DEFAULT_OUTPUT = 16 * 1024 * 1024;
/** What counts for a file in addition to its size: it may grow, and files in /proc report no size. */
const READ_AHEAD = 64 * 1024;
/** How many files one call reads at the same time. */
const FILES_AT_A_TIME = 16;

/** The parts of a call that its client follows while it runs. */
interface Followed {
  readonly signal: AbortSignal | undefined;
  readonly live: Live | undefined;
}

/**
 * Runs an exec and counts its output. It ends with LIMIT_EXCEEDED if the output exceeds the client's memory, and when
 * the signal aborts.
 */
export async function counted(
  claim: Claim,
  { signal, live }: Followed,
  options: SentExecOptions | undefined,
  run: (options: Parameters<AgentVm["exec"]>[1]) => Promise<ExecResult>,
): Promise<ExecResult> {
  // The VM refuses invalid options.
  if (options !== undefined && !isObject(options)) return run(options);
  refuseUnsent("options", options);
  const given = bare<Record<string, unknown>>(options);
  const { maxOutputBytes = DEFAULT_OUTPUT } = given;
  if (!Number.isInteger(maxOutputBytes) || (maxOutputBytes as number) < 0) return run(options);
  if ((maxOutputBytes as number) > constants.MAX_STRING_LENGTH) return run(options);
  const { keepOutput, encoding } = given;
  if (!isOneOf(keepOutput, "head", "tail", "ends") || !isOneOf(encoding, "utf8", "buffer")) return run(options);
  const over = new AbortController();
  let failed: unknown;
  const kept = keptBytes(maxOutputBytes as number, keepOutput);
  const [stdout, stderr] = [new Printed(kept), new Printed(kept)];
  const keep = (printed: Printed, pass: ((data: Uint8Array) => void) | undefined) => (data: Uint8Array) => {
    if (failed !== undefined) return;
    try {
      printed.add(data, (bytes) => claim.take(bytes));
      pass?.(data);
    } catch (error) {
      failed = error;
      // It continues to print until it is killed, which may take a while.
      stdout.drop();
      stderr.drop();
      over.abort();
    }
  };
  const streams = {
    onStdout: keep(stdout, live?.onStdout),
    onStderr: keep(stderr, live?.onStderr),
    signal: over.signal,
    maxOutputBytes: 0,
  };
  const abort = (): void => over.abort();
  if (signal?.aborted) abort();
  signal?.addEventListener("abort", abort, { once: true });
  try {
    const result = await run(Object.assign(given, streams));
    if (failed === undefined) {
      const [out, err] = [stdout.take(encoding), stderr.take(encoding)];
      // The VM keeps none of the output: it is kept here.
      const { stdoutDropped: _out, stderrDropped: _err, ...rest } = result;
      return {
        ...rest,
        stdout: out.output,
        stderr: err.output,
        stdoutTruncated: out.dropped !== undefined,
        stderrTruncated: err.dropped !== undefined,
        ...(out.dropped && { stdoutDropped: out.dropped }),
        ...(err.dropped && { stderrDropped: err.dropped }),
      } as ExecResult;
    }
  } catch (error) {
    if (failed === undefined) throw error;
  } finally {
    signal?.removeEventListener("abort", abort);
  }
  throw failed;
}

/** Whether it is absent or one of the choices. */
function isOneOf<T extends string>(value: unknown, ...choices: T[]): value is T | undefined {
  return value === undefined || choices.some((choice) => choice === value);
}

/** Options that `agent-vm/client` implements on the client's side; rivetkit's own client cannot send them. */
const UNSENT = ["signal", "onStdout", "onStderr", "check"] as const;

export function refuseUnsent(name: string, options: unknown): void {
  if (!isObject(options)) return;
  const given = bare<Record<string, unknown>>(options as Record<string, unknown>);
  const key = UNSENT.find((each) => given[each] !== undefined);
  if (key !== undefined) {
    throw failure(
      "INVALID_ARGUMENT",
      `${name}.${key} cannot be sent by this client: use createClient of agent-vm/client`,
    );
  }
}

/** How much of `stdin` a spawned process may leave unread: AgentVm's limit for later writes. */
const MOST_INPUT = 64 * 1024 * 1024;

/**
 * Spawns a process whose `stdin` counts until the process has read it or has ended, because the call itself ends before
 * that.
 */
export async function spawnCounted(
  vm: AgentVm,
  claim: Claim,
  live: Live | undefined,
  args: Parameters<AgentVm["spawn"]>,
  onStart: (process: VmProcess) => void,
): Promise<VmProcess> {
  const [command, words, sent] = args;
  refuseUnsent("options", sent);
  const options =
    sent === undefined || isObject(sent) ? Object.assign(bare<SpawnOptions>(sent), followedBy(live)) : sent;
  const rest = isObject(options) ? bare(options) : undefined;
  const stdin: unknown = rest?.stdin;
  const input = typeof stdin === "string" ? Buffer.from(stdin) : stdin;
  // The VM refuses invalid arguments.
  if (rest === undefined || !types.isUint8Array(input)) {
    const process = await vm.spawn(command, words, options);
    onStart(process);
    return process;
  }
  if (input.byteLength > MOST_INPUT) {
    const message = `The stdin of a process that an actor spawns has at most ${MOST_INPUT} bytes: use writeProcessStdin for more`;
    throw failure("LIMIT_EXCEEDED", message);
  }
  const held = claim.apart(input.byteLength);
  try {
    delete rest.stdin;
    const process = await vm.spawn(command, words, rest);
    onStart(process);
    // It fails if nothing can read the input any more, which the process's exit also shows.
    const written = vm.writeProcessStdin(process.pid, input).catch(() => {});
    void written.finally(() => held.release());
    return process;
  } catch (error) {
    held.release();
    throw error;
  }
}

/** Options that let the client follow the process. */
function followedBy(live: Live | undefined): SpawnOptions {
  if (!live) return {};
  const { signal, onStdout, onStderr } = live;
  return { ...(signal && { signal }), ...(onStdout && { onStdout }), ...(onStderr && { onStderr }) };
}

interface ReadOptions {
  maxBytes?: number;
  offset?: number;
  length?: number;
  encoding?: BufferEncoding | "buffer";
}

/** Like AgentVm.readFile, for at most CALL_BYTES of a file. */
export async function readCounted(vm: AgentVm, claim: Claim, args: unknown[]): Promise<Uint8Array | string> {
  const [path, given, ...extra] = args as [string, unknown, ...unknown[]];
  const options = typeof given === "string" ? { encoding: given } : given;
  const read = vm.readFile.bind(vm) as (path: string, ...rest: unknown[]) => Promise<Uint8Array>;
  // The VM reports what is wrong with the options.
  if (!isReadOptions(options)) return read(path, given, ...extra);
  const ofBytes = bare<ReadOptions>(options);
  const { encoding = "buffer", maxBytes = CALL_BYTES, offset = 0, length = Number.MAX_SAFE_INTEGER } = ofBytes;
  delete ofBytes.encoding;
  const most = Math.min(maxBytes, CALL_BYTES);
  // If the file cannot be read, reading it reports the error.
  const size = await vm.stat(path).then(
    (stat) => stat.size,
    () => 0,
  );
  const wanted = Math.min(Math.max(size - offset, 0), length);
  const tooLarge = (): Error =>
    failure(
      "LIMIT_EXCEEDED",
      `An actor reads at most ${CALL_BYTES} bytes of a file: read it in parts, with offset and length`,
    );
  if (wanted > CALL_BYTES && maxBytes > CALL_BYTES - 1) throw tooLarge();
  const own = claim.part();
  try {
    for (let room = Math.min(wanted + READ_AHEAD, most); ; room = Math.min(8 * room, most)) {
      own.set(room);
      try {
        const bytes = await read(path, Object.assign(bare(ofBytes), { maxBytes: room }), ...extra);
        if (bytes.byteLength > most) throw tooLarge();
        own.set(bytes.byteLength);
        if (encoding === "buffer") return bytes;
        const text = decoded(bytes, encoding);
        own.set(2 * text.length);
        return text;
      } catch (error) {
        if (!isCode(error, "EFBIG")) throw error;
        if (room >= most) throw maxBytes > CALL_BYTES - 1 ? tooLarge() : error;
      }
    }
  } catch (error) {
    own.release();
    throw error;
  }
}

function decoded(bytes: Uint8Array, encoding: BufferEncoding): string {
  try {
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString(encoding);
  } catch {
    throw failure(
      "LIMIT_EXCEEDED",
      "The file is longer than a string can be: read it without an encoding, or in parts",
    );
  }
}

function isReadOptions(options: unknown): options is ReadOptions | undefined {
  if (options === undefined) return true;
  if (!isObject(options)) return false;
  const { maxBytes, offset, length, encoding } = bare<ReadOptions>(options);
  return (
    [maxBytes, offset, length].every((each) => each === undefined || (Number.isSafeInteger(each) && each >= 0)) &&
    (encoding === undefined || encoding === "buffer" || Buffer.isEncoding(encoding))
  );
}

function isObject(options: unknown): options is object {
  return typeof options === "object" && options !== null && !Array.isArray(options);
}

/**
 * A copy with the own members and without a prototype, so that members which other code in the server added to
 * Object.prototype do not count as options.
 */
export function bare<T extends object>(options: T | undefined): T {
  return Object.assign(Object.create(null) as T, options);
}

function isCode(error: unknown, code: string): boolean {
  return codeOf(error) === code;
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}

/**
 * Like AgentVm.readFiles, for files of at most CALL_BYTES each. Larger files, and files for which there is no room,
 * have an `error`.
 */
export async function readFilesCounted(
  vm: AgentVm,
  claim: Claim,
  args: unknown[],
): Promise<ReadFileResult<Uint8Array | string>[]> {
  const [paths, options, ...extra] = args as [string[], unknown, ...unknown[]];
  const readAll = vm.readFiles.bind(vm) as (paths: string[], ...rest: unknown[]) => Promise<ReadFileResult[]>;
  // The VM checks all paths before it reads any.
  if (!Array.isArray(paths) || !paths.every(isPath)) return readAll(paths, options, ...extra);
  await readAll([], options, ...extra);
  const results: ReadFileResult<Uint8Array | string>[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < paths.length) {
      const index = next++;
      const path = paths[index] as string;
      try {
        results[index] = { path, content: await readCounted(vm, claim, [path, options]) };
      } catch (error) {
        const code = codeOf(error);
        const why = error instanceof Error ? error.message : String(error);
        results[index] = { path, content: null, error: why, ...(code !== undefined && { code }) };
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(FILES_AT_A_TIME, paths.length) }, worker));
  return results;
}

function isPath(path: unknown): boolean {
  return typeof path === "string" && path.startsWith("/") && !path.includes("\0") && path.isWellFormed();
}

/** A screen, whose text may be as long as two million bytes. */
export function screenCounted(claim: Claim, screen: ShellScreen): ShellScreen {
  claim.take(screen.lines.reduce((bytes, line) => bytes + 2 * line.length, 0));
  return screen;
}

/** The decoded body of a response, of at most CALL_BYTES. */
export async function responseCounted(claim: Claim, response: Response): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  // Leaving this loop early closes the connection.
  for await (const chunk of response.body ?? []) {
    bytes += chunk.byteLength;
    if (bytes > CALL_BYTES) throw failure("LIMIT_EXCEEDED", `A response's body is at most ${CALL_BYTES} bytes`);
    claim.take(chunk.byteLength);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, bytes);
}
