// The actor's half of following a call while it runs: its abort, and the chunks of output that its client has not taken
// yet. After a lost connection, the client asks for chunks again; so a chunk is kept until the client asks for what
// follows it.
import type { Claim } from "./budget.mjs";
import { failure } from "./errors.mjs";
import { type LiveParts, PIECE_BYTES, STDERR, STDOUT, type Taken, toBase64 } from "./wire.mjs";

/** The maximum output of one call that its client has not taken. */
export const MOST_UNTAKEN = 64 * 1024 * 1024;
/** What a chunk counts in addition to its bytes. */
const OVERHEAD = 256;
/** The maximum number of chunks in one answer. */
const MOST_CHUNKS = 1024;

interface Chunk {
  readonly kind: typeof STDOUT | typeof STDERR;
  readonly data: Uint8Array;
  /** How many bytes of the call's output precede it. */
  readonly at: number;
}
type OnOutput = (data: Uint8Array) => void;

export class Live {
  /** Aborts when the client's signal aborts. */
  readonly signal: AbortSignal | undefined;
  readonly onStdout: OnOutput | undefined;
  readonly onStderr: OnOutput | undefined;
  readonly #controller = new AbortController();
  readonly #claim: Claim;
  readonly #oldestGoes: boolean;
  #chunks: Chunk[] = [];
  /** The chunks before this index have been taken; their entries are removed together. */
  #first = 0;
  #produced = 0;
  #untaken = 0;
  #outlives = false;
  #ended = false;
  #dropped = false;
  #waiting: (() => void) | undefined;
  /** When its client last asked for output. */
  touched = Date.now();

  /** `oldestGoes` decides about output that exceeds the room: the oldest is dropped, or the writer gets an error. */
  constructor(parts: LiveParts, claim: Claim, { oldestGoes }: { oldestGoes: boolean }) {
    this.#claim = claim;
    this.#oldestGoes = oldestGoes;
    this.signal = parts.signal ? this.#controller.signal : undefined;
    this.onStdout = parts.stdout ? (data) => this.#push(STDOUT, data) : undefined;
    this.onStderr = parts.stderr ? (data) => this.#push(STDERR, data) : undefined;
  }

  /** Whether there will be no more output. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Whether it also receives the output of a process, after the call that started it. */
  get outlives(): boolean {
    return this.#outlives;
  }

  /** The call has started a process, whose output is received until `end` settles. */
  outlive(end: Promise<unknown>): void {
    this.#outlives = true;
    const over = (): void => this.#end();
    end.then(over, over);
  }

  /** The call has ended. */
  settled(): void {
    if (!this.#outlives) this.#end();
  }

  abort(): void {
    this.#controller.abort();
  }

  /** Drops everything: no client will take it. */
  drop(): void {
    this.#dropped = true;
    this.#chunks = [];
    this.#first = 0;
    this.#claim.release();
    this.#end();
  }

  /** The output from the byte `after` on, once there is some; drops the output before it. */
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
    // An answer can be lost, so it only reports the end if the client already has everything.
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
        // The room is less than the bound. If nothing is left to drop, this chunk is dropped.
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

  /** Drops the first chunks while `fits` accepts them. */
  #giveUp(fits: (chunk: Chunk) => boolean): void {
    for (let chunk = this.#chunks[this.#first]; chunk && fits(chunk); chunk = this.#chunks[this.#first]) {
      this.#claim.give(chunk.data.byteLength + OVERHEAD);
      this.#untaken -= chunk.data.byteLength;
      this.#chunks[this.#first++] = NOTHING;
    }
    // Removes the entries once they are half of the array, so that each chunk is moved at most once on average.
    if (2 * this.#first < this.#chunks.length) return;
    this.#chunks = this.#chunks.slice(this.#first);
    this.#first = 0;
  }

  /** Resolves when there is output, at the end, after `holdMs`, or when another request waits. */
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

/** Replaces a chunk that was dropped, to free the chunk's bytes. */
const NOTHING: Chunk = { kind: STDOUT, data: new Uint8Array(0), at: 0 };

function behind(): Error {
  return failure(
    "LIMIT_EXCEEDED",
    `The command has printed ${MOST_UNTAKEN} bytes more than its client has taken: print less at a time, or write to a file`,
  );
}
