// The places that calls of rivetkit's plain client use in an actor. Such a call is a single action, whose answer cannot
// be fetched later. So the call ends with its connection and at its deadline. If no place is free, the connection with
// the most calls loses its oldest call.
import { failure } from "./errors.mjs";

/**
 * The maximum number of running calls of plain clients in an actor, and over one connection. Our own client's calls
 * have separate places.
 */
export const MOST_PLAIN = 4096;
export const MOST_PLAIN_OF_ONE = 1024;
/** For how long a call keeps its place although another call needs one. */
export const KEEPS_PLACE_MS = 5000;

/** A timer for a longer time would fire at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** A call that has a place. */
export interface PlainCall {
  /**
   * Aborts when the call has lost its place; its answer is then dropped. The reason is the error that the client gets.
   */
  readonly signal: AbortSignal;
  /** The result of `work`, or a rejection with the signal's reason if the call loses its place first. */
  outcome<T>(work: Promise<T>): Promise<T>;
  /** Frees the place. Calling it again does nothing. */
  end(): void;
}

interface Place {
  readonly connection: string;
  readonly began: number;
  lose(reason: unknown): void;
}

export class PlainCalls {
  readonly #deadlineMs: number;
  /** In the order in which they began. */
  readonly #places = new Map<string, Set<Place>>();
  #taken = 0;

  /** `deadlineMs` is how long rivetkit lets an action run; a longer call has nobody waiting for it. */
  constructor(deadlineMs: number) {
    this.#deadlineMs = Math.min(deadlineMs, LONGEST_TIMER_MS);
  }

  /** Takes a place. Throws LIMIT_EXCEEDED if there is none. `connection` is "" for a call without one. */
  begin(connection: string): PlainCall {
    this.#makeRoom(connection);
    const controller = new AbortController();
    const end = (): void => {
      if (!this.#remove(place)) return;
      clearTimeout(timer);
    };
    const lose = (reason: unknown): void => {
      end();
      controller.abort(reason);
    };
    const place: Place = { connection, began: performance.now(), lose };
    const late = (): void =>
      lose(
        failure(
          "LIMIT_EXCEEDED",
          `A call of rivetkit's plain client ends after ${this.#deadlineMs} ms (actionTimeout)`,
        ),
      );
    const timer = setTimeout(late, this.#deadlineMs).unref();
    this.#add(place);
    const { signal } = controller;
    return { signal, end, outcome: (work) => outcomeOf(work, signal) };
  }

  /** A connection has closed: nobody can receive the answers of its calls. */
  closed(connection: string): void {
    const gone = failure("VM_DISPOSED", "The connection has closed");
    for (const place of [...(this.#places.get(connection) ?? [])]) place.lose(gone);
  }

  stop(): void {
    for (const connection of [...this.#places.keys()]) this.closed(connection);
  }

  #makeRoom(connection: string): void {
    const own = this.#places.get(connection)?.size ?? 0;
    if (own >= MOST_PLAIN_OF_ONE) {
      throw failure("LIMIT_EXCEEDED", `One connection has at most ${MOST_PLAIN_OF_ONE} calls under way in an actor`);
    }
    if (this.#taken < MOST_PLAIN) return;
    const oldest = this.#oldestOfMost();
    const { size } = this.#places.get(oldest.connection) ?? new Set();
    // A connection with more calls than the new one loses a call at once. Among connections with equally many, as
    // single HTTP requests have, the oldest call loses its place.
    if (size <= own + 1 && performance.now() - oldest.began < KEEPS_PLACE_MS) {
      throw failure("LIMIT_EXCEEDED", `An actor has at most ${MOST_PLAIN} calls of plain clients under way`);
    }
    const message = `An actor has at most ${MOST_PLAIN} calls of plain clients under way: this call gave its place to another one`;
    oldest.lose(failure("LIMIT_EXCEEDED", message));
  }

  #oldestOfMost(): Place {
    let most: Place | undefined;
    let size = 0;
    for (const places of this.#places.values()) {
      if (places.size < size) continue;
      const [oldest] = places;
      if (oldest && (places.size > size || (most && oldest.began < most.began))) [most, size] = [oldest, places.size];
    }
    if (!most) throw new Error("No place is taken");
    return most;
  }

  #add(place: Place): void {
    const places = this.#places.get(place.connection) ?? new Set();
    this.#places.set(place.connection, places.add(place));
    this.#taken++;
  }

  #remove(place: Place): boolean {
    const places = this.#places.get(place.connection);
    if (!places?.delete(place)) return false;
    if (places.size === 0) this.#places.delete(place.connection);
    this.#taken--;
    return true;
  }
}

function outcomeOf<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const lost = (): void => reject(signal.reason as Error);
    if (signal.aborted) return lost();
    signal.addEventListener("abort", lost, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", lost));
  });
}
