// Waits for the end of a process or shell once for all callers: the VM keeps a wait until the end, even if no caller is
// left.
import type { ExitStatus } from "agent-vm";

export class Waits<Id> {
  readonly #ends = new Map<Id, Promise<ExitStatus>>();
  readonly #waiting = new Map<Promise<ExitStatus>, Set<(end: Promise<ExitStatus>) => void>>();

  /**
   * Resolves to the exit status, which `ask` requests from the VM unless another caller already has. Rejects with the
   * signal's reason when it aborts.
   */
  wait(id: Id, ask: () => Promise<ExitStatus>, signal: AbortSignal | undefined): Promise<ExitStatus> {
    const end = this.#ends.get(id) ?? this.#ask(id, ask);
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason as Error);
      const waiting = this.#waiting.get(end);
      const abort = (): void => {
        waiting?.delete(ended);
        reject(signal?.reason as Error);
      };
      const ended = (outcome: Promise<ExitStatus>): void => {
        signal?.removeEventListener("abort", abort);
        resolve(outcome);
      };
      waiting?.add(ended);
      signal?.addEventListener("abort", abort, { once: true });
    });
  }

  /** Another process has this id from now on. Pending waits are still for the previous one. */
  renewed(id: Id): void {
    this.#ends.delete(id);
  }

  #ask(id: Id, ask: () => Promise<ExitStatus>): Promise<ExitStatus> {
    const end = ask();
    this.#ends.set(id, end);
    const waiting = new Set<(end: Promise<ExitStatus>) => void>();
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
