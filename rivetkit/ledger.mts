// How far the output of each process and shell has been sent, and how those that ended did. A client that lost its
// connection compares it with what it has seen, and reads what it missed from the VM's own kept output.
import type { StreamPosition } from "./wire.mjs";

/** As many as the VM keeps: of the exited ones, those that it still answers for. */
const KEPT_EXITED = 1024;

/** Streams that have written before their start was reported, which is at once: those of processes long forgotten, too. */
const MOST_UNREPORTED = 1024;

interface Stream {
  seq: number;
  exit: object | null;
  /** Whether its start, or its end, was reported. */
  reported: boolean;
  /** Whether it had ended before anything came. */
  quiet: boolean;
}

export class Ledger<Id> {
  readonly #streams = new Map<Id, Stream>();
  #exited = 0;
  #unreported = 0;

  get size(): number {
    return this.#streams.size;
  }

  /** It was started. What has ended by now stays ended. */
  started(id: Id): void {
    const stream = this.#streams.get(id);
    if (stream) this.#report(stream);
    else this.#streams.set(id, { seq: 0, exit: null, reported: true, quiet: false });
  }

  sent(id: Id, seq: number, bytes: number): void {
    let stream = this.#streams.get(id);
    // A stream that begins again is another process's. But an ended process that wrote nothing has children that may
    // be the first to write.
    if (stream?.exit && seq === 0 && stream.seq > 0) {
      this.#forget(id);
      stream = undefined;
    }
    // What goes on and is unknown is an ended process's, which was forgotten.
    if (!stream && seq > 0) return;
    if (!stream) {
      stream = { seq: 0, exit: null, reported: false, quiet: false };
      this.#streams.set(id, stream);
      if (++this.#unreported > MOST_UNREPORTED) this.#forgetFirst(({ reported }) => !reported);
    }
    stream.seq = seq + bytes;
  }

  ended(id: Id, exit: object): void {
    let stream = this.#streams.get(id);
    // Another process has the number: what came since then may be its own.
    let seq = stream?.seq ?? 0;
    if (stream?.exit) {
      if (!stream.quiet) seq = 0;
      this.#forget(id);
      stream = undefined;
    }
    stream ??= { seq, exit: null, reported: true, quiet: false };
    this.#report(stream);
    stream.exit = exit;
    stream.quiet = stream.seq === 0;
    // Its place is now that of its end, so that the longest ended are dropped first.
    this.#streams.delete(id);
    this.#streams.set(id, stream);
    if (++this.#exited > KEPT_EXITED) this.#forgetFirst(({ exit: over }) => over !== null);
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
    return [...this.#streams].map(([id, { seq, exit }]) => ({ id, seq, exit }));
  }
}
