// The actor's half of a client's handles: readings of the output of processes and shells. A reading holds a bounded part of
// the output until its client has taken it, and then pauses the writer.
import type { LocalOutput, StreamName } from "#handles";
import { Claim, type Share } from "./budget.mjs";
import { failure, toClient } from "./errors.mjs";
import { type Chunk, type Kind, MOST_CHUNKS, OVERHEAD, Untaken } from "./untaken.mjs";
import { PIECE_BYTES, type Read, STDERR, STDOUT, toBase64 } from "./wire.mjs";

/** The maximum number of readings of one client, and of all clients of an actor. */
export const MOST_READINGS_OF_ONE = 256;
export const MOST_READINGS = 1024;
/** How many each client may have even while others have all of those, and how many are reserved for that. */
const ALWAYS_READINGS = 16;
const RESERVE_READINGS = 256;
/** The output that a reading holds before its writer is paused; what is on its way at that moment still comes. */
const MOST_WAITING = PIECE_BYTES;

const kindOf = (stream: StreamName): Kind => (stream === "stderr" ? STDERR : STDOUT);

class Reading {
  readonly #untaken: Untaken;
  /** Undefined while kept output arrives. */
  #tap: { resume(): void; close(): void } | undefined;
  readonly #ended = new Set<Kind>();
  #failed: unknown;
  /** When its client last asked for output. */
  touched = Date.now();
  readonly #streams: number;

  /** Throws LIMIT_EXCEEDED if the output after `after` is no longer kept. */
  constructor(output: LocalOutput, streams: readonly StreamName[], after: number, claim: Claim) {
    this.#untaken = new Untaken(claim);
    this.#streams = streams.length;
    this.#tap = output.read(
      streams,
      {
        onData: (data, stream, seq) => this.#add({ kind: kindOf(stream), data, at: seq }),
        onStreamEnd: (stream) => {
          this.#ended.add(kindOf(stream));
          this.#untaken.wake();
        },
      },
      after,
    );
    if (this.#failed !== undefined) this.#tap.close();
  }

  get ended(): boolean {
    return this.#ended.size === this.#streams || this.#failed !== undefined;
  }

  /** The output from the byte `after` on, once there is some; drops the output before it. */
  async take(after: number, holdMs: number): Promise<Extract<Read, { state: "read" }>> {
    this.touched = Date.now();
    this.#untaken.dropWhile((chunk) => chunk.at + chunk.data.byteLength <= after);
    if (this.#hasRoom) this.#tap?.resume();
    if (this.#untaken.count === 0 && !this.ended) await this.#untaken.more(holdMs);
    this.touched = Date.now();
    const chunks: [Kind, string][] = [];
    const open = new Set<Kind>();
    let next = after;
    let bytes = 0;
    for (const { kind, data, at } of this.#untaken.chunks()) {
      const fresh = data.subarray(Math.max(0, after - at));
      const fits = chunks.length < MOST_CHUNKS && (bytes === 0 || bytes + fresh.byteLength <= PIECE_BYTES);
      if (!fits || open.size > 0) {
        // What comes later must not overtake it.
        open.add(kind);
        continue;
      }
      bytes += fresh.byteLength;
      chunks.push([kind, toBase64(fresh)]);
      next = at + data.byteLength;
    }
    if (chunks.length === 0 && this.#failed !== undefined) throw this.#failed;
    return { state: "read", chunks, next, ended: [...this.#ended].filter((kind) => !open.has(kind)) };
  }

  /** Ends the reading: the writer is no longer paused for it. */
  drop(): void {
    this.#tap?.close();
    this.#untaken.release();
  }

  /** Whether the writer may go on. */
  get #hasRoom(): boolean {
    return this.#untaken.bytes + OVERHEAD * this.#untaken.count < MOST_WAITING;
  }

  #add(chunk: Chunk): boolean {
    if (this.#failed !== undefined) return true;
    try {
      this.#untaken.add(chunk);
    } catch (error) {
      // What came before it can still be taken.
      this.#failed = error;
      this.#tap?.close();
      this.#untaken.wake();
      return true;
    }
    return this.#hasRoom;
  }
}

/** The readings of one client, by the ids that the client chose. */
export class Readings {
  static readonly #counts = new WeakMap<object, number>();
  readonly #actor: object;
  readonly #share: Share;
  readonly #readings = new Map<string, Reading>();

  /** `actor` is the same object for all clients of an actor. */
  constructor(actor: object, share: Share) {
    this.#actor = actor;
    this.#share = share;
  }

  get size(): number {
    return this.#readings.size;
  }

  /** Takes output from a reading, which begins at the byte `after` of the output if there is none of that id. */
  async take(
    id: string,
    output: () => Promise<LocalOutput>,
    streams: readonly StreamName[],
    after: number,
    holdMs: number,
  ): Promise<Read> {
    const reading = this.#readings.get(id) ?? (await this.#begin(id, output, streams, after));
    return reading.take(after, holdMs);
  }

  async #begin(
    id: string,
    output: () => Promise<LocalOutput>,
    streams: readonly StreamName[],
    after: number,
  ): Promise<Reading> {
    const source = await output();
    // Another request has begun it meanwhile.
    const begun = this.#readings.get(id);
    if (begun) return begun;
    const all = this.#all;
    const { size } = this.#readings;
    const hasRoom = all < MOST_READINGS || (size < ALWAYS_READINGS && all < MOST_READINGS + RESERVE_READINGS);
    if (size >= MOST_READINGS_OF_ONE || !hasRoom) {
      const message = `One client reads at most ${MOST_READINGS_OF_ONE} streams of handles at a time, and an actor has at most ${MOST_READINGS} of them`;
      throw failure("LIMIT_EXCEEDED", message);
    }
    if (after > source.delivered) throw failure("INVALID_ARGUMENT", "This is no request of agent-vm's client");
    const claim = new Claim(this.#share);
    claim.take(OVERHEAD);
    try {
      const reading = new Reading(source, streams, after, claim);
      this.#readings.set(id, reading);
      this.#all = all + 1;
      return reading;
    } catch (error) {
      claim.release();
      throw toClient(error);
    }
  }

  end(id: string): void {
    const reading = this.#readings.get(id);
    if (!this.#readings.delete(id)) return;
    this.#all--;
    reading?.drop();
  }

  /** Drops the ended readings that were not asked for since then. */
  sweep(before: number): void {
    for (const [id, { ended, touched }] of this.#readings) if (ended && touched < before) this.end(id);
  }

  drop(): void {
    for (const id of [...this.#readings.keys()]) this.end(id);
  }

  get #all(): number {
    return Readings.#counts.get(this.#actor) ?? 0;
  }

  set #all(count: number) {
    Readings.#counts.set(this.#actor, count);
  }
}
