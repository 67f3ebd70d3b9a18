// The actor's half of carrying calls for our client: arguments uploaded in parts, calls that take longer than one
// action may, results fetched in pieces, and answers kept until the client has them. Each client has its own calls, so
// another client's ids do not matter to it.
import { Claim, Share } from "./budget.mjs";
import {
  type Call,
  Client,
  OVERHEAD,
  type Upload,
  assemble,
  check,
  drop,
  encoded,
  inline,
  over,
  refuseCycle,
  settledOrLate,
  turn,
} from "./client-calls.mjs";
import { failure } from "./errors.mjs";
import { Live } from "./live.mjs";
import { PlainCalls } from "./plain.mjs";
import type { LocalOutput } from "#handles";
import {
  type Answer,
  type Begin,
  CALL_BYTES,
  HOLD_MS,
  INLINE_RESULT,
  type LiveParts,
  PART_BYTES,
  PIECE_BYTES,
  type Read,
  type ReadRequest,
  STDERR,
  STDOUT,
  type Taken,
  encodedSize,
  fromBase64,
  toBase64,
} from "./wire.mjs";

/** The maximum number of running calls and kept answers, of one client and of all; more calls are refused. */
export const MOST_CALLS_OF_ONE = 2048;
export const MOST_CALLS = 4096;
/**
 * How many calls each client may have even while other clients use all of those, and how many are reserved for that.
 */
const ALWAYS_CALLS = 16;
const RESERVE_CALLS = 1024;
/** The maximum number of uploads of one client whose call has not begun. */
export const MOST_UPLOADS = 1024;
/**
 * The maximum number of calls with `signal`, `onStdout` or `onStderr` and of processes that such calls started, of one
 * client and of all.
 */
export const MOST_LIVE_OF_ONE = 1024;
export const MOST_LIVE = 4096;
/** The calls that can have these options. */
const LIVE: ReadonlySet<string> = new Set([
  "exec",
  "execFile",
  "spawn",
  "vmFetch",
  "waitForPort",
  "waitForIdle",
  "waitForOutput",
  "readScreen",
  "handleReadScreen",
  "waitForScreen",
]);
/** The calls that only wait: nobody needs them any more once their client has left. */
const WAITS: ReadonlySet<string> = new Set([
  "waitForPort",
  "waitForIdle",
  "waitForOutput",
  "readScreen",
  "handleReadScreen",
  "waitForScreen",
  "waitProcess",
  "waitProcessExit",
  "waitShell",
  "waitShellExit",
  "handleWait",
  "watchOpen",
  "watchTake",
]);
/** How long an answer, or an unfinished upload, is kept for its client. */
export const KEPT_MS = 60_000;
/** How many calls one request may report as received. */
const MOST_DONE = 1024;
/** The form of clients' names and call ids. Clients choose them and they are used as keys, so they must be short. */
const ID = /^[A-Za-z0-9_-]{8,64}$/;

/** What a call is run with. */
export interface Carried {
  /** Counts the memory for what the call reads. */
  readonly claim: Claim;
  /** Aborts when nobody waits for the call any longer, or when the client aborts it. */
  readonly signal?: AbortSignal | undefined;
  /** The signal and output that the client follows while the call runs. */
  readonly live?: Live | undefined;
  /** Whether the client is ours, which makes handles of what spawn and openShell return. */
  readonly handles?: boolean;
  /** The same object for all calls of one client. */
  readonly client?: object;
}

/** The method that resolves to the output of a process or shell. */
export const OUTPUT = "handleOutput";

/** Runs a call. */
export type Run = (method: string, args: unknown[], carried: Carried) => Promise<unknown>;
/** How long rivetkit lets an action run by default. */
export const ACTION_MS = 60_000;

/** A connection of a client. A single HTTP request counts as a connection too. */
export interface Connection {
  readonly id: string;
  /** A call may arrive after its connection has closed. */
  readonly isOpen: () => boolean;
}

export class Calls {
  readonly #incarnation: string;
  readonly #run: Run;
  /**
   * By `named()` for a client that has given its name, which only it knows, or by `unnamed()` for a connection without
   * one.
   */
  readonly #clients = new Map<string, Client>();
  readonly #clientOf = new Map<string, string>();
  #calls = 0;
  #lives = 0;
  readonly #plain: PlainCalls;
  /** For calls without a connection. */
  readonly #unconnected = new Share();
  #sweeper: NodeJS.Timeout | undefined;
  /** How long one action waits for its call. */
  readonly #holdMs: number;

  /** `actionMs` is rivetkit's actionTimeout. */
  constructor(incarnation: string, run: Run, actionMs = ACTION_MS) {
    this.#incarnation = incarnation;
    this.#run = run;
    this.#plain = new PlainCalls(actionMs);
    this.#holdMs = Math.min(HOLD_MS, Math.floor(actionMs / 2));
  }

  /** A client gives its name, and so gets back the calls that it began over an earlier connection. */
  hello(connection: Connection, name: unknown): void {
    if (name === undefined) return;
    check(isId(name));
    const known = this.#clientOf.get(connection.id);
    check(known === undefined || known === named(name));
    this.#client(connection, named(name));
    this.#clientOf.set(connection.id, named(name));
  }

  /**
   * A connection has closed. Drops the calls that only it could fetch, and the uploads, which a client begins again.
   */
  closed(connection: string): void {
    this.#plain.closed(connection);
    const name = this.#clientOf.get(connection);
    this.#clientOf.delete(connection);
    const known = name === undefined ? undefined : this.#clients.get(name);
    if (known?.connections.delete(connection) && known.connections.size === 0) {
      known.left = Date.now();
      for (const id of [...known.uploads.keys()]) drop(known, id);
      this.#sweep();
    }
    // A client without a name cannot come back.
    const client = this.#clients.get(unnamed(connection));
    if (client) this.#leave(unnamed(connection), client);
  }

  /**
   * Runs a call by rivetkit's plain client as a single action. `deliver` converts the result for the client. A call
   * that loses its place (see PlainCalls) is aborted; if it cannot be aborted, its bytes count until it ends.
   */
  async plain(
    connection: Connection | undefined,
    method: string,
    args: unknown[],
    deliver: (result: unknown) => unknown,
  ): Promise<unknown> {
    const client = connection && this.#client(connection);
    const claim = new Claim(client?.share ?? this.#unconnected);
    const call = this.#plain.begin(connection?.id ?? "");
    let work: Promise<unknown> = Promise.resolve();
    try {
      claim.take(OVERHEAD + encodedSize(args, CALL_BYTES));
      work = this.#run(method, args, { claim, signal: call.signal, client: client ?? this.#unconnected });
      return deliver(await call.outcome(work));
    } finally {
      call.end();
      const release = (): void => claim.release();
      work.then(release, release);
    }
  }

  /** Starts a call, or joins it if it was already started before its client lost the connection. */
  async begin(connection: Connection, request: Begin): Promise<Answer> {
    check(typeof request === "object" && request !== null);
    const { id, method, args, incarnation, after, done } = request;
    const parts = liveParts(request);
    check(isId(id) && typeof method === "string" && Array.isArray(done) && done.length <= MOST_DONE);
    check(after === undefined || isId(after));
    const client = this.#client(connection);
    for (const over of done) this.#forget(client, over);
    if (incarnation !== this.#incarnation) return { state: "stale", incarnation: this.#incarnation };
    if (!client.calls.has(id)) {
      // The call was aborted, or has arrived a second time, very late.
      if (client.over.has(id)) throw failure("LIMIT_EXCEEDED", lateMessage);
      refuseCycle(client, id, after);
      this.#admit(client);
      const claim = new Claim(client.share);
      try {
        const list = Array.isArray(args) ? inline(args, claim) : assemble(client, id, args, claim);
        if (!list) {
          claim.release();
          return { state: "incomplete" };
        }
        this.#start(client, id, method, list, after, claim, parts && this.#newLive(client, id, method, parts));
      } catch (error) {
        claim.release();
        throw error;
      }
    }
    if (parts?.stdout || parts?.stderr) return { state: "pending" };
    return this.#answer(client, id);
  }

  /** Continues to wait for a pending call. */
  async follow(connection: Connection, id: string, incarnation: string): Promise<Answer> {
    check(isId(id));
    if (incarnation !== this.#incarnation) return { state: "stale", incarnation: this.#incarnation };
    return this.#answer(this.#client(connection), id);
  }

  part(connection: Connection, id: string, index: number, text: string): void {
    check(isId(id) && typeof text === "string" && text.length > 0 && text.length <= Math.ceil(PART_BYTES / 3) * 4);
    check(Number.isInteger(index) && index >= 0 && index * PART_BYTES < CALL_BYTES);
    const client = this.#client(connection);
    const upload = client.uploads.get(id) ?? this.#newUpload(client, id);
    upload.touched = Date.now();
    if (upload.parts.has(index)) return;
    const bytes = fromBase64(text);
    check(bytes.byteLength > 0 && bytes.byteLength <= PART_BYTES);
    if (bytes.byteLength < PART_BYTES) {
      check(upload.short === undefined);
      upload.short = index;
    }
    if (upload.bytes + bytes.byteLength > CALL_BYTES) {
      drop(client, id);
      throw failure("LIMIT_EXCEEDED", `The arguments of one call are at most ${CALL_BYTES} bytes`);
    }
    try {
      upload.claim.take(bytes.byteLength + OVERHEAD);
    } catch (error) {
      drop(client, id);
      throw error;
    }
    upload.bytes += bytes.byteLength;
    upload.parts.set(index, bytes);
  }

  /** Returns PIECE_BYTES of a large result, or the rest of it. */
  async piece(connection: Connection, id: string, at: number): Promise<string> {
    check(isId(id) && Number.isSafeInteger(at) && at >= 0);
    const call = this.#client(connection).calls.get(id);
    // Does not wait for a result: the client asks for pieces only after it has got the length.
    const outcome = call?.settled ? await call.outcome : undefined;
    if (!call || !outcome || !("bytes" in outcome)) throw failure("LIMIT_EXCEEDED", lateMessage);
    call.touched = Date.now();
    return toBase64(outcome.bytes.subarray(at, at + PIECE_BYTES));
  }

  /** Returns the output of a followed call, from the byte `after` on. */
  async take(connection: Connection, id: string, incarnation: string, after: number): Promise<Taken> {
    check(isId(id) && Number.isSafeInteger(after) && after >= 0);
    if (incarnation !== this.#incarnation) return { state: "stale", incarnation: this.#incarnation };
    const client = this.#client(connection);
    // A client that reads the output asks for the answer only after the last output.
    const call = client.calls.get(id);
    if (call) call.touched = Date.now();
    const live = client.lives.get(id);
    if (!live) return { state: "taken", chunks: [], next: after, end: true };
    const taken = await live.take(after, this.#holdMs);
    if (taken.state === "taken" && taken.end) this.#dropLive(client, id, live);
    return taken;
  }

  /** Takes output of a process or shell for a handle, from a reading that the first such request begins. */
  async read(connection: Connection, id: string, incarnation: string, request: ReadRequest): Promise<Read> {
    check(isId(id) && typeof request === "object" && request !== null);
    const { of, streams, after } = request;
    check(Number.isSafeInteger(after) && after >= 0 && typeof of === "object" && of !== null);
    check(Array.isArray(streams) && streams.length > 0 && streams.length <= 2);
    check(new Set(streams).size === streams.length && streams.every((kind) => kind === STDOUT || kind === STDERR));
    if (incarnation !== this.#incarnation) return { state: "stale", incarnation: this.#incarnation };
    const client = this.#client(connection);
    const claim = new Claim(client.share);
    const output = async (): Promise<LocalOutput> =>
      (await this.#run(OUTPUT, [of], { claim, handles: true })) as LocalOutput;
    const names = streams.map((kind) => (kind === STDERR ? "stderr" : "stdout"));
    try {
      return await client.readings.take(id, output, names, after, this.#holdMs);
    } finally {
      // The client has left meanwhile.
      if (client.gone) client.readings.drop();
      this.#sweep();
    }
  }

  unread(connection: Connection, id: string): void {
    check(isId(id));
    this.#client(connection).readings.end(id);
  }

  /** The client's signal has aborted. A call that has not arrived yet will not start. */
  abort(connection: Connection, id: string, incarnation: string): void {
    check(isId(id));
    if (incarnation !== this.#incarnation) return;
    const client = this.#client(connection);
    const live = client.lives.get(id);
    if (live) live.abort();
    else if (!client.calls.has(id)) over(client, id);
  }

  stop(): void {
    clearInterval(this.#sweeper);
    this.#sweeper = undefined;
    this.#plain.stop();
    for (const [name, client] of this.#clients) this.#leave(name, client);
    this.#clientOf.clear();
  }

  #client({ id, isOpen }: Connection, name = this.#clientOf.get(id) ?? unnamed(id)): Client {
    let client = this.#clients.get(name);
    if (client?.connections.has(id)) return client;
    // The end of the connection has been handled already, so nothing would clean up later.
    if (!isOpen()) throw failure("VM_DISPOSED", "The connection has closed");
    if (!client) this.#clients.set(name, (client = new Client(this)));
    client.connections.add(id);
    return client;
  }

  /**
   * Drops everything kept for a client. Its running calls continue, and count until they end because the server holds
   * their arguments.
   */
  #leave(name: string, client: Client): void {
    client.gone = true;
    client.readings.drop();
    for (const id of [...client.uploads.keys()]) drop(client, id);
    for (const [id, live] of client.lives) this.#dropLive(client, id, live);
    for (const call of client.calls.values()) {
      if (call.settled) this.#end(call);
      else call.leave?.abort(failure("VM_DISPOSED", "The connection has closed"));
    }
    client.calls.clear();
    this.#clients.delete(name);
  }

  /** Removes a call that has settled and whose answer is no longer kept. */
  #end(call: Call): void {
    this.#calls--;
    call.claim.release();
  }

  #admit(client: Client): void {
    if (client.calls.size >= MOST_CALLS_OF_ONE) {
      throw failure("LIMIT_EXCEEDED", `One client has at most ${MOST_CALLS_OF_ONE} calls under way in an actor`);
    }
    if (this.#calls < MOST_CALLS) return;
    if (client.calls.size >= ALWAYS_CALLS || this.#calls >= MOST_CALLS + RESERVE_CALLS) {
      throw failure("LIMIT_EXCEEDED", `An actor has at most ${MOST_CALLS} calls of its clients under way`);
    }
  }

  #newUpload(client: Client, id: string): Upload {
    if (client.uploads.size >= MOST_UPLOADS) {
      throw failure("LIMIT_EXCEEDED", `One client has at most ${MOST_UPLOADS} calls whose arguments are under way`);
    }
    const claim = new Claim(client.share);
    claim.take(OVERHEAD);
    const upload: Upload = { parts: new Map(), short: undefined, bytes: 0, claim, touched: Date.now() };
    client.uploads.set(id, upload);
    this.#sweep();
    return upload;
  }

  #newLive(client: Client, id: string, method: string, parts: LiveParts): Live {
    check(LIVE.has(method));
    // Left from an earlier attempt that could not start the call.
    const before = client.lives.get(id);
    if (before) this.#dropLive(client, id, before);
    if (client.lives.size >= MOST_LIVE_OF_ONE || this.#lives >= MOST_LIVE) {
      const message = `One client follows at most ${MOST_LIVE_OF_ONE} calls and processes with signal, onStdout or onStderr, and an actor has at most ${MOST_LIVE} of them`;
      throw failure("LIMIT_EXCEEDED", message);
    }
    const claim = new Claim(client.share);
    claim.take(OVERHEAD);
    const live = new Live(parts, claim, { oldestGoes: method === "spawn" });
    client.lives.set(id, live);
    this.#lives++;
    return live;
  }

  #dropLive(client: Client, id: string, live: Live): void {
    if (client.lives.get(id) !== live) return;
    client.lives.delete(id);
    this.#lives--;
    live.drop();
  }

  #start(
    client: Client,
    id: string,
    method: string,
    args: unknown[],
    after: string | undefined,
    claim: Claim,
    live: Live | undefined,
  ): void {
    let begun: () => void = () => {};
    const held = claim.bytes;
    const leave = WAITS.has(method) ? new AbortController() : undefined;
    const signals = [live?.signal, leave?.signal].filter((each) => each !== undefined);
    const signal = signals.length > 1 ? AbortSignal.any(signals) : signals[0];
    const call: Call = {
      started: new Promise((resolve) => (begun = resolve)),
      waitsFor: after,
      settled: false,
      waiting: new Set(),
      claim,
      leave,
      touched: Date.now(),
      outcome: turn(client, after, this.#holdMs)
        .then(() => {
          call.waitsFor = undefined;
          const running = this.#run(method, args, { claim, live, signal, handles: true, client });
          begun();
          return running;
        })
        .then((value) => {
          // The arguments are no longer needed. The value was counted while it was read, and is now counted once more
          // by its size.
          const size = encodedSize(value, INLINE_RESULT);
          claim.set(Math.max(claim.bytes - held, OVERHEAD));
          if (size <= INLINE_RESULT) {
            claim.set(OVERHEAD + size);
            return { value };
          }
          const bytes = encoded(value);
          claim.set(OVERHEAD + bytes.byteLength);
          return { bytes };
        })
        .catch((error: unknown) => {
          claim.set(OVERHEAD);
          return { error };
        })
        .finally(() => {
          call.settled = true;
          live?.settled();
          call.touched = Date.now();
          for (const done of [...call.waiting]) done();
          if (client.gone) this.#end(call);
        }),
    };
    client.calls.set(id, call);
    this.#calls++;
    client.waiting.get(id)?.();
    this.#sweep();
  }

  async #answer(client: Client, id: string): Promise<Answer> {
    const call = client.calls.get(id);
    if (!call) throw failure("LIMIT_EXCEEDED", lateMessage);
    if (!call.settled) await settledOrLate(call, this.#holdMs);
    if (!call.settled) return { state: "pending" };
    const outcome = await call.outcome;
    call.touched = Date.now();
    if ("error" in outcome) throw outcome.error;
    if ("value" in outcome) return { state: "done", value: outcome.value };
    return { state: "large", bytes: outcome.bytes.byteLength };
  }

  #forget(client: Client, id: string): void {
    const call = client.calls.get(id);
    if (!call?.settled) return;
    client.calls.delete(id);
    this.#end(call);
    over(client, id);
    const live = client.lives.get(id);
    if (live && !live.outlives) this.#dropLive(client, id, live);
  }

  #sweep(): void {
    this.#sweeper ??= setInterval(() => {
      const before = Date.now() - KEPT_MS;
      for (const [name, client] of this.#clients) {
        for (const [id, call] of client.calls) if (call.touched < before) this.#forget(client, id);
        for (const [id, upload] of client.uploads) if (upload.touched < before) drop(client, id);
        for (const [id, live] of client.lives) {
          if (live.ended && live.touched < before) this.#dropLive(client, id, live);
        }
        client.readings.sweep(before);
        // The client is taken for gone; nobody will fetch the answers of its running calls.
        if (client.connections.size === 0 && client.left < before) this.#leave(name, client);
      }
      for (const { calls, uploads, lives, readings, connections } of this.#clients.values()) {
        if (calls.size + uploads.size + lives.size + readings.size > 0 || connections.size === 0) return;
      }
      clearInterval(this.#sweeper);
      this.#sweeper = undefined;
    }, KEPT_MS / 4).unref();
  }
}

const lateMessage = `The result of a call is kept for ${KEPT_MS / 1000} s after it was last asked for, and no longer`;

function liveParts({ live }: Begin): LiveParts | undefined {
  if (live === undefined || live === null) return undefined;
  check(typeof live === "object");
  const { signal, stdout, stderr } = live;
  for (const part of [signal, stdout, stderr]) check(typeof part === "boolean");
  return { signal, stdout, stderr };
}

/** Clients choose their names, and rivetkit the ids of connections. The prefixes keep the two kinds of keys apart. */
const named = (name: string): string => `name:${name}`;
const unnamed = (connection: string): string => `connection:${connection}`;

function isId(id: unknown): id is string {
  return typeof id === "string" && ID.test(id);
}
