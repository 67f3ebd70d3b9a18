// The actor's half of carrying calls for our client: arguments that come up in parts, calls that take longer than one
// action may, results that are fetched in pieces, and answers kept until the client has them.
import { failure } from "./errors.mjs";
import {
  type Answer,
  type Begin,
  CALL_BYTES,
  HOLD_MS,
  INLINE_RESULT,
  PART_BYTES,
  PIECE_BYTES,
  decode,
  encode,
  encodedSize,
  fromBase64,
  toBase64,
} from "./wire.mjs";

/** Calls under way, and answers kept: past it new calls are refused. */
const MOST_CALLS = 4096;
/** Everything that uploads and kept results hold together: past it uploads and large results are refused. */
const MOST_BYTES = 2 * CALL_BYTES;
/** How long an answer, or an upload that does not go on, waits for its client. */
const KEPT_MS = 60_000;
/** Ids remembered of calls that are no longer kept. */
const MOST_OVER = 4096;
/** A client's call ids; they are keys here, so they are short. */
const ID = /^[A-Za-z0-9_-]{8,64}$/;

interface Call {
  /** Resolves when the call is with the VM. */
  started: Promise<void>;
  settled: boolean;
  outcome: Promise<{ value: unknown } | { bytes: Uint8Array } | { error: unknown }>;
  held: number;
  touched: number;
}

interface Upload {
  parts: Map<number, Uint8Array>;
  held: number;
  touched: number;
}

export class Calls {
  readonly #incarnation: string;
  readonly #run: (method: string, args: unknown[]) => Promise<unknown>;
  readonly #calls = new Map<string, Call>();
  /** Who waits for a call that has not come yet: at most one each, for a call has one successor. */
  readonly #waiting = new Map<string, () => void>();
  readonly #uploads = new Map<string, Upload>();
  /** Calls answered and forgotten: one that comes after them, late, has nothing to wait for. */
  readonly #over = new Set<string>();
  #held = 0;
  #sweeper: NodeJS.Timeout | undefined;

  constructor(incarnation: string, run: (method: string, args: unknown[]) => Promise<unknown>) {
    this.#incarnation = incarnation;
    this.#run = run;
  }

  /** Starts a call, or joins it if it was started before its client lost its connection. */
  async begin(request: Begin): Promise<Answer> {
    const { id, method, args, incarnation, after, done } = request;
    check(typeof id === "string" && ID.test(id) && Array.isArray(done));
    check(after === undefined || typeof after === "string");
    for (const over of done) this.#forget(over);
    if (incarnation !== this.#incarnation) return { state: "stale", incarnation: this.#incarnation };
    if (!this.#calls.has(id)) {
      const list = Array.isArray(args) ? args : this.#assemble(id, args);
      if (!list) return { state: "incomplete" };
      if (this.#calls.size >= MOST_CALLS) {
        throw failure("LIMIT_EXCEEDED", `An actor keeps at most ${MOST_CALLS} calls of its clients under way`);
      }
      this.#start(id, method, list, after);
    }
    return this.#answer(id);
  }

  /** Waits on for a call that was pending. */
  async follow(id: string, incarnation: string): Promise<Answer> {
    if (incarnation !== this.#incarnation) return { state: "stale", incarnation: this.#incarnation };
    return this.#answer(id);
  }

  part(id: string, index: number, text: string): void {
    check(typeof id === "string" && ID.test(id) && typeof text === "string");
    check(Number.isInteger(index) && index >= 0 && index * PART_BYTES < CALL_BYTES + PART_BYTES);
    const upload = this.#uploads.get(id) ?? { parts: new Map<number, Uint8Array>(), held: 0, touched: 0 };
    this.#uploads.set(id, upload);
    upload.touched = Date.now();
    if (upload.parts.has(index)) return;
    const bytes = fromBase64(text);
    if (upload.held + bytes.byteLength > CALL_BYTES) {
      this.#drop(id);
      throw failure("LIMIT_EXCEEDED", `The arguments of one call are at most ${CALL_BYTES} bytes`);
    }
    this.#take(bytes.byteLength);
    upload.held += bytes.byteLength;
    upload.parts.set(index, bytes);
  }

  /** PIECE_BYTES of a large result, or what is left of it. */
  async piece(id: string, at: number): Promise<string> {
    const call = this.#calls.get(id);
    const outcome = await call?.outcome;
    if (!call || !outcome || !("bytes" in outcome)) throw failure("LIMIT_EXCEEDED", lateMessage);
    call.touched = Date.now();
    return toBase64(outcome.bytes.subarray(at, at + PIECE_BYTES));
  }

  stop(): void {
    clearInterval(this.#sweeper);
    this.#sweeper = undefined;
    this.#calls.clear();
    this.#uploads.clear();
    this.#held = 0;
  }

  #start(id: string, method: string, args: unknown[], after: string | undefined): void {
    let begun: () => void = () => {};
    const call: Call = {
      started: new Promise((resolve) => (begun = resolve)),
      settled: false,
      held: 0,
      touched: Date.now(),
      outcome: this.#turn(after)
        .then(() => {
          const running = this.#run(method, args);
          begun();
          return running;
        })
        .then((value) => {
          if (encodedSize(value, INLINE_RESULT) <= INLINE_RESULT) return { value };
          const bytes = encode(value);
          if (bytes.byteLength > CALL_BYTES) {
            throw failure("LIMIT_EXCEEDED", `The result of one call is at most ${CALL_BYTES} bytes`);
          }
          this.#take(bytes.byteLength);
          call.held = bytes.byteLength;
          return { bytes };
        })
        .catch((error: unknown) => ({ error }))
        .finally(() => {
          call.settled = true;
          call.touched = Date.now();
        }),
    };
    this.#calls.set(id, call);
    this.#waiting.get(id)?.();
    this.#sweep();
  }

  /** Resolves when the call before is with the VM, or has not come for as long as one action may take. */
  async #turn(after: string | undefined): Promise<void> {
    if (after === undefined || this.#over.has(after)) return;
    if (!this.#calls.has(after)) {
      let timer: NodeJS.Timeout | undefined;
      await new Promise<void>((resolve) => {
        this.#waiting.set(after, resolve);
        timer = setTimeout(resolve, HOLD_MS);
      });
      clearTimeout(timer);
      this.#waiting.delete(after);
    }
    await this.#calls.get(after)?.started;
  }

  async #answer(id: string): Promise<Answer> {
    const call = this.#calls.get(id);
    if (!call) throw failure("LIMIT_EXCEEDED", lateMessage);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<undefined>((resolve) => (timer = setTimeout(resolve, HOLD_MS, undefined)));
    const outcome = await Promise.race([call.outcome, late]);
    clearTimeout(timer);
    if (!outcome) return { state: "pending" };
    call.touched = Date.now();
    if ("error" in outcome) throw outcome.error;
    if ("value" in outcome) return { state: "done", value: outcome.value };
    return { state: "large", bytes: outcome.bytes.byteLength };
  }

  #assemble(id: string, count: number): unknown[] | undefined {
    const upload = this.#uploads.get(id);
    if (!upload || upload.parts.size !== count) return undefined;
    const ordered: Uint8Array[] = [];
    for (let index = 0; index < count; index++) {
      const part = upload.parts.get(index);
      if (!part) return undefined;
      ordered.push(part);
    }
    const args = decode(Buffer.concat(ordered, upload.held));
    this.#drop(id);
    check(Array.isArray(args));
    return args;
  }

  #take(bytes: number): void {
    if (this.#held + bytes > MOST_BYTES) {
      throw failure("LIMIT_EXCEEDED", `An actor holds at most ${MOST_BYTES} bytes of large arguments and results`);
    }
    this.#held += bytes;
    this.#sweep();
  }

  #forget(id: string): void {
    const call = this.#calls.get(id);
    if (!call?.settled) return;
    this.#calls.delete(id);
    this.#held -= call.held;
    this.#over.add(id);
    for (const oldest of this.#over) {
      if (this.#over.size <= MOST_OVER) break;
      this.#over.delete(oldest);
    }
  }

  #drop(id: string): void {
    this.#held -= this.#uploads.get(id)?.held ?? 0;
    this.#uploads.delete(id);
  }

  #sweep(): void {
    this.#sweeper ??= setInterval(() => {
      const before = Date.now() - KEPT_MS;
      for (const [id, call] of this.#calls) if (call.touched < before) this.#forget(id);
      for (const [id, upload] of this.#uploads) if (upload.touched < before) this.#drop(id);
      if (this.#calls.size > 0 || this.#uploads.size > 0) return;
      clearInterval(this.#sweeper);
      this.#sweeper = undefined;
    }, KEPT_MS / 4).unref();
  }
}

const lateMessage = `The result of a call is kept for ${KEPT_MS / 1000} s after it was last asked for, and no longer`;

/** Only our own client speaks this: what does not fit was not sent by it. */
function check(fits: unknown): asserts fits {
  if (!fits) throw failure("INVALID_ARGUMENT", "This is no request of agent-vm's client");
}
