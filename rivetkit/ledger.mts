// Records how far the output of each process and shell has been sent, and their exits. A client that lost its
// connection compares this with what it has received, and reads what it missed from the VM's kept output.
import type { StreamPosition } from "./wire.mjs";

/** How many exited ones are recorded: as many as the VM remembers. */
const KEPT_EXITED = 1024;

/**
 * How many streams may have output before their start was reported. The report follows at once, except for processes
 * that were forgotten long ago.
 */
const MOST_UNREPORTED = 1024;

interface Stream {
  seq: number;
  exit: object | null;
  /** Whether the end of its output was sent. */
  closed: boolean;
  /** Whether its start or its end was reported. */
  reported: boolean;
  /** Whether it had ended without any output. */
  quiet: boolean;
}

export class Ledger<Id> {
  readonly #streams = new Map<Id, Stream>();
  #exited = 0;
  #unreported = 0;

  get size(): number {
    return this.#streams.size;
  }

  /** Records a start. If it has ended meanwhile, it stays ended. */
  started(id: Id): void {
    const stream = this.#streams.get(id);
    if (stream) this.#report(stream);
    else this.#streams.set(id, { seq: 0, exit: null, closed: false, reported: true, quiet: false });
  }

  sent(id: Id, seq: number, bytes: number): void {
    let stream = this.#streams.get(id);
    // A stream that begins again belongs to another process with the same id. But if a process ended without output,
    // its children may be the first to write.
    if (stream?.exit && seq === 0 && stream.seq > 0) {
      this.#forget(id);
      stream = undefined;
    }
    // An unknown stream that continues belongs to an ended process, which was forgotten.
    if (!stream && seq > 0) return;
    if (!stream) {
      stream = { seq: 0, exit: null, closed: false, reported: false, quiet: false };
      this.#streams.set(id, stream);
      if (++this.#unreported > MOST_UNREPORTED) this.#forgetFirst(({ reported }) => !reported);
    }
    stream.seq = seq + bytes;
  }

  ended(id: Id, exit: object): void {
    let stream = this.#streams.get(id);
    // If another process has the id already, the output since then may be its own.
    let seq = stream?.seq ?? 0;
    if (stream?.exit) {
      if (!stream.quiet) seq = 0;
      this.#forget(id);
      stream = undefined;
    }
    stream ??= { seq, exit: null, closed: false, reported: true, quiet: false };
    this.#report(stream);
    stream.exit = exit;
    stream.quiet = stream.seq === 0;
    // Moved to the end of the map, so that the ones that ended first are dropped first.
    this.#streams.delete(id);
    this.#streams.set(id, stream);
    if (++this.#exited > KEPT_EXITED) this.#forgetFirst(({ exit: over }) => over !== null);
  }

  closed(id: Id): void {
    const stream = this.#streams.get(id);
    if (stream) stream.closed = true;
  }

  #report(stream: Stream): void {
    if (stream.reported) return;
    stream.reported = true;
    this.#unreported--;
  }

  #forgetFirst(fits: (stream: Stream) => boolean): void {
    for (const [id, stream] of this.#streams) {
      if (fits(stream)) return this.#forget(id);
    }
  }

  #forget(id: Id): void {
    const stream = this.#streams.get(id);
    if (!stream) return;
    if (stream.exit) this.#exited--;
    this.#report(stream);
    this.#streams.delete(id);
  }

  positions(): StreamPosition<Id>[] {
    return [...this.#streams].map(([id, { seq, exit, closed }]) => ({ id, seq, exit, closed }));
  }
}
