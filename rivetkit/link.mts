// A handle's link to its actor: a connection while the handle uses one, and calls that survive the loss of a
// connection.
import { type ActorHandleRaw, RivetError } from "rivetkit/client";
import { successOf } from "./checked.mjs";
import { withSeconds } from "./file-times.mjs";
import { type Kept, aborted, follow, partsOf, split } from "./following.mjs";
import { HANDLES, type HandleLink, handleOf } from "./handles.mjs";
import { ConnectionLost, Session, isPassing } from "./session.mjs";
import { Streams } from "./streams.mjs";
import {
  ABORT,
  type Answer,
  BEGIN,
  type Begin,
  CALL_BYTES,
  FOLLOW,
  INLINE_ARGUMENTS,
  NotEncoded,
  PART,
  PART_BYTES,
  PIECE,
  PIECE_BYTES,
  STDERR,
  STDOUT,
  TAKE,
  type Taken,
  TooLarge,
  decode,
  encode,
  encodedSize,
  fromBase64,
  requirePlain,
  toBase64,
} from "./wire.mjs";
import { wellFormed } from "./well-formed.mjs";

/** An unused connection is closed after this time, so that the actor can sleep. */
const IDLE_MS = 1000;
/** For how long a call is tried again before it fails; longer than an actor takes to move to another server. */
const RECONNECT_MS = 60_000;
/** How long a connection may take to open and to answer, at first; doubled after each failure. */
const OPEN_MS = 8000;
const ANSWER_MS = 1500;
/** When a connection that was open for this long is lost, failures are counted from zero again. */
const WELL_MS = 25_000;
/** The first and the longest pause before trying again; pauses double. */
const PAUSE_MS = [100, 2000] as const;
/**
 * Before a call, a connection that was silent for longer than this is asked whether it is alive (see SILENT_MS). This
 * is not done before writes to a running process or shell: if the connection is dead then so is the process, and an
 * extra round trip for each write would be noticeable.
 */
const FRESH_MS = 1000;
const FRESH_PING_MS = 3000;
/** How long an aborted call may take to answer. After that it rejects, and the actor ends it when it can be reached. */
const ABORT_MS = 5000;
/** How many parts or pieces are sent or fetched at the same time. */
const WINDOW = 8;

/** Calls that must keep their order, by the thing that they are about. */
const ORDERED: ReadonlyMap<string, string> = new Map([
  ["writeProcessStdin", "process"],
  ["closeProcessStdin", "process"],
  ["writeShell", "shell"],
  ["resizeShell", "shell"],
  ["handleWrite", "handle"],
  ["handleEnd", "handle"],
  ["handleResize", "handle"],
]);

interface Call {
  readonly id: string;
  readonly method: string;
  readonly after?: string;
  /** The start of the actor that may have received it. */
  sentTo: string | undefined;
  /** The options that stay with the client. */
  readonly kept: Kept;
  /** How many bytes of its output `kept` has received. */
  taken: number;
  /** Its caller has got the result. */
  over: boolean;
  /** Called when a process that it started is no longer followed. */
  ended: () => void;
}

function newCall(method: string, after: string | undefined, kept: Kept): Call {
  const rest = { sentTo: undefined, kept, taken: 0, over: false, ended: () => {} };
  return { id: newId(), method, ...(after === undefined ? {} : { after }), ...rest };
}

/** The error of what was under way when the handle was disposed. */
export class HandleDisposed extends ConnectionLost {}

/** The error for a call that the actor did not start. */
class NotTaken extends Error {}

export class Link implements HandleLink {
  readonly #handle: ActorHandleRaw;
  /**
   * The name by which the actor knows this client over all its connections. It is secret, because it gives access to
   * the client's calls.
   */
  readonly #name = newId();
  #session: Promise<Session> | undefined;
  #open: Session | undefined;
  /** Aborts the opening of a connection, and the wait for one. */
  #connecting = new AbortController();
  #pending = 0;
  #idle: ReturnType<typeof setTimeout> | undefined;
  #disposals = 0;
  /** Wakes what waits between its steps. */
  readonly #wakes = new Set<() => void>();
  /** Called when listeners get no events any more. */
  readonly #whenLost = new Set<(error: Error) => void>();
  /** Calls that have been answered, to report with the next request. */
  #done: string[] = [];
  /** The last unanswered call of each order. */
  readonly #last = new Map<string, string>();
  readonly streams: Streams;

  constructor(handle: ActorHandleRaw) {
    this.#handle = handle;
    this.streams = new Streams(() => this.#rest());
  }

  /** A listener was added: connects if necessary, and subscribes. */
  listening(): void {
    clearTimeout(this.#idle);
    if (this.#open) this.#subscribe(this.#open).catch(() => this.#open?.close());
    else this.#keepSubscribed();
  }

  async call(method: string, args: unknown[]): Promise<unknown> {
    const { sent, kept } = split(method, withSeconds(method, args));
    const { signal } = kept;
    if (signal?.aborted) throw aborted(signal);
    const order = orderOf(method, args[0]);
    const call = newCall(method, order === undefined ? undefined : this.#last.get(order), kept);
    const run = this.#run(call, args, sent, order);
    const outcome = signal ? this.#abortable(call, signal, run) : run.finally(() => (call.over = true));
    return kept.check === true ? successOf(outcome) : outcome;
  }

  async callFor(incarnation: string, method: string, args: unknown[], signal?: AbortSignal): Promise<unknown> {
    if (signal?.aborted) throw aborted(signal);
    const order = orderOf(method, args[0]);
    const call = newCall(method, order === undefined ? undefined : this.#last.get(order), signal ? { signal } : {});
    call.sentTo = incarnation;
    const run = this.#run(call, args, args, order);
    return signal ? this.#abortable(call, signal, run) : run.finally(() => (call.over = true));
  }

  newId(): string {
    return newId();
  }

  /**
   * Calls `listener` when the handle is disposed, or the actor cannot be reached. The returned function cancels that.
   */
  onLost(listener: (error: Error) => void): () => void {
    this.#whenLost.add(listener);
    return () => void this.#whenLost.delete(listener);
  }

  async #run(call: Call, args: unknown[], sent: unknown[], order: string | undefined): Promise<unknown> {
    const { id, method, kept } = call;
    const disposals = this.#disposals;
    this.#pending++;
    clearTimeout(this.#idle);
    const tries = new Tries(WELL_MS);
    if (order !== undefined) this.#last.set(order, id);
    try {
      for (;;) {
        const session = await (order === undefined ? this.#fresh() : this.#connected());
        if (disposals !== this.#disposals) throw disposed();
        tries.begin();
        if (session.incarnation === undefined) {
          call.ended();
          return await session.action(method, args);
        }
        // The VM that may have received the call is gone, and another VM must not get it.
        if (call.sentTo !== undefined && call.sentTo !== session.incarnation) throw vmGone();
        try {
          const value = await this.#carry(session, session.incarnation, call, wellFormed(method, sent));
          this.streams.noticeResult(method, value);
          if (method === "spawn" && partsOf(kept)) void this.#followProcess(call, session.incarnation);
          return HANDLES.has(method) ? handleOf(this, session.incarnation, method, value) : value;
        } catch (error) {
          if (disposals !== this.#disposals || !isPassing(error)) throw error;
          session.close();
          await tries.failed(error);
        }
      }
    } finally {
      if (order !== undefined && this.#last.get(order) === id) this.#last.delete(order);
      if (call.sentTo !== undefined) this.#done.push(id);
      this.#pending--;
      this.#rest();
    }
  }

  /**
   * The result of a call that its signal can abort. A spawn resolves to its process, which the signal kills from then
   * on.
   */
  #abortable(call: Call, signal: AbortSignal, run: Promise<unknown>): Promise<unknown> {
    return new Promise((resolve, reject) => {
      let late: ReturnType<typeof setTimeout> | undefined;
      const unfollow = follow(signal, () => {
        const end = (): void => settle(() => reject(aborted(signal)));
        // Does not wait for an actor that cannot be reached; a call that was never sent has nothing to end.
        if (call.sentTo === undefined) end();
        else if (!call.over) late = setTimeout(end, ABORT_MS);
        this.#abort(call);
      });
      const settle = (outcome: () => void): void => {
        call.over = true;
        clearTimeout(late);
        if (call.method !== "spawn") unfollow();
        outcome();
      };
      run.then(
        async (value) => {
          if (!signal.aborted || call.method === "spawn") return settle(() => resolve(value));
          // The abort came after the command had ended: kill what the command left running anyway.
          await this.#killLeft(value);
          settle(() => reject(aborted(signal)));
        },
        (error: unknown) => {
          unfollow();
          settle(() => reject(signal.aborted ? aborted(signal) : (error as Error)));
        },
      );
      call.ended = unfollow;
    });
  }

  #abort({ id, sentTo }: Call): void {
    const session = this.#open;
    // If this connection is lost, the code that waits for the call, or follows the process, sends the abort again.
    if (sentTo === undefined || session?.incarnation !== sentTo) return;
    session.action(ABORT, [id, sentTo]).catch(() => {});
  }

  async #killLeft(value: unknown): Promise<void> {
    // The answer may come from another kind of actor and need not be an exec result.
    const { background } = Object(value) as { background?: unknown };
    if (!Array.isArray(background)) return;
    const pids = background.map((process: unknown) => (Object(process) as { pid?: unknown }).pid);
    await Promise.allSettled(pids.map((pid) => this.call("killProcess", [pid])));
  }

  /** Delivers a spawned process's output until the process, the VM or the handle has ended. */
  async #followProcess(call: Call, incarnation: string): Promise<void> {
    let resumed: Session | undefined;
    try {
      await this.steps(
        incarnation,
        () => {},
        async (session) => {
          if (session !== resumed && call.kept.signal?.aborted) await session.action(ABORT, [call.id, incarnation]);
          resumed = session;
          return this.#take(session, incarnation, call);
        },
      );
    } catch {
      // The VM has ended, or the actor cannot be reached. Calls report that; the callbacks need no report.
    } finally {
      call.ended();
    }
  }

  async steps(incarnation: string, wake: () => void, step: (session: Session) => Promise<boolean>): Promise<void> {
    const disposals = this.#disposals;
    this.#pending++;
    this.#wakes.add(wake);
    clearTimeout(this.#idle);
    const tries = new Tries(WELL_MS);
    try {
      for (;;) {
        const session = await this.#connected();
        if (disposals !== this.#disposals) throw disposed();
        if (session.incarnation !== incarnation) throw vmGone();
        tries.begin();
        try {
          while (!(await step(session))) if (disposals !== this.#disposals) throw disposed();
          return;
        } catch (error) {
          if (disposals !== this.#disposals || !isPassing(error)) throw error;
          session.close();
          await tries.failed(error);
        }
      }
    } finally {
      this.#wakes.delete(wake);
      this.#pending--;
      this.#rest();
    }
  }

  /** Delivers some output of the call. Resolves to whether that was the end. */
  async #take(session: Session, incarnation: string, call: Call): Promise<boolean> {
    const taken = await session.action<Taken>(TAKE, [call.id, incarnation, call.taken]);
    if (taken.state === "stale") throw new ConnectionLost("The actor has restarted");
    const { chunks, next, end } = taken;
    if (!Array.isArray(chunks) || !Number.isSafeInteger(next) || next < call.taken) throw notOurs();
    call.taken = next;
    for (const [kind, text] of chunks) {
      if ((kind !== STDOUT && kind !== STDERR) || typeof text !== "string") throw notOurs();
      // A rejected call delivers nothing more. A process's output continues until its exit.
      if (call.over && call.method !== "spawn") continue;
      const callback = kind === STDOUT ? call.kept.onStdout : call.kept.onStderr;
      try {
        callback?.(fromBase64(text));
      } catch (error) {
        // An error of the caller's callback, which must not stop later chunks.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
    return end;
  }

  /** Closes the connection and removes the listeners. The next call or listener opens another connection. */
  dispose(): void {
    this.#disposals++;
    for (const lost of [...this.#whenLost]) lost(disposed());
    this.streams.clear();
    clearTimeout(this.#idle);
    this.#disconnect();
    for (const wake of [...this.#wakes]) wake();
  }

  #disconnect(): void {
    this.#connecting.abort(disposed());
    this.#connecting = new AbortController();
    this.#open?.close();
    this.#open = undefined;
    this.#session = undefined;
  }

  async #carry(session: Session, incarnation: string, call: Call, args: unknown[]): Promise<unknown> {
    const { id, method, after, sentTo, kept } = call;
    if (kept.signal?.aborted) {
      if (sentTo === undefined) throw aborted(kept.signal);
      await session.action(ABORT, [id, incarnation]);
    }
    const large = encodedSize(args, INLINE_ARGUMENTS) > INLINE_ARGUMENTS ? encodeArguments(args) : undefined;
    // The caller gets the error if small arguments cannot be sent; rivetkit would only log it.
    if (!large) requirePlain(args);
    const parts = large ? await this.#upload(session, id, large) : undefined;
    if (kept.signal?.aborted && sentTo === undefined) throw aborted(kept.signal);
    const done = this.#done.splice(0, 256);
    const live = partsOf(kept);
    const rest = { ...(after ? { after } : {}), ...(live ? { live } : {}) };
    const request: Begin = { id, method, incarnation, args: parts ?? args, done, ...rest };
    let answer: Answer;
    try {
      call.sentTo = incarnation;
      answer = await session.action<Answer>(BEGIN, [request]);
      if (answer.state === "stale") throw new NotTaken("The actor has restarted");
      if (answer.state === "incomplete") throw new NotTaken("The parts of the arguments are no longer there");
    } catch (error) {
      // An actor that is stopping refuses the call; its next start can serve it.
      if (!(error instanceof ConnectionLost)) call.sentTo = sentTo;
      throw error;
    }
    if (method !== "spawn" && (live?.stdout || live?.stderr)) {
      while (!(await this.#take(session, incarnation, call))) continue;
    }
    for (;;) {
      switch (answer.state) {
        case "done":
          return answer.value;
        case "large":
          return decoded(await this.#download(session, id, answer.bytes));
        case "pending":
          answer = await session.action<Answer>(FOLLOW, [id, incarnation]);
          break;
        default:
          throw new ConnectionLost("The actor has restarted");
      }
    }
  }

  async #upload(session: Session, id: string, bytes: Uint8Array): Promise<number> {
    const count = Math.ceil(bytes.byteLength / PART_BYTES);
    await inWindow(count, (index) => {
      const part = bytes.subarray(index * PART_BYTES, (index + 1) * PART_BYTES);
      return session.action(PART, [id, index, toBase64(part)]);
    });
    return count;
  }

  async #download(session: Session, id: string, length: number): Promise<Uint8Array> {
    if (!Number.isSafeInteger(length) || length < 0 || length > CALL_BYTES) throw notOurs();
    const pieces: Uint8Array[] = [];
    await inWindow(Math.ceil(length / PIECE_BYTES), async (index) => {
      const at = index * PIECE_BYTES;
      const text: unknown = await session.action(PIECE, [id, at]);
      const most = Math.min(PIECE_BYTES, length - at);
      if (typeof text !== "string" || text.length > Math.ceil(most / 3) * 4) throw notOurs();
      const piece = fromBase64(text);
      if (piece.byteLength !== most) throw notOurs();
      pieces[index] = piece;
    });
    // Allocated only now, so that an actor which announces a large result but sends little costs little memory.
    const bytes = new Uint8Array(length);
    for (const [index, piece] of pieces.entries()) bytes.set(piece, index * PIECE_BYTES);
    return bytes;
  }

  #subscribe(session: Session): Promise<void> {
    return this.streams.subscribe(session, (method, args) => {
      if (session.incarnation === undefined) throw new ConnectionLost("The actor is not one of agent-vm's");
      return this.#carry(session, session.incarnation, newCall(method, undefined, {}), args);
    });
  }

  /** A session that has recently received something; opens one if necessary. */
  async #fresh(): Promise<Session> {
    for (;;) {
      const session = await this.#connected();
      if (session.silentMs > FRESH_MS) await session.ping(FRESH_PING_MS);
      if (!session.gone) return session;
    }
  }

  #connected(): Promise<Session> {
    if (!this.#session) {
      const session = this.#connect();
      this.#session = session;
      session.catch(() => {
        if (this.#session === session) this.#session = undefined;
      });
    }
    return this.#session;
  }

  async #connect(): Promise<Session> {
    const stop = this.#connecting.signal;
    const tries = new Tries();
    for (let patience = 1; ; patience *= 2) {
      tries.begin();
      let session: Session | undefined;
      try {
        session = await Session.open(this.#handle, this.#name, patience * OPEN_MS, patience * ANSWER_MS, stop);
        if (stop.aborted) throw disposed();
        const opened = session;
        opened.onGone(() => this.#lost(opened));
        // Subscribes before any call is sent, so that the first output of a call's process is not missed.
        while (!opened.gone && this.streams.lackedBy(opened)) await this.#subscribe(opened);
        if (stop.aborted) throw disposed();
        if (opened.gone) throw new ConnectionLost("The connection to the actor was lost");
        this.#open = opened;
        // The caller may have stopped waiting meanwhile.
        this.#rest();
        return opened;
      } catch (error) {
        session?.close();
        if (stop.aborted || !isPassing(error)) throw error;
        await tries.failed(error);
        if (stop.aborted) throw disposed();
      }
    }
  }

  #lost(session: Session): void {
    if (this.#open === session) {
      this.#open = undefined;
      this.#session = undefined;
    }
    if (this.streams.size > 0) this.#keepSubscribed();
  }

  /** Keeps a connection open while there are listeners. */
  #keepSubscribed(): void {
    const disposals = this.#disposals;
    this.#connected().catch((error: unknown) => {
      // Calls report the error, and so do waits. Listeners have no way to report it, and wait on.
      if (disposals === this.#disposals) for (const lost of [...this.#whenLost]) lost(error as Error);
      setTimeout(() => {
        if (this.streams.size > 0) this.#keepSubscribed();
      }, 5000);
    });
  }

  #rest(): void {
    if (this.#pending > 0 || this.streams.size > 0) return;
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => this.#disconnect(), IDLE_MS);
  }
}

/**
 * Attempts to do one thing, with pauses between them, until they have failed for RECONNECT_MS. An attempt that lasted
 * `wellMs` restarts the count; without `wellMs` the count never restarts.
 */
class Tries {
  readonly #wellMs: number;
  #began = 0;
  #failing: number | undefined;
  #pause: number = PAUSE_MS[0];

  constructor(wellMs = Number.POSITIVE_INFINITY) {
    this.#wellMs = wellMs;
  }

  begin(): void {
    this.#began = Date.now();
  }

  /** Resolves when it is time for the next attempt; rejects with the error after too many. */
  async failed(error: unknown): Promise<void> {
    const now = Date.now();
    if (this.#failing === undefined || now - this.#began > this.#wellMs) {
      this.#failing = this.#began;
      this.#pause = PAUSE_MS[0];
    }
    if (now - this.#failing > RECONNECT_MS) throw error;
    const pause = this.#pause;
    this.#pause = Math.min(2 * pause, PAUSE_MS[1]);
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

/** Calls `send` for each index, with at most WINDOW calls at a time. */
async function inWindow(count: number, send: (index: number) => Promise<unknown>): Promise<void> {
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < count) await send(next++);
  };
  await Promise.all(Array.from({ length: Math.min(WINDOW, count) }, lane));
}

function orderOf(method: string, about: unknown): string | undefined {
  const kind = ORDERED.get(method);
  if (kind === undefined) return undefined;
  if (kind !== "handle") return `${kind}:${String(about)}`;
  const { pid, shellId, fd } = Object(about) as { pid?: number; shellId?: string; fd?: number };
  if (fd !== undefined) return `process:${pid}:${fd}`;
  // The order is that of the calls by id.
  return shellId === undefined ? `process:${pid}` : `shell:${shellId}`;
}

function newId(): string {
  // randomUUID exists only in secure contexts.
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function encodeArguments(args: unknown[]): Uint8Array {
  try {
    return encode(args);
  } catch (error) {
    if (error instanceof TooLarge) throw new RivetError("user", "LIMIT_EXCEEDED", error.message);
    throw error;
  }
}

function decoded(bytes: Uint8Array): unknown {
  try {
    return decode(bytes);
  } catch (error) {
    throw error instanceof NotEncoded ? notOurs() : error;
  }
}

/** Another attempt would not help. */
function notOurs(): RivetError {
  return new RivetError("client", "malformed_response", "The actor's answer is none that agent-vm's actors give");
}

function disposed(): HandleDisposed {
  return new HandleDisposed("The handle was disposed");
}

function vmGone(): RivetError {
  return new RivetError("user", "VM_DISPOSED", "The VM that the call was for has ended: its actor has restarted");
}
