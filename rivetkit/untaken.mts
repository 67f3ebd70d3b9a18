// The output that a client has not taken yet. After a lost connection, the client asks for chunks again; so a chunk is kept until
// the client asks for what follows it.
import type { Claim } from "./budget.mjs";
import { STDERR, STDOUT } from "./wire.mjs";

/** What a chunk counts in addition to its bytes. */
export const OVERHEAD = 256;
/** The maximum number of chunks in one answer. */
export const MOST_CHUNKS = 1024;

export type Kind = typeof STDOUT | typeof STDERR;
export interface Chunk {
  readonly kind: Kind;
  readonly data: Uint8Array;
  /** How many bytes of the output precede it. */
  readonly at: number;
}

/** Replaces a chunk that was dropped, to free the chunk's bytes. */
const NOTHING: Chunk = { kind: STDOUT, data: new Uint8Array(0), at: 0 };

export class Untaken {
  readonly #claim: Claim;
  #chunks: Chunk[] = [];
  /** The chunks before this index were dropped; their entries are removed together. */
  #first = 0;
  #bytes = 0;
  #waiting: (() => void) | undefined;

  constructor(claim: Claim) {
    this.#claim = claim;
  }

  /** How many chunks there are. */
  get count(): number {
    return this.#chunks.length - this.#first;
  }

  /** How many bytes they have together. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The first chunks, at most `most`. */
  chunks(most = this.count): Chunk[] {
    return this.#chunks.slice(this.#first, this.#first + most);
  }

  /** Adds a chunk. Throws LIMIT_EXCEEDED, and adds nothing, if the claim has no room for it. */
  add(chunk: Chunk): void {
    this.#claim.take(chunk.data.byteLength + OVERHEAD);
    this.#chunks.push(chunk);
    this.#bytes += chunk.data.byteLength;
    this.wake();
  }

  /** Drops the first chunks while `fits` accepts them. */
  dropWhile(fits: (chunk: Chunk) => boolean): void {
    for (let chunk = this.#chunks[this.#first]; chunk && fits(chunk); chunk = this.#chunks[this.#first]) {
      this.#claim.give(chunk.data.byteLength + OVERHEAD);
      this.#bytes -= chunk.data.byteLength;
      this.#chunks[this.#first++] = NOTHING;
    }
    // Removes the entries once they are half of the array, so that each chunk is moved at most once on average.
    if (2 * this.#first < this.#chunks.length) return;
    this.#chunks = this.#chunks.slice(this.#first);
    this.#first = 0;
  }

  /** Drops everything, and releases the claim. */
  release(): void {
    this.#chunks = [];
    this.#first = 0;
    this.#bytes = 0;
    this.#claim.release();
    this.wake();
  }

  /** Resolves at the next `wake`, after `holdMs`, or when another request waits. */
  async more(holdMs: number): Promise<void> {
    this.wake();
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

  /** Ends a wait for more: there is output, or there will be none. */
  wake(): void {
    this.#waiting?.();
  }
}
