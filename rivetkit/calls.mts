// The actor's half of carrying calls for our client: arguments that come up in parts, calls that take longer than one
// action may, results that are fetched in pieces, and answers kept until the client has them. Each client has its own
// calls: an id that another client has used means nothing to it.
import { Claim, Share } from "./budget.mjs";
import { failure } from "./errors.mjs";
import { Live } from "./live.mjs";
import { PlainCalls } from "./plain.mjs";
import {
  type Answer,
  type Begin,
  CALL_BYTES,
  HOLD_MS,
  INLINE_RESULT,
  type LiveParts,
  MOST_ARGUMENT_VALUES,
  NotEncoded,
  PART_BYTES,
  PIECE_BYTES,
  type Taken,
  TooLarge,
  decode,
  encode,
  encodedSize,
  fromBase64,
  toBase64,
} from "./wire.mjs";

/** Calls under way, and answers kept, of one client and of all: past it new calls are refused. */
export const MOST_CALLS_OF_ONE = 2048;
export const MOST_CALLS = 4096;
/** What each client may have even while others have all of those, and what there is for that. */
const ALWAYS_CALLS = 16;
const RESERVE_CALLS = 1024;
/** Uploads that have begun and whose call has not, of one client. */
export const MOST_UPLOADS = 1024;
/** Calls that a client follows (`signal`, `onStdout`, `onStderr`), and processes that such a call has started: of one client and of all. */
export const MOST_LIVE_OF_ONE = 1024;
export const MOST_LIVE = 4096;
/** Calls whose options may have these. */
const LIVE: ReadonlySet<string> = new Set(["exec", "execFile", "spawn", "vmFetch"]);
/** How long an answer, or an upload that does not go on, waits for its client. */
export const KEPT_MS = 60_000;
/** Ids remembered of a client's calls that are no longer kept. */
const MOST_OVER = 2048;
/** Requests that wait for one call at a time; a client has one, and one more after a lost connection. */
const MOST_WAITING = 4;
/** The most calls that one request says to have arrived. */
const MOST_DONE = 1024;
/** What a call, a part of an upload, or an upload is counted as beside its bytes. */
const OVERHEAD = 1024;
/** Clients, and their call ids, as they name themselves; they are keys here, so they are short. */
const ID = /^[A-Za-z0-9_-]{8,64}$/;

/** What a call is made with. */
export interface Carried {
  /** Counts what the call reads. */
  readonly claim: Claim;
  /** Aborts when nobody waits for the call any longer, or the client asks for it. */
  readonly signal?: AbortSignal | undefined;
  /** What the client follows while the call runs. */
  readonly live?: Live | undefined;
}

/** Does what a call is for. */
export type Run = (method: string, args: unknown[], carried: Carried) => Promise<unknown>;
/** How long rivetkit lets an action run by default. */
export const ACTION_MS = 60_000;

interface Call {
  /** Resolves when the call is with the VM. */
  started: Promise<void>;
  /** The call that it waits for before it starts. */
  waitsFor: string | undefined;
  settled: boolean;
  /** What ends the waiting of each request that waits for it. A race with the outcome would add to the outcome each time. */
  readonly waiting: Set<() => void>;
  outcome: Promise<{ value: unknown } | { bytes: Uint8Array } | { error: unknown }>;
  readonly claim: Claim;
  touched: number;
}

interface Upload {
  readonly parts: Map<number, Uint8Array>;
  /** All parts but the last are of one size. */
  short: number | undefined;
  bytes: number;
  readonly claim: Claim;
  touched: number;
}

/** A connection of a client's. Those of single HTTP requests are connections, too. */
export interface Connection {
  readonly id: string;
  /** A call may be handed over after its connection has closed. */
  readonly isOpen: () => boolean;
}

/** What one client has here. */
class Client {
  readonly share = new Share();
  readonly connections = new Set<string>();
  readonly calls = new Map<string, Call>();
  /** Who waits for a call that has not come yet: at most one each, for a call has one successor. */
  readonly waiting = new Map<string, () => void>();
  readonly uploads = new Map<string, Upload>();
  /** What is live in its calls, and in processes that these have started. */
  readonly lives = new Map<string, Live>();
  /** Calls answered and forgotten, or aborted before they came: one that comes after them, late, has nothing to wait for. */
  readonly over = new Set<string>();
  /** When its last connection closed. */
  left = 0;
  /** Whether it has left: nobody gets the answers of what still runs for it. */
  gone = false;
}

export class Calls {
  readonly #incarnation: string;
  readonly #run: Run;
  /** By named(), the name that only the client itself knows, or by unnamed(), its connection where it has given none. */
  readonly #clients = new Map<string, Client>();
  readonly #clientOf = new Map<string, string>();
  #calls = 0;
  #lives = 0;
  readonly #plain: PlainCalls;
  /** For calls that no connection has brought. */
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

  /** The client says who it is: what it began over an earlier connection is its own. */
  hello(connection: Connection, name: unknown): void {
    if (name === undefined) return;
    check(isId(name));
    const known = this.#clientOf.get(connection.id);
    check(known === undefined || known === named(name));
    this.#client(connection, named(name));
    this.#clientOf.set(connection.id, named(name));
  }

  /** The connection has closed: what only it could ask for goes, and so do uploads, which a client starts again. */
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
   * A call by rivetkit's plain client, whose one action it is. `deliver` makes the result what the client gets. A call that
   * loses its place (see PlainCalls) is aborted; what cannot be aborted counts in bytes until it is over.
   */
  async plain(
    connection: Connection | undefined,
    method: string,
    args: unknown[],
    deliver: (result: unknown) => unknown,
  ): Promise<unknown> {
    const claim = new Claim(connection ? this.#client(connection).share : this.#unconnected);
    const call = this.#plain.begin(connection?.id ?? "");
    let work: Promise<unknown> = Promise.resolve();
    try {
      claim.take(OVERHEAD + encodedSize(args, CALL_BYTES));
      work = this.#run(method, args, { claim, signal: call.signal });
      return deliver(await call.outcome(work));
    } finally {
      call.end();
      const release = (): void => claim.release();
      work.then(release, release);
    }
  }

  /** Starts a call, or joins it if it was started before its client lost its connection. */
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
      // It was aborted, or has come twice and very late.
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

  /** Waits on for a call that was pending. */
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

  /** PIECE_BYTES of a large result, or what is left of it. */
  async piece(connection: Connection, id: string, at: number): Promise<string> {
    check(isId(id) && Number.isSafeInteger(at) && at >= 0);
    const call = this.#client(connection).calls.get(id);
    // One that has no result yet is not waited for: the client asks for pieces of what it knows the length of.
    const outcome = call?.settled ? await call.outcome : undefined;
    if (!call || !outcome || !("bytes" in outcome)) throw failure("LIMIT_EXCEEDED", lateMessage);
    call.touched = Date.now();
    return toBase64(outcome.bytes.subarray(at, at + PIECE_BYTES));
  }

  /** Output of a call that the client follows, from the byte `after` on. */
  async take(connection: Connection, id: string, incarnation: string, after: number): Promise<Taken> {
    check(isId(id) && Number.isSafeInteger(after) && after >= 0);
    if (incarnation !== this.#incarnation) return { state: "stale", incarnation: this.#incarnation };
    const client = this.#client(connection);
    // Who takes the output asks for the answer only after it.
    const call = client.calls.get(id);
    if (call) call.touched = Date.now();
    const live = client.lives.get(id);
    if (!live) return { state: "taken", chunks: [], next: after, end: true };
    const taken = await live.take(after, this.#holdMs);
    if (taken.state === "taken" && taken.end) this.#dropLive(client, id, live);
    return taken;
  }

  /** The client's signal has aborted. A call that has not come yet does not start. */
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
    // Its end has been dealt with: nothing would take away what is made for it now.
    if (!isOpen()) throw failure("VM_DISPOSED", "The connection has closed");
    if (!client) this.#clients.set(name, (client = new Client()));
    client.connections.add(id);
    return client;
  }

  /** Nothing is kept for it any more. What runs for it runs on, and counts until it is over: the server holds its arguments. */
  #leave(name: string, client: Client): void {
    client.gone = true;
    for (const id of [...client.uploads.keys()]) drop(client, id);
    for (const [id, live] of client.lives) this.#dropLive(client, id, live);
    for (const call of client.calls.values()) if (call.settled) this.#end(call);
    client.calls.clear();
    this.#clients.delete(name);
  }

  /** A call has settled and its answer is kept no longer. */
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
    // One whose call could not be started in an earlier try.
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
    const call: Call = {
      started: new Promise((resolve) => (begun = resolve)),
      waitsFor: after,
      settled: false,
      waiting: new Set(),
      claim,
      touched: Date.now(),
      outcome: turn(client, after, this.#holdMs)
        .then(() => {
          call.waitsFor = undefined;
          const running = this.#run(method, args, { claim, live, signal: live?.signal });
          begun();
          return running;
        })
        .then((value) => {
          // The arguments are no longer needed. What was counted of the value while it was read is counted once more.
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
        // It may not come back; what still runs for it has nobody to answer.
        if (client.connections.size === 0 && client.left < before) this.#leave(name, client);
      }
      for (const { calls, uploads, lives, connections } of this.#clients.values()) {
        if (calls.size > 0 || uploads.size > 0 || lives.size > 0 || connections.size === 0) return;
      }
      clearInterval(this.#sweeper);
      this.#sweeper = undefined;
    }, KEPT_MS / 4).unref();
  }
}

const lateMessage = `The result of a call is kept for ${KEPT_MS / 1000} s after it was last asked for, and no longer`;

/** Resolves when the call has settled, or as late as one action may take; earlier if too many wait for it. */
function settledOrLate({ waiting }: Call, holdMs: number): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      waiting.delete(done);
      resolve();
    };
    const timer = setTimeout(done, holdMs);
    const [first] = waiting;
    if (waiting.size >= MOST_WAITING) first?.();
    waiting.add(done);
  });
}

/** Resolves when the call before is with the VM, or has not come for as long as one action may take. */
async function turn(client: Client, after: string | undefined, holdMs: number): Promise<void> {
  if (after === undefined || client.over.has(after)) return;
  if (!client.calls.has(after)) {
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      client.waiting.set(after, resolve);
      timer = setTimeout(resolve, holdMs);
    });
    clearTimeout(timer);
    client.waiting.delete(after);
  }
  await client.calls.get(after)?.started;
}

/** A call that comes after itself, also by way of others that have not started, never would. */
function refuseCycle(client: Client, id: string, after: string | undefined): void {
  for (let before = after; before !== undefined; before = client.calls.get(before)?.waitsFor) {
    if (before === id) throw failure("INVALID_ARGUMENT", "after must name a call that came before, not one that waits");
  }
}

/** Arguments that came with the request, counted like all others. */
function inline(args: unknown[], claim: Claim): unknown[] {
  claim.take(OVERHEAD + encodedSize(args, CALL_BYTES));
  return args;
}

function assemble(client: Client, id: string, count: number, claim: Claim): unknown[] | undefined {
  const upload = client.uploads.get(id);
  if (!upload || count < 1 || upload.parts.size !== count) return undefined;
  check(upload.short === undefined || upload.short === count - 1);
  const all = new Uint8Array(upload.bytes);
  for (let index = 0; index < count; index++) {
    const part = upload.parts.get(index);
    if (!part) return undefined;
    all.set(part, index * PART_BYTES);
  }
  drop(client, id);
  claim.take(OVERHEAD + all.byteLength);
  try {
    const args = decode(all, { mostValues: MOST_ARGUMENT_VALUES, bare: true });
    check(Array.isArray(args));
    return args as unknown[];
  } catch (error) {
    if (error instanceof NotEncoded) throw failure("INVALID_ARGUMENT", error.message);
    throw error;
  }
}

function encoded(value: unknown): Uint8Array {
  try {
    return encode(value);
  } catch (error) {
    if (error instanceof TooLarge) throw failure("LIMIT_EXCEEDED", error.message);
    throw error;
  }
}

/** Remembers that the call is over. */
function over(client: Client, id: string): void {
  client.over.add(id);
  for (const oldest of client.over) {
    if (client.over.size <= MOST_OVER) break;
    client.over.delete(oldest);
  }
}

function liveParts({ live }: Begin): LiveParts | undefined {
  if (live === undefined || live === null) return undefined;
  check(typeof live === "object");
  const { signal, stdout, stderr } = live;
  for (const part of [signal, stdout, stderr]) check(typeof part === "boolean");
  return { signal, stdout, stderr };
}

function drop(client: Client, id: string): void {
  client.uploads.get(id)?.claim.release();
  client.uploads.delete(id);
}

/** Clients choose their names, and rivetkit the ids of connections: as keys, neither can be the other's. */
const named = (name: string): string => `name:${name}`;
const unnamed = (connection: string): string => `connection:${connection}`;

function isId(id: unknown): id is string {
  return typeof id === "string" && ID.test(id);
}

/** Only our own client speaks this: what does not fit was not sent by it. */
function check(fits: unknown): asserts fits {
  if (!fits) throw failure("INVALID_ARGUMENT", "This is no request of agent-vm's client");
}
