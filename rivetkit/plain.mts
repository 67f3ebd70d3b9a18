// The places that calls of rivetkit's plain client take in an actor. Such a call is one action, whose answer nobody can ask for
// again. So the call ends with its connection and at its deadline; and where no place is free, the connection that has
// most calls loses its oldest one.
import { failure } from "./errors.mjs";

/** Calls of plain clients under way in an actor, and over one connection. Our own client's calls have places of their own. */
export const MOST_PLAIN = 4096;
export const MOST_PLAIN_OF_ONE = 1024;
/** How long a call keeps its place although another one needs it. */
export const KEEPS_PLACE_MS = 5000;

/** One that is set for longer fires at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** A call that has a place. */
export interface PlainCall {
  /** Aborts when the call has lost its place: its answer is dropped. The reason is the error that the client gets. */
  readonly signal: AbortSignal;
  /** The outcome of the call's work, or the rejection with the reason when the call loses its place first. */
  outcome<T>(work: Promise<T>): Promise<T>;
  /** Gives the place back. A second time: nothing. */
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

  /** `deadlineMs` is how long rivetkit lets an action run: nobody waits for the answer of a call that takes longer. */
  constructor(deadlineMs: number) {
    this.#deadlineMs = Math.min(deadlineMs, LONGEST_TIMER_MS);
  }

  /** Takes a place. Throws LIMIT_EXCEEDED where there is none. `connection` is "" for a call without one. */
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

  /** The connection has closed: nobody gets the answers of its calls. */
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
    // Who has more than the newcomer gives one up at once. Among equals, as single HTTP requests are, the oldest does.
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
