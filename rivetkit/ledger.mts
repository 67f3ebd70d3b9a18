// How far the output of each process and shell has been sent, and how those that ended did. A client that lost its
// connection compares it with what it has seen, and reads what it missed from the VM's own kept output.
import type { StreamPosition } from "./wire.mjs";

/** As many as the VM keeps: of the exited ones, those that it still answers for. */
const KEPT_EXITED = 1024;

export class Ledger<Id> {
  readonly #streams = new Map<Id, { seq: number; exit: object | null }>();
  #exited = 0;

  /** It was started. A pid that an ended process had is another process's now. */
  started(id: Id): void {
    const stream = this.#streams.get(id);
    if (stream && !stream.exit) return;
    this.#forget(id);
    this.#streams.set(id, { seq: 0, exit: null });
  }

  known(id: Id): boolean {
    return this.#streams.has(id);
  }

  sent(id: Id, seq: number, bytes: number): void {
    const stream = this.#streams.get(id);
    // An ended process's children may write on; a stream that begins anew is another process's.
    if (!stream || (stream.exit && seq === 0)) this.started(id);
    const current = this.#streams.get(id);
    if (current) current.seq = seq + bytes;
  }

  ended(id: Id, exit: object): void {
    if (!this.#streams.has(id) || this.#streams.get(id)?.exit) this.started(id);
    const stream = this.#streams.get(id);
    if (!stream) return;
    stream.exit = exit;
    // Its place is now that of its end, so that the longest ended are dropped first.
    this.#streams.delete(id);
    this.#streams.set(id, stream);
    this.#exited++;
    if (this.#exited <= KEPT_EXITED) return;
    for (const [oldest, { exit: over }] of this.#streams) {
      if (!over) continue;
      this.#forget(oldest);
      return;
    }
  }

  #forget(id: Id): void {
    if (this.#streams.get(id)?.exit) this.#exited--;
    this.#streams.delete(id);
  }

  positions(): StreamPosition<Id>[] {
    return [...this.#streams].map(([id, { seq, exit }]) => ({ id, seq, exit }));
  }
}
