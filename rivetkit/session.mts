// One connection to an actor, from its opening to its loss. It is never reopened; a new session is opened instead.
import type { ActorConnRaw, ActorHandleRaw } from "rivetkit/client";
import { HELLO, type Hello, NotPlain, STOPPING } from "./wire.mjs";

/**
 * A connection can be dead although it looks open: the engine keeps its end when the server behind it is gone, and
 * forgets pending calls. So after this much silence, the actor is asked whether it is alive.
 */
const SILENT_MS = 4000;
/** How long the actor may take to answer that. */
const PING_MS = 4000;

/** The error of a call whose connection was lost. */
export class ConnectionLost extends Error {
  override name = "ConnectionLost";
}

export class Session {
  readonly #connection: ActorConnRaw;
  #gone = false;
  /** The functions to call at the end of the connection. */
  readonly #whenGone = new Set<() => void>();
  #heard = Date.now();
  #waiting = 0;
  #pinging = false;
  readonly #watch: ReturnType<typeof setInterval>;

  /** The start of the actor that this connection reaches; undefined if the actor is not one of this package's. */
  readonly incarnation: string | undefined;

  /**
   * Rejects if the connection does not open in `openMs` (many actors may have to be started first), or if the actor
   * does not answer in `answerMs` after that: a connection made in the moment when the actor falls asleep never
   * answers. `stop` aborts the opening. `name` identifies this client to the actor.
   */
  static async open(
    handle: ActorHandleRaw,
    name: string,
    openMs: number,
    answerMs: number,
    stop: AbortSignal,
  ): Promise<Session> {
    stop.throwIfAborted();
    // With rivetkit's types, it would have the actions and events of an empty actor.
    const connection = handle.connect() as unknown as ActorConnRaw;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let abort: () => void = () => {};
    let forget: () => void = () => {};
    const failed = new Promise<never>((_resolve, reject) => {
      const within = (ms: number): void => {
        clearTimeout(timer);
        timer = setTimeout(() => reject(new ConnectionLost(`The actor did not answer in ${ms} ms`)), ms);
      };
      within(openMs);
      forget = connection.onOpen(() => within(answerMs));
      abort = () => reject(stop.reason as ConnectionLost);
    });
    stop.addEventListener("abort", abort);
    try {
      const hello = connection.action<[string], Hello>({ name: HELLO, args: [name] });
      const { incarnation } = await Promise.race([hello, failed]);
      if (incarnation === STOPPING) throw new ConnectionLost("The actor is stopping");
      return new Session(connection, incarnation);
    } catch (error) {
      if (isCode(error, "actor", "action_not_found")) return new Session(connection, undefined);
      connection.dispose().catch(() => {});
      throw error;
    } finally {
      clearTimeout(timer);
      forget();
      stop.removeEventListener("abort", abort);
    }
  }

  private constructor(connection: ActorConnRaw, incarnation: string | undefined) {
    this.#connection = connection;
    this.incarnation = incarnation;
    connection.onStatusChange((status) => {
      if (status !== "connected") this.close();
    });
    this.#watch = setInterval(() => {
      if (Date.now() - this.#heard >= SILENT_MS && (this.#waiting > 0 || this.subscribed)) void this.ping(PING_MS);
    }, SILENT_MS / 2);
    if (connection.connStatus !== "connected") this.close();
  }

  /** Whether events are expected; if so, a long silence is checked. */
  subscribed = false;

  /** The connection was lost or closed. */
  get gone(): boolean {
    return this.#gone;
  }

  /** Calls `listener` at the end of the connection. The returned function cancels that. */
  onGone(listener: () => void): () => void {
    this.#whenGone.add(listener);
    return () => void this.#whenGone.delete(listener);
  }

  get silentMs(): number {
    return Date.now() - this.#heard;
  }

  /** Asks the actor whether it is alive and still the same start; otherwise the connection counts as lost. */
  async ping(timeoutMs: number): Promise<void> {
    if (this.#pinging || this.incarnation === undefined) return;
    this.#pinging = true;
    const timer = setTimeout(() => this.close(), timeoutMs);
    try {
      const { incarnation } = await this.action<Hello>(HELLO, []);
      if (incarnation !== this.incarnation) this.close();
    } catch {
      this.close();
    } finally {
      clearTimeout(timer);
      this.#pinging = false;
    }
  }

  async action<T>(name: string, args: unknown[]): Promise<T> {
    if (this.#gone) throw new ConnectionLost("The connection to the actor was lost");
    this.#waiting++;
    let lost: () => void = () => {};
    try {
      const loss = new Promise<never>((_resolve, reject) => {
        lost = () => reject(new ConnectionLost("The connection to the actor was lost"));
        this.#whenGone.add(lost);
      });
      return await Promise.race([this.#connection.action<unknown[], T>({ name, args }), loss]);
    } finally {
      this.#whenGone.delete(lost);
      this.#waiting--;
      this.#heard = Date.now();
    }
  }

  on(name: string, listener: (event: unknown) => void): () => void {
    return this.#connection.on(name, (event: unknown) => {
      this.#heard = Date.now();
      listener(event);
    });
  }

  close(): void {
    if (this.#gone) return;
    this.#gone = true;
    clearInterval(this.#watch);
    for (const listener of [...this.#whenGone]) listener();
    this.#whenGone.clear();
    // This rejects the pending calls a second time.
    this.#connection.dispose().catch(() => {});
  }
}

export function isCode(error: unknown, group: string, ...codes: string[]): boolean {
  if (typeof error !== "object" || error === null || !("group" in error) || !("code" in error)) return false;
  return error.group === group && codes.includes(String(error.code));
}

/** Whether another attempt on a new connection may succeed. */
export function isPassing(error: unknown): boolean {
  if (error instanceof ConnectionLost) return true;
  if (error instanceof NotPlain) return false;
  if (typeof error !== "object" || error === null || !("group" in error)) return error instanceof Error;
  if (error.group === "guard" || isCode(error, "ws", "going_away")) return true;
  // The engine gives up when it takes too long to find an actor, as when it has many to start.
  if (error.group === "pegboard" && "code" in error && String(error.code).endsWith("_timeout")) return true;
  // A newly started engine creates its namespace shortly after it begins to listen.
  if (isCode(error, "namespace", "not_found")) return true;
  // The actor is stopping or starting, or no server runs it yet: a new server is not known at once.
  return isCode(
    error,
    "actor",
    "stopping",
    "stopped",
    "starting",
    "restarting",
    "dropped_reply",
    "no_runner_config_configured",
    "no_envoys",
  );
}
