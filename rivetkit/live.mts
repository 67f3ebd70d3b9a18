// The actor's half of following a call while it runs: its abort, and the output that its client has not taken yet.
import type { Claim } from "./budget.mjs";
import { failure } from "./errors.mjs";
import { type Kind, MOST_CHUNKS, Untaken } from "./untaken.mjs";
import { type LiveParts, PIECE_BYTES, STDERR, STDOUT, type Taken, toBase64 } from "./wire.mjs";

/** The maximum output of one call that its client has not taken. */
export const MOST_UNTAKEN = 64 * 1024 * 1024;

type OnOutput = (data: Uint8Array) => void;

export class Live {
  /** Aborts when the client's signal aborts. */
  readonly signal: AbortSignal | undefined;
  readonly onStdout: OnOutput | undefined;
  readonly onStderr: OnOutput | undefined;
  readonly #controller = new AbortController();
  readonly #oldestGoes: boolean;
  readonly #untaken: Untaken;
  #produced = 0;
  #outlives = false;
  #ended = false;
  #dropped = false;
  /** When its client last asked for output. */
  touched = Date.now();

  /** `oldestGoes` decides about output that exceeds the room: the oldest is dropped, or the writer gets an error. */
  constructor(parts: LiveParts, claim: Claim, { oldestGoes }: { oldestGoes: boolean }) {
    this.#untaken = new Untaken(claim);
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
    this.#untaken.release();
    this.#end();
  }

  /** The output from the byte `after` on, once there is some; drops the output before it. */
  async take(after: number, holdMs: number): Promise<Taken> {
    this.touched = Date.now();
    if (after > this.#produced) throw failure("INVALID_ARGUMENT", "This is no request of agent-vm's client");
    this.#untaken.dropWhile((chunk) => chunk.at + chunk.data.byteLength <= after);
    if (this.#untaken.count === 0 && !this.#ended) await this.#untaken.more(holdMs);
    this.touched = Date.now();
    const chunks: Extract<Taken, { state: "taken" }>["chunks"] = [];
    let next = after;
    let bytes = 0;
    for (const { kind, data, at } of this.#untaken.chunks(MOST_CHUNKS)) {
      const fresh = data.subarray(Math.max(0, after - at));
      if (bytes > 0 && bytes + fresh.byteLength > PIECE_BYTES) break;
      bytes += fresh.byteLength;
      chunks.push([kind, toBase64(fresh)]);
      next = at + data.byteLength;
    }
    // An answer can be lost, so it only reports the end if the client already has everything.
    return { state: "taken", chunks, next, end: this.#ended && chunks.length === 0 };
  }

  #push(kind: Kind, data: Uint8Array): void {
    if (this.#dropped || this.#ended || data.byteLength === 0) return;
    const { byteLength } = data;
    const untaken = this.#untaken;
    if (this.#oldestGoes) untaken.dropWhile(() => untaken.bytes + byteLength > MOST_UNTAKEN);
    else if (untaken.bytes + byteLength > MOST_UNTAKEN) throw behind();
    const chunk = { kind, data, at: this.#produced };
    for (;;) {
      try {
        untaken.add(chunk);
        break;
      } catch (error) {
        if (!this.#oldestGoes) throw error;
        // The room is less than the bound. If nothing is left to drop, this chunk is dropped.
        if (untaken.count === 0) break;
        let dropped = 0;
        untaken.dropWhile(() => dropped++ === 0);
      }
    }
    this.#produced += byteLength;
  }

  #end(): void {
    this.#ended = true;
    this.#untaken.wake();
  }
}

function behind(): Error {
  return failure(
    "LIMIT_EXCEEDED",
    `The command has printed ${MOST_UNTAKEN} bytes more than its client has taken: print less at a time, or write to a file`,
  );
}
