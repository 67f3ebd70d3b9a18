// A handle's listeners, and the position of each of the VM's streams. After a lost connection, the listeners get what
// they missed, once and in order, before new events.
import type { ProcessOutputEvent, ShellDataEvent } from "agent-vm";
import { disposedStatus } from "./handles.mjs";
import { type Session, isCode } from "./session.mjs";
import { POSITIONS, type Positions, type StreamPosition } from "./wire.mjs";

export type Listener = (...args: never[]) => void;
/** Calls the actor over the connection that is being subscribed. */
export type Read = (method: string, args: unknown[]) => Promise<unknown>;

type Id = number | string;
interface Position {
  seq: number;
  exited: boolean;
  /** Whether the end of its output was delivered. */
  closed: boolean;
}
type StreamEvent = { pid?: number; shellId?: string; data?: Uint8Array; seq?: number };

/** As many as the VM keeps: for older ended streams there is no kept output to read. */
const KEPT_ENDED = 1024;
/**
 * The maximum number of streams whose position a client keeps; more than a VM has at the same time. The oldest are
 * forgotten first.
 */
const MOST_POSITIONS = 65_536;
/**
 * The maximum number of events held back while a client catches up. Beyond it, the connection is given up and the next
 * one reads on.
 */
const HELD_BACK = 4096;

/**
 * The part of an event that is new, if any. Output that was read to catch up may be ahead of the events that contain
 * it, even of some that arrive afterwards.
 */
function unreadOf(event: StreamEvent, position: Position | undefined): StreamEvent | undefined {
  if (!position || !event?.data || event.seq === undefined || event.seq >= position.seq) return event;
  const known = position.seq - event.seq;
  return known < event.data.byteLength ? { ...event, data: event.data.subarray(known), seq: position.seq } : undefined;
}

export class Streams {
  readonly #emptied: () => void;
  readonly #listeners = new Map<string, Set<{ callback: Listener; once: boolean }>>();
  #session: Session | undefined;
  #subscribed = new Map<string, () => void>();
  #incarnation: string | undefined;
  #positions = new Map<Id, Position>();
  #heldBack: { name: string; event: StreamEvent }[] | undefined;
  #turn: Promise<unknown> = Promise.resolve();

  /** `emptied` is called when the last listener was removed. */
  constructor(emptied: () => void) {
    this.#emptied = emptied;
  }

  get size(): number {
    return this.#listeners.size;
  }

  /** Whether there are listeners for events that the connection is not subscribed to. */
  lackedBy(session: Session): boolean {
    if (session !== this.#session) return this.#listeners.size > 0;
    return [...this.#listeners.keys()].some((name) => !this.#subscribed.has(name));
  }

  add(name: string, callback: Listener, once: boolean): () => void {
    const listener = { callback, once };
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners.add(listener));
    return () => this.#drop(name, listener);
  }

  remove(name: string, callback: Listener): void {
    for (const listener of this.#listeners.get(name) ?? []) {
      if (listener.callback === callback) return this.#drop(name, listener);
    }
  }

  #drop(name: string, listener: { callback: Listener; once: boolean }): void {
    const listeners = this.#listeners.get(name);
    if (!listeners?.delete(listener) || listeners.size > 0) return;
    this.#listeners.delete(name);
    this.#subscribed.get(name)?.();
    this.#subscribed.delete(name);
    if (this.#listeners.size > 0) return;
    if (this.#session) this.#session.subscribed = false;
    this.#forget();
    this.#emptied();
  }

  /** Whether the end of this output was delivered, or reported with the subscription. */
  isOver(id: Id): boolean {
    const position = this.#positions.get(id);
    return position !== undefined && (typeof id === "string" ? position.exited : position.closed);
  }

  /** Reports the end of this output if the VM ends, also if no event has named it before. */
  track(id: Id): void {
    if (this.#incarnation !== undefined) this.#position(id);
  }

  clear(): void {
    this.#listeners.clear();
    this.#subscribed.clear();
    this.#forget();
  }

  #forget(): void {
    this.#session = undefined;
    this.#incarnation = undefined;
    this.#positions.clear();
    this.#heldBack = undefined;
  }

  /**
   * Subscribes the connection to all events with listeners. Resolves when the actor has subscribed it, and the
   * listeners have got what they missed since the last connection.
   */
  subscribe(session: Session, read: Read): Promise<void> {
    const turn = this.#turn.then(() => this.#subscribe(session, read));
    this.#turn = turn.catch(() => {});
    return turn;
  }

  async #subscribe(session: Session, read: Read): Promise<void> {
    const resumed = session !== this.#session && this.#incarnation !== undefined;
    if (session !== this.#session) {
      this.#session = session;
      this.#subscribed = new Map();
      this.#heldBack = resumed ? [] : undefined;
    }
    const added = [...this.#listeners.keys()].filter((name) => !this.#subscribed.has(name));
    if (added.length === 0) return;
    session.subscribed = true;
    for (const name of added) {
      this.#subscribed.set(
        name,
        session.on(name, (event) => this.#arrived(session, name, event as StreamEvent)),
      );
    }
    // Another kind of actor: its events are passed on as they arrive.
    if (session.incarnation === undefined) return;
    // Its answer arrives after the subscriptions were made, and contains the streams' positions at that time.
    const positions = await session.action<Positions>(POSITIONS, []);
    if (resumed) await this.#catchUp(positions, read);
    else for (const stream of [...positions.processes, ...positions.shells]) this.#raise(stream);
    this.#incarnation = positions.incarnation;
  }

  /** Records a stream that a call has started, even if no event follows. */
  noticeResult(method: string, value: unknown): void {
    if (this.#incarnation === undefined) return;
    if (method === "spawn") this.#position((value as { pid: number }).pid);
    if (method === "openShell") this.#position((value as { shellId: string }).shellId);
  }

  #arrived(session: Session, name: string, event: StreamEvent): void {
    if (session !== this.#session) return;
    if (!this.#heldBack) {
      const position = this.#positions.get(event?.pid ?? event?.shellId ?? -1);
      // The stream begins again: another process has the pid.
      const again = position?.exited && event.seq === 0;
      const unread = again ? event : unreadOf(event, position);
      if (unread) this.#deliver(name, unread);
      return;
    }
    this.#heldBack.push({ name, event });
    if (this.#heldBack.length > HELD_BACK) session.close();
  }

  #deliver(name: string, event: StreamEvent): void {
    const id = event?.pid ?? event?.shellId;
    if (id !== undefined && event.data && event.seq !== undefined) {
      const position = this.#position(id);
      // The stream begins again: another process has the pid.
      if (position.exited && event.seq === 0) Object.assign(position, { exited: false, closed: false });
      position.seq = event.seq + event.data.byteLength;
    } else if (id !== undefined && (name === "processExit" || name === "shellExit")) {
      this.#end(id);
    } else if (id !== undefined && name === "processClose") {
      this.#position(id).closed = true;
    }
    this.#emit(name, event);
  }

  async #catchUp({ incarnation, processes, shells }: Positions, read: Read): Promise<void> {
    if (incarnation !== this.#incarnation) this.#endAll();
    for (const stream of processes) {
      await this.#missed("processOutput", stream, async (after) => {
        const output = (await read("readProcessOutput", [stream.id, { after }])) as { chunks: ProcessOutputEvent[] };
        return output.chunks;
      });
      this.#missedExit("processExit", stream);
      this.#missedClose(stream);
    }
    for (const stream of shells) {
      await this.#missed("shellData", stream, async (after) => {
        const output = (await read("readShell", [stream.id, { after }])) as { data: Uint8Array; nextSeq: number };
        const { data, nextSeq } = output;
        return [{ shellId: stream.id, data, seq: nextSeq - data.byteLength } satisfies ShellDataEvent];
      });
      this.#missedExit("shellExit", stream);
    }
    const heldBack = this.#heldBack ?? [];
    this.#heldBack = undefined;
    for (const { name, event } of heldBack) {
      const position = this.#positions.get(event?.pid ?? event?.shellId ?? -1);
      if (position?.exited && (name === "processExit" || name === "shellExit")) continue;
      if (position?.closed && name === "processClose") continue;
      const unread = unreadOf(event, position);
      if (unread) this.#deliver(name, unread);
    }
  }

  async #missed(
    name: "processOutput" | "shellData",
    { id, seq }: StreamPosition<Id>,
    read: (after: number) => Promise<{ data: Uint8Array; seq: number }[]>,
  ): Promise<void> {
    if (!this.#listeners.has(name)) return;
    const position = this.#position(id);
    if (position.exited && seq < position.seq) Object.assign(position, { seq: 0, exited: false, closed: false });
    if (seq <= position.seq) return;
    try {
      for (const event of await read(position.seq)) if (event.data.byteLength > 0) this.#deliver(name, event);
    } catch (error) {
      // It ended so long ago that its output is no longer kept.
      if (!isCode(error, "user", "PROCESS_NOT_FOUND", "SHELL_NOT_FOUND")) throw error;
    }
  }

  #missedExit(name: "processExit" | "shellExit", { id, exit }: StreamPosition<Id>): void {
    if (!exit || this.#positions.get(id)?.exited) return;
    this.#end(id);
    this.#emit(name, exit);
  }

  #missedClose({ id, closed }: StreamPosition<Id>): void {
    const position = this.#position(id);
    if (!closed || position.closed) return;
    position.closed = true;
    this.#emit("processClose", { pid: id });
  }

  /** Reports the end of all streams: the VM ended with its server, which could not report it. */
  #endAll(): void {
    let ran = false;
    for (const [id, { exited, closed }] of this.#positions) {
      ran ||= !exited;
      if (typeof id === "string") {
        if (!exited) this.#emit("shellExit", { shellId: id, ...disposedStatus });
        continue;
      }
      if (!exited) this.#emit("processExit", { pid: id, ...disposedStatus });
      if (!closed) this.#emit("processClose", { pid: id });
    }
    this.#positions.clear();
    if (ran) this.#emit("vmShutdown", { reason: "error" });
  }

  #position(id: Id): Position {
    let position = this.#positions.get(id);
    if (!position) {
      this.#positions.set(id, (position = { seq: 0, exited: false, closed: false }));
      if (this.#positions.size > MOST_POSITIONS) {
        for (const first of this.#positions.keys()) {
          this.#positions.delete(first);
          break;
        }
      }
    }
    return position;
  }

  #raise({ id, seq, exit, closed }: StreamPosition<Id>): void {
    const position = this.#position(id);
    position.seq = Math.max(position.seq, seq);
    position.exited ||= exit !== null;
    position.closed ||= closed;
  }

  #end(id: Id): void {
    this.#position(id).exited = true;
    const ended = [...this.#positions].filter(([, { exited }]) => exited);
    for (const [oldest] of ended.slice(0, Math.max(0, ended.length - KEPT_ENDED))) this.#positions.delete(oldest);
  }

  #emit(name: string, event: unknown): void {
    for (const listener of [...(this.#listeners.get(name) ?? [])]) {
      if (listener.once) this.#drop(name, listener);
      try {
        (listener.callback as (event: unknown) => void)(event);
      } catch (error) {
        // An error of the caller's listener, which must not keep the event from the others.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}
