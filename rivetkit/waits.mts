// Waiting for the end of what runs, once for all callers: the VM keeps a wait until the end, however few still ask for it.

export class Waits<Id> {
  readonly #ends = new Map<Id, Promise<number>>();
  readonly #waiting = new Map<Promise<number>, Set<(end: Promise<number>) => void>>();

  /** The exit code, which `ask` asks the VM for if no other caller has. Rejects with the signal's reason when it aborts. */
  wait(id: Id, ask: () => Promise<number>, signal: AbortSignal | undefined): Promise<number> {
    const end = this.#ends.get(id) ?? this.#ask(id, ask);
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason as Error);
      const waiting = this.#waiting.get(end);
      const abort = (): void => {
        waiting?.delete(ended);
        reject(signal?.reason as Error);
      };
      const ended = (outcome: Promise<number>): void => {
        signal?.removeEventListener("abort", abort);
        resolve(outcome);
      };
      waiting?.add(ended);
      signal?.addEventListener("abort", abort, { once: true });
    });
  }

  /** The number is another one's from now on. Those who wait go on waiting for the one before. */
  renewed(id: Id): void {
    this.#ends.delete(id);
  }

  #ask(id: Id, ask: () => Promise<number>): Promise<number> {
    const end = ask();
    this.#ends.set(id, end);
    const waiting = new Set<(end: Promise<number>) => void>();
    this.#waiting.set(end, waiting);
    const over = (): void => {
      if (this.#ends.get(id) === end) this.#ends.delete(id);
      this.#waiting.delete(end);
      for (const ended of waiting) ended(end);
    };
    end.then(over, over);
    return end;
  }
}
