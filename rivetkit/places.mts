// Places of a VM of which one client may take only a part, so that the others get some.
import { failure } from "./errors.mjs";

export class Places {
  readonly #taken = new WeakMap<object, number>();
  readonly #most: number;
  readonly #message: string;

  /** `most` is how many places one client may have; `message` says so. */
  constructor(most: number, message: string) {
    this.#most = most;
    this.#message = message;
  }

  /** Takes a place. The returned function gives it back. Throws LIMIT_EXCEEDED if the client has too many. */
  take(client: object): () => void {
    const taken = this.#taken.get(client) ?? 0;
    if (taken >= this.#most) throw failure("LIMIT_EXCEEDED", this.#message);
    this.#taken.set(client, taken + 1);
    let isTaken = true;
    return () => {
      if (isTaken) this.#taken.set(client, (this.#taken.get(client) ?? 1) - 1);
      isTaken = false;
    };
  }

  /** Runs a call that has a place until it ends. */
  async run<T>(client: object, call: () => Promise<T>): Promise<T> {
    const giveBack = this.take(client);
    try {
      return await call();
    } finally {
      giveBack();
    }
  }
}
