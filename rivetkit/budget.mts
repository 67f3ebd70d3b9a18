// The memory that the clients of all actors of this server may make it hold at one time: arguments that come up in parts,
// arguments of calls under way, what calls have read so far, and results that are kept for their client.
import { getHeapStatistics } from "node:v8";
import { failure } from "./errors.mjs";
import { CALL_BYTES } from "./wire.mjs";

/**
 * Room for three of the largest arguments or results, but at most a quarter of what V8's heap may become: text lies
 * there, at up to two bytes a character.
 */
export const SERVER_BYTES = Math.min(3 * CALL_BYTES, Math.floor(getHeapStatistics().heap_size_limit / 4));
/** What each client may hold even while others hold everything: its small calls go on. */
const ALWAYS_BYTES = 1024 * 1024;
/** What is there for that. */
const RESERVE_BYTES = SERVER_BYTES / 4;

/** What one client holds. */
export class Share {
  #bytes = 0;
  static #all = 0;

  /** All that clients hold, for tests. */
  static get all(): number {
    return Share.#all;
  }

  /** Throws LIMIT_EXCEEDED where it is more than this client may hold beside the others. */
  take(bytes: number): void {
    const others = Share.#all - this.#bytes;
    // Three quarters of what the others leave: nobody can hold everything, so that there is something for the next one.
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

/** What one call, or one upload, holds of its client's share. */
export class Claim {
  /** The client's share, or the claim that this is a part of. */
  readonly #share: { take(bytes: number): void; give(bytes: number): void };
  #bytes = 0;
  #released = false;

  constructor(share: { take(bytes: number): void; give(bytes: number): void }) {
    this.#share = share;
  }

  /** A part of it, for something that goes on beside others. What it has not given back is released with the whole. */
  part(): Claim {
    return new Claim(this);
  }

  /** So many bytes for what goes on after the call, like input that waits to be read; released by itself alone. */
  apart(bytes: number): Claim {
    const other = new Claim(this.#share);
    other.take(bytes);
    return other;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Throws LIMIT_EXCEEDED where there is no room for it. */
  take(bytes: number): void {
    // It is a part of a call that is over.
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

  /** Holds so many bytes from now on, however many it held. */
  set(bytes: number): void {
    if (bytes > this.#bytes) this.take(bytes - this.#bytes);
    else this.give(this.#bytes - bytes);
  }

  /** Gives everything back. It takes nothing more. */
  release(): void {
    this.give(this.#bytes);
    this.#released = true;
  }
}

/** Lets a few run at a time; the others wait, in their order. */
export class Gate {
  readonly #waiting = new Set<() => void>();
  #free: number;

  constructor(places: number) {
    this.#free = places;
  }

  /** Rejects with the signal's reason when it aborts before the work's turn has come; the work is then not done. */
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
