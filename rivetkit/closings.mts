/**
 * Calls that close something at the actor and are not answered yet. What a client opens next waits for them, because
 * what it has closed takes one of its places until then.
 */
export class Closings {
  readonly #underWay = new Set<Promise<void>>();

  /** An error of the call is ignored: if it is lost, the actor closes by itself after a while. */
  add(call: Promise<unknown>): void {
    const over = () => void this.#underWay.delete(closing);
    const closing = call.then(over, over);
    this.#underWay.add(closing);
  }

  /** Resolves when all calls that were made before are answered. */
  async settled(): Promise<void> {
    if (this.#underWay.size > 0) await Promise.all(this.#underWay);
  }
}
