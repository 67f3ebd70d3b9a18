// The client's half of handles: a VmProcess or VmShell over calls to the actor. It runs in browsers too, where the bundler
// leaves Node.js's streams out.
import type { ExitStatus, ShellScreen, VmProcess as ProcessHandle, VmShell as ShellHandle } from "agent-vm";
import {
  type InputCalls,
  type ProcessBackend,
  type ReadableOutput,
  type Reader,
  type Reading,
  type ShellBackend,
  type StreamName,
  VmProcess,
  VmShell,
} from "#handles";
import { RivetError } from "rivetkit/client";
import { split } from "./following.mjs";
import { ConnectionLost, type Session, isCode } from "./session.mjs";
import { type HandleOf, READ, type Read, type ReadRequest, STDERR, STDOUT, UNREAD, fromBase64 } from "./wire.mjs";

/** What handles need of the link to their actor. */
export interface HandleLink {
  /** Makes a call for that start of the actor only. */
  callFor(incarnation: string, method: string, args: unknown[], signal?: AbortSignal): Promise<unknown>;
  /**
   * Calls `step` with a connection to that start of the actor until it resolves to true, and continues over another
   * connection when one is lost. Calls `wake` when the link is disposed.
   */
  steps(incarnation: string, wake: () => void, step: (session: Session) => Promise<boolean>): Promise<void>;
  newId(): string;
}

/** The methods whose results name what a handle is made of. */
export const HANDLES: ReadonlySet<string> = new Set(["spawn", "openShell", "getHandle"]);

export const disposedStatus: ExitStatus = {
  exitCode: 137,
  signal: "SIGKILL",
  reason: "disposed",
  usage: { userMs: 0, systemMs: 0, maxRssBytes: 0 },
};

/** A handle of what the actor's answer names; the answer itself if it names nothing, as that of another kind of actor. */
export function handleOf(link: HandleLink, incarnation: string, method: string, value: unknown): unknown {
  const { pid, shellId, token } = Object(value) as { pid?: unknown; shellId?: unknown; token?: unknown };
  const named = typeof token === "string" ? { token } : {};
  const isNew = method !== "getHandle" && typeof token === "string";
  if (Number.isSafeInteger(pid)) {
    const { inputs, outputs } = Object(value) as { inputs?: unknown; outputs?: unknown };
    const numbers = { inputs: numbersOf(inputs), outputs: numbersOf(outputs) };
    return processHandle(link, incarnation, { pid: pid as number, ...named }, isNew, numbers);
  }
  if (typeof shellId === "string") return shellHandle(link, incarnation, { shellId, ...named }, isNew);
  return value;
}

/**
 * Says to the actor that the first output need not wait any longer: when the readings that the caller has begun at once have
 * arrived there.
 */
function ready(link: HandleLink, incarnation: string, of: HandleOf, outputs: RemoteOutput[]): void {
  setTimeout(() => {
    void Promise.allSettled(outputs.flatMap((output) => output.begun())).then(() =>
      link.callFor(incarnation, "handleReady", [of]).catch(() => {}),
    );
  });
}

function processHandle(
  link: HandleLink,
  incarnation: string,
  of: HandleOf & { pid: number },
  isNew: boolean,
  { inputs, outputs }: { inputs: number[]; outputs: number[] },
): ProcessHandle {
  const output = new RemoteOutput(link, incarnation, of, ["stdout", "stderr"]);
  const outputOf = (fd: number): RemoteOutput => new RemoteOutput(link, incarnation, { ...of, fd }, ["stdout"]);
  const others = outputs.map((fd) => [fd, { output: outputOf(fd) }] as const);
  if (isNew) ready(link, incarnation, of, [output, ...others.map(([, pipe]) => pipe.output)]);
  let exited: Promise<ExitStatus> | undefined;
  let isOver = false;
  const call = (method: string, ...args: unknown[]): Promise<void> =>
    link.callFor(incarnation, method, [of, ...args]) as Promise<void>;
  const input = (which: HandleOf): InputCalls => ({
    write: (data) => link.callFor(incarnation, "handleWrite", [which, data]) as Promise<void>,
    // The end of the process has closed it.
    close: async () => (isOver ? undefined : void (await link.callFor(incarnation, "handleEnd", [which]))),
  });
  const process: ProcessBackend = {
    pid: of.pid,
    output,
    stdin: input(of),
    pipes: new Map<number, { output: ReadableOutput } | { input: InputCalls }>([
      ...others,
      ...inputs.map((fd) => [fd, { input: input({ ...of, fd }) }] as const),
    ]),
    killAll: () => call("handleKill"),
    signal: (signal) => call("handleSignal", signal),
    untilExit: () => (exited ??= untilExit(link, incarnation, of, () => (isOver = true))),
  };
  return new VmProcess(process);
}

function shellHandle(
  link: HandleLink,
  incarnation: string,
  of: HandleOf & { shellId: string },
  isNew: boolean,
): ShellHandle {
  const output = new RemoteOutput(link, incarnation, of, ["stdout"]);
  if (isNew) ready(link, incarnation, of, [output]);
  const call = (method: string, ...args: unknown[]): Promise<void> =>
    link.callFor(incarnation, method, [of, ...args]) as Promise<void>;
  const shell: ShellBackend = {
    shellId: of.shellId,
    output,
    write: (data) => call("handleWrite", data),
    resize: (cols, rows) => call("handleResize", cols, rows),
    readScreen: async (options) => {
      const { sent, kept } = split("readScreen", [of.shellId, options]);
      const screen = link.callFor(incarnation, "handleReadScreen", [of, sent[1]], kept.signal);
      return screen as Promise<ShellScreen>;
    },
    close: () => call("handleClose"),
    untilExit: () => untilExit(link, incarnation, of, () => {}),
  };
  return new VmShell(shell);
}

function untilExit(link: HandleLink, incarnation: string, of: HandleOf, over: () => void): Promise<ExitStatus> {
  const exit = link.callFor(incarnation, "handleWait", [of]).then(
    (status) => status as ExitStatus,
    (error: unknown) => {
      if (isCode(error, "user", "VM_DISPOSED")) return disposedStatus;
      throw error;
    },
  );
  exit.then(over, () => {});
  return exit;
}

/** The output of a process or shell of an actor. */
class RemoteOutput implements ReadableOutput {
  readonly #link: HandleLink;
  readonly #incarnation: string;
  readonly #of: HandleOf;
  /** The streams that there are. */
  readonly #streams: readonly StreamName[];
  #begun: Promise<void>[] = [];

  constructor(link: HandleLink, incarnation: string, of: HandleOf, streams: readonly StreamName[]) {
    this.#link = link;
    this.#incarnation = incarnation;
    this.#of = of;
    this.#streams = streams;
  }

  read(streams: readonly StreamName[], reader: Reader): Reading {
    const known = streams.filter((stream) => this.#streams.includes(stream));
    const reading = new RemoteReading(this.#link, this.#incarnation, this.#of, known, reader);
    this.#begun.push(reading.begun);
    void reading.begun.finally(() => (this.#begun = this.#begun.filter((each) => each !== reading.begun)));
    return reading;
  }

  /** For each reading that has not begun in the actor, a promise that settles when it has. */
  begun(): Promise<void>[] {
    return this.#begun;
  }
}

class RemoteReading implements Reading {
  readonly #incarnation: string;
  readonly #id: string;
  readonly #of: HandleOf;
  readonly #reader: Reader;
  readonly #open: Set<StreamName>;
  readonly #kinds: ReadRequest["streams"];
  #after = 0;
  #isFull = false;
  #isClosed = false;
  #waiting: (() => void) | undefined;
  /** Resolves when the actor has answered the first request, or there will be none. */
  readonly begun: Promise<void>;
  #answered: () => void = () => {};

  constructor(link: HandleLink, incarnation: string, of: HandleOf, streams: readonly StreamName[], reader: Reader) {
    this.#incarnation = incarnation;
    this.#id = link.newId();
    this.#of = of;
    this.#reader = reader;
    this.#open = new Set(streams);
    this.#kinds = streams.map((stream) => (stream === "stderr" ? STDERR : STDOUT));
    this.begun = new Promise((resolve) => (this.#answered = resolve));
    link
      .steps(
        incarnation,
        () => this.#waiting?.(),
        (session) => this.#step(session),
      )
      .catch((error: unknown) => {
        if (this.#isClosed) return;
        this.#isClosed = true;
        this.#reader.onError?.(withTruncated(error));
      })
      .finally(() => this.#answered());
  }

  /** The reader has room again. */
  resume(): void {
    this.#isFull = false;
    this.#waiting?.();
  }

  /** Ends the reading. The reader is not called any more. */
  close(): void {
    this.#isClosed = true;
    this.#waiting?.();
  }

  /** Delivers some output. Resolves to whether that was the last. */
  async #step(session: Session): Promise<boolean> {
    // Takes nothing before there is room: the actor then pauses the writer.
    if (this.#isFull && !this.#isClosed && !session.gone) await this.#room(session);
    if (this.#isClosed) return this.#end(session);
    const request: ReadRequest = { of: this.#of, streams: this.#kinds, after: this.#after };
    const read = await session.action<Read>(READ, [this.#id, this.#incarnation, request]);
    if (read.state === "stale") throw new ConnectionLost("The actor has restarted");
    this.#answered();
    this.#deliver(read);
    return this.#isClosed || this.#open.size === 0 ? this.#end(session) : false;
  }

  #deliver({ chunks, next, ended }: Extract<Read, { state: "read" }>): void {
    if (!Array.isArray(chunks) || !Array.isArray(ended) || !Number.isSafeInteger(next) || next < this.#after) {
      throw notOurs();
    }
    this.#after = next;
    for (const [kind, text] of chunks) {
      const stream = nameOf(kind);
      if (typeof text !== "string" || !this.#open.has(stream)) throw notOurs();
      const data = fromBase64(text);
      this.#call(() => {
        if (!this.#reader.onData(data, stream, 0)) this.#isFull = true;
      });
    }
    for (const kind of ended) {
      const stream = nameOf(kind);
      if (this.#open.delete(stream)) this.#call(() => this.#reader.onStreamEnd(stream));
    }
  }

  /** An error of a listener must not end the reading. */
  #call(work: () => void): void {
    if (this.#isClosed) return;
    try {
      work();
    } catch (error) {
      queueMicrotask(() => {
        throw error;
      });
    }
  }

  #room(session: Session): Promise<void> {
    return new Promise((resolve) => {
      let forget: () => void = () => {};
      const wake = (): void => {
        this.#waiting = undefined;
        forget();
        resolve();
      };
      this.#waiting = wake;
      forget = session.onGone(wake);
    });
  }

  #end(session: Session): true {
    // If the request is lost, the actor ends the reading when the client has left.
    session.action(UNREAD, [this.#id]).catch(() => {});
    return true;
  }
}

/** The numbers in an actor's answer that a pipe may have. */
function numbersOf(list: unknown): number[] {
  return Array.isArray(list) ? list.filter((fd) => Number.isInteger(fd) && fd >= 3 && fd <= 9) : [];
}

function nameOf(kind: unknown): StreamName {
  if (kind !== STDOUT && kind !== STDERR) throw notOurs();
  return kind === STDERR ? "stderr" : "stdout";
}

/** As an AgentVmError of a stream, it has the number of missing bytes itself. */
function withTruncated(error: unknown): Error {
  const failed = error instanceof Error ? error : new Error(String(error));
  const { metadata } = failed as { metadata?: unknown };
  const { truncatedBytes } = Object(metadata) as { truncatedBytes?: unknown };
  return typeof truncatedBytes === "number" ? Object.assign(failed, { truncatedBytes }) : failed;
}

function notOurs(): RivetError {
  return new RivetError("client", "malformed_response", "The actor's answer is none that agent-vm's actors give");
}
