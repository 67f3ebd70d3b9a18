// What clients have open in an actor's VM: the files of streams, archives and watches. A client keeps what it has open; that of a client
// that is gone is closed.
import { randomUUID } from "node:crypto";
import type { AgentVm } from "agent-vm";
import { type ArchiveBackend, archivesOf } from "#archives";
import { type FileBackend, filesOf } from "#file-streams";
import { type LocalWatches, watchesOf } from "#watches";
import { failure } from "./errors.mjs";
import { Places } from "./places.mjs";

/** How many files the streams of one client may have open: half of those of a VM. */
export const MOST_FILES_OF_ONE = 128;
/** How many archives one client may have open: a quarter of those of a VM. */
export const MOST_ARCHIVES_OF_ONE = 2;
/** How many watches one client may have: half of those of a VM. */
export const MOST_WATCHES_OF_ONE = 32;
/** How long something stays open without a call about it. Clients make one at least every 20 s. */
const KEPT_MS = 60_000;

/** What names something open to the VM. */
type Opened = number | string;

interface Backend {
  close(opened: Opened): void;
}

interface Held<B> {
  readonly backend: B;
  readonly opened: Opened;
  touched: number;
  /** Calls under way, during which it is kept. */
  busy: number;
  readonly giveBack: () => void;
}

/** `onIdle` is called when no file is open any more. */
export function openFiles(onIdle: () => void): Open<FileBackend> {
  const most = `The streams of one client have at most ${MOST_FILES_OF_ONE} files of a VM open at a time; end or destroy some`;
  return new Open(filesOf, "file of this stream", new Places(MOST_FILES_OF_ONE, most), onIdle);
}

/** The same for archives. */
export function openArchives(onIdle: () => void): Open<ArchiveBackend> {
  const most = `One client has at most ${MOST_ARCHIVES_OF_ONE} archives of a VM open at a time; end or destroy one`;
  return new Open(archivesOf, "archive of this stream", new Places(MOST_ARCHIVES_OF_ONE, most), onIdle);
}

/** The same for watches. */
export function openWatches(onIdle: () => void): Open<LocalWatches> {
  const most = `One client has at most ${MOST_WATCHES_OF_ONE} watches of a VM at a time; end one`;
  return new Open(watchesOf, "watch", new Places(MOST_WATCHES_OF_ONE, most), onIdle);
}

/** What clients have open of one kind. */
export class Open<B extends Backend> {
  readonly #held = new Map<string, Held<B>>();
  readonly #backendOf: (vm: AgentVm) => B;
  readonly #what: string;
  readonly #places: Places;
  readonly #onIdle: () => void;
  #sweeper: NodeJS.Timeout | undefined;

  constructor(backendOf: (vm: AgentVm) => B, what: string, places: Places, onIdle: () => void) {
    this.#backendOf = backendOf;
    this.#what = what;
    this.#places = places;
    this.#onIdle = onIdle;
  }

  /** How much is open; the VM bounds it. */
  get size(): number {
    return this.#held.size;
  }

  /** Opens something. Returns the token that its client names it by, and that no other client can guess. */
  async open(vm: AgentVm, client: object, open: (backend: B) => Promise<Opened>): Promise<string> {
    const giveBack = this.#places.take(client);
    try {
      const backend = this.#backendOf(vm);
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

  /** Makes a call about something open. */
  async use<T>(token: unknown, call: (backend: B, opened: Opened) => Promise<T>): Promise<T> {
    const held = typeof token === "string" ? this.#held.get(token) : undefined;
    if (!held) throw failure("VM_DISPOSED", `The ${this.#what} is closed: its VM has ended, or its client was gone`);
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

  /** The VM has ended, which has closed everything. */
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
