// The actor's half of what is live in a call while it runs: its abort, and the chunks of output that its client has not
// taken yet. The client asks for them again after a lost connection, so that a chunk is kept until the client asks for
// what comes after it.
import type { Claim } from "./budget.mjs";
import { failure } from "./errors.mjs";
import { type LiveParts, PIECE_BYTES, STDERR, STDOUT, type Taken, toBase64 } from "./wire.mjs";

/** The most output of one call that its client has not taken. */
export const MOST_UNTAKEN = 64 * 1024 * 1024;
/** What a chunk is counted as beside its bytes. */
const OVERHEAD = 256;
/** The most chunks in one answer. */
const MOST_CHUNKS = 1024;

interface Chunk {
  readonly kind: typeof STDOUT | typeof STDERR;
  readonly data: Uint8Array;
  /** Bytes of the call's output before it. */
  readonly at: number;
}
type OnOutput = (data: Uint8Array) => void;

export class Live {
  /** Aborts when the client's signal does. */
  readonly signal: AbortSignal | undefined;
  readonly onStdout: OnOutput | undefined;
  readonly onStderr: OnOutput | undefined;
  readonly #controller = new AbortController();
  readonly #claim: Claim;
  readonly #oldestGoes: boolean;
  #chunks: Chunk[] = [];
  /** Those before it were taken, and their places are freed together. */
  #first = 0;
  #produced = 0;
  #untaken = 0;
  #outlives = false;
  #ended = false;
  #dropped = false;
  #waiting: (() => void) | undefined;
  /** When its client last asked for something. */
  touched = Date.now();

  /** `oldestGoes` says what happens to output that has no room: the oldest is dropped, or the writer gets an error. */
  constructor(parts: LiveParts, claim: Claim, { oldestGoes }: { oldestGoes: boolean }) {
    this.#claim = claim;
    this.#oldestGoes = oldestGoes;
    this.signal = parts.signal ? this.#controller.signal : undefined;
    this.onStdout = parts.stdout ? (data) => this.#push(STDOUT, data) : undefined;
    this.onStderr = parts.stderr ? (data) => this.#push(STDERR, data) : undefined;
  }

  /** Whether nothing comes any more. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Whether the output of a started process comes here, also after its call. */
  get outlives(): boolean {
    return this.#outlives;
  }

  /** The call has started a process, whose output comes until `end` settles. */
  outlive(end: Promise<unknown>): void {
    this.#outlives = true;
    const over = (): void => this.#end();
    end.then(over, over);
  }

  /** The call is over. */
  settled(): void {
    if (!this.#outlives) this.#end();
  }

  abort(): void {
    this.#controller.abort();
  }

  /** Nobody takes it any more. */
  drop(): void {
    this.#dropped = true;
    this.#chunks = [];
    this.#first = 0;
    this.#claim.release();
    this.#end();
  }

  /** What comes after the byte `after`, once there is something; what came before is given up. */
  async take(after: number, holdMs: number): Promise<Taken> {
    this.touched = Date.now();
    if (after > this.#produced) throw failure("INVALID_ARGUMENT", "This is no request of agent-vm's client");
    this.#giveUp((chunk) => chunk.at + chunk.data.byteLength <= after);
    if (this.#first === this.#chunks.length && !this.#ended) await this.#more(holdMs);
    this.touched = Date.now();
    const chunks: Extract<Taken, { state: "taken" }>["chunks"] = [];
    let next = after;
    let bytes = 0;
    for (const { kind, data, at } of this.#chunks.slice(this.#first, this.#first + MOST_CHUNKS)) {
      const fresh = data.subarray(Math.max(0, after - at));
      if (bytes > 0 && bytes + fresh.byteLength > PIECE_BYTES) break;
      bytes += fresh.byteLength;
      chunks.push([kind, toBase64(fresh)]);
      next = at + data.byteLength;
    }
    // An answer may be lost: it is the end only where the client has everything.
    return { state: "taken", chunks, next, end: this.#ended && chunks.length === 0 };
  }

  #push(kind: Chunk["kind"], data: Uint8Array): void {
    if (this.#dropped || this.#ended || data.byteLength === 0) return;
    const { byteLength } = data;
    if (this.#oldestGoes) this.#giveUp(() => this.#untaken + byteLength > MOST_UNTAKEN);
    else if (this.#untaken + byteLength > MOST_UNTAKEN) throw behind();
    for (;;) {
      try {
        this.#claim.take(byteLength + OVERHEAD);
        break;
      } catch (error) {
        if (!this.#oldestGoes) throw error;
        // There is room for less than the bound. With nothing left to give up, this chunk goes.
        if (this.#first === this.#chunks.length) {
          this.#produced += byteLength;
          return;
        }
        let given = 0;
        this.#giveUp(() => given++ === 0);
      }
    }
    this.#chunks.push({ kind, data, at: this.#produced });
    this.#produced += byteLength;
    this.#untaken += byteLength;
    this.#waiting?.();
  }

  /** Gives up the first chunks for as long as they fit. */
  #giveUp(fits: (chunk: Chunk) => boolean): void {
    for (let chunk = this.#chunks[this.#first]; chunk && fits(chunk); chunk = this.#chunks[this.#first]) {
      this.#claim.give(chunk.data.byteLength + OVERHEAD);
      this.#untaken -= chunk.data.byteLength;
      this.#chunks[this.#first++] = NOTHING;
    }
    // When they are half of all, so that each chunk is moved once at most on average, however many there are.
    if (2 * this.#first < this.#chunks.length) return;
    this.#chunks = this.#chunks.slice(this.#first);
    this.#first = 0;
  }

  /** Resolves when there is something, at the end, or after so long; and when another request waits. */
  async #more(holdMs: number): Promise<void> {
    this.#waiting?.();
    await new Promise<void>((resolve) => {
      const wake = (): void => {
        clearTimeout(timer);
        if (this.#waiting === wake) this.#waiting = undefined;
        resolve();
      };
      const timer = setTimeout(wake, holdMs);
      this.#waiting = wake;
    });
  }

  #end(): void {
    this.#ended = true;
    this.#waiting?.();
  }
}

/** Instead of a chunk that was given up, whose bytes are not to be held. */
const NOTHING: Chunk = { kind: STDOUT, data: new Uint8Array(0), at: 0 };

function behind(): Error {
  return failure(
    "LIMIT_EXCEEDED",
    `The command has printed ${MOST_UNTAKEN} bytes more than its client has taken: print less at a time, or write to a file`,
  );
}
