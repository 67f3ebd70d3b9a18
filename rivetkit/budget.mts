// Bounds the memory that the clients of all actors of this server can use at one time: uploaded arguments, arguments of
// running calls, what calls have read so far, and results that are kept for their client.
import { getHeapStatistics } from "node:v8";
import { failure } from "./errors.mjs";
import { CALL_BYTES } from "./wire.mjs";

/**
 * Room for three of the largest arguments or results, but at most a quarter of V8's heap limit, because text is in the
 * heap and uses up to two bytes for each character.
 */
export const SERVER_BYTES = Math.min(3 * CALL_BYTES, Math.floor(getHeapStatistics().heap_size_limit / 4));
/** What each client may use even while other clients use everything else, so that its small calls still work. */
const ALWAYS_BYTES = 1024 * 1024;
/** The memory reserved for that. */
const RESERVE_BYTES = SERVER_BYTES / 4;

/** The memory that one client uses. */
export class Share {
  #bytes = 0;
  static #all = 0;

  /** The memory that all clients use, for tests. */
  static get all(): number {
    return Share.#all;
  }

  /** Throws LIMIT_EXCEEDED if the client may not use this much more. */
  take(bytes: number): void {
    const others = Share.#all - this.#bytes;
    // Three quarters of what the other clients leave: no client can use everything, so the next one still gets
    // something.
    const most = Math.floor(((SERVER_BYTES - others) * 3) / 4);
    const always = this.#bytes + bytes <= ALWAYS_BYTES && Share.#all + bytes <= SERVER_BYTES + RESERVE_BYTES;
    if (this.#bytes + bytes > most && !always) {
      throw failure(
        "LIMIT_EXCEEDED",
        `The calls of one client may hold ${Math.max(most, ALWAYS_BYTES)} bytes of arguments and results at this time, not ${this.#bytes + bytes}`,
      );
    }
    this.#bytes += bytes;
    Share.#all += bytes;
  }

  give(bytes: number): void {
    this.#bytes -= bytes;
    Share.#all -= bytes;
  }
}

/** The part of its client's share that one call, or one upload, uses. */
export class Claim {
  /** The client's share, or the claim that this one is a part of. */
  readonly #share: { take(bytes: number): void; give(bytes: number): void };
  #bytes = 0;
  #released = false;

  constructor(share: { take(bytes: number): void; give(bytes: number): void }) {
    this.#share = share;
  }

  /**
   * A part of this claim, for something that runs at the same time. Releasing the claim also releases what the part has
   * not returned.
   */
  part(): Claim {
    return new Claim(this);
  }

  /**
   * A separate claim of `bytes`, for something that continues after the call, such as input that has not been read. It
   * must be released by itself.
   */
  apart(bytes: number): Claim {
    const other = new Claim(this.#share);
    other.take(bytes);
    return other;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Throws LIMIT_EXCEEDED if there is no room. */
  take(bytes: number): void {
    // It is a part of a call that has ended.
    if (this.#released) return;
    this.#share.take(bytes);
    this.#bytes += bytes;
  }

  give(bytes: number): void {
    if (this.#released) return;
    const given = Math.min(bytes, this.#bytes);
    this.#bytes -= given;
    this.#share.give(given);
  }

  /** Changes the claim to this many bytes. */
  set(bytes: number): void {
    if (bytes > this.#bytes) this.take(bytes - this.#bytes);
    else this.give(this.#bytes - bytes);
  }

  /** Returns everything. The claim takes nothing afterwards. */
  release(): void {
    this.give(this.#bytes);
    this.#released = true;
  }
}

/** Runs a few functions at a time; the others wait in order. */
export class Gate {
  readonly #waiting = new Set<() => void>();
  #free: number;

  constructor(places: number) {
    this.#free = places;
  }

  /** If the signal aborts before the function's turn, rejects with the signal's reason and never calls the function. */
  async run<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    signal?.throwIfAborted();
    if (this.#free > 0) this.#free--;
    else await this.#turn(signal);
    try {
      return await work();
    } finally {
      const [next] = this.#waiting;
      if (next) next();
      else this.#free++;
    }
  }

  #turn(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        this.#waiting.delete(next);
        reject(signal?.reason as Error);
      };
      const next = (): void => {
        this.#waiting.delete(next);
        signal?.removeEventListener("abort", leave);
        resolve();
      };
      this.#waiting.add(next);
      signal?.addEventListener("abort", leave, { once: true });
    });
  }
}
