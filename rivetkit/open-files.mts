// The files that streams of clients have open in an actor's VM. A client keeps its streams alive; the file of a client that is
// gone is closed.
import { randomUUID } from "node:crypto";
import type { AgentVm } from "agent-vm";
import { type FileBackend, type OpenedFile, filesOf } from "#file-streams";
import { failure } from "./errors.mjs";
import { Places } from "./places.mjs";

/** How many files the streams of one client may have open: half of those of a VM. */
export const MOST_FILES_OF_ONE = 128;
/** How long a file stays open without a call about it. Clients make one at least every 20 s. */
const KEPT_MS = 60_000;

interface Held {
  readonly backend: FileBackend;
  readonly opened: OpenedFile;
  touched: number;
  /** Calls under way, during which the file is kept. */
  busy: number;
  readonly giveBack: () => void;
}

export class OpenFiles {
  readonly #held = new Map<string, Held>();
  readonly #places = new Places(
    MOST_FILES_OF_ONE,
    `The streams of one client have at most ${MOST_FILES_OF_ONE} files of a VM open at a time; end or destroy some`,
  );
  readonly #onIdle: () => void;
  #sweeper: NodeJS.Timeout | undefined;

  /** `onIdle` is called when no file is open any more. */
  constructor(onIdle: () => void) {
    this.#onIdle = onIdle;
  }

  /** How many files are open; the VM bounds them. */
  get size(): number {
    return this.#held.size;
  }

  /** Opens a file. Returns the token that its client names it by, and that no other client can guess. */
  async open(vm: AgentVm, client: object, open: (backend: FileBackend) => Promise<OpenedFile>): Promise<string> {
    const giveBack = this.#places.take(client);
    try {
      const backend = filesOf(vm);
      const opened = await open(backend);
      const token = randomUUID();
      this.#held.set(token, { backend, opened, touched: Date.now(), busy: 0, giveBack });
      this.#sweep();
      return token;
    } catch (error) {
      giveBack();
      throw error;
    }
  }

  /** Makes a call about an open file. */
  async use<T>(token: unknown, call: (backend: FileBackend, opened: OpenedFile) => Promise<T>): Promise<T> {
    const held = typeof token === "string" ? this.#held.get(token) : undefined;
    if (!held)
      throw failure("VM_DISPOSED", "The file of this stream is closed: its VM has ended, or its client was gone");
    held.busy++;
    try {
      return await call(held.backend, held.opened);
    } finally {
      held.busy--;
      held.touched = Date.now();
    }
  }

  close(token: unknown): void {
    const held = typeof token === "string" ? this.#held.get(token) : undefined;
    if (!held) return;
    this.#held.delete(token as string);
    held.giveBack();
    held.backend.close(held.opened);
    if (this.#held.size === 0) this.#idle();
  }

  /** The VM has ended, which has closed its files. */
  clear(): void {
    for (const held of this.#held.values()) held.giveBack();
    this.#held.clear();
    this.#idle();
  }

  #idle(): void {
    clearInterval(this.#sweeper);
    this.#sweeper = undefined;
    this.#onIdle();
  }

  #sweep(): void {
    this.#sweeper ??= setInterval(() => {
      const before = Date.now() - KEPT_MS;
      for (const [token, held] of this.#held) if (held.busy === 0 && held.touched < before) this.close(token);
    }, KEPT_MS / 4).unref();
  }
}
