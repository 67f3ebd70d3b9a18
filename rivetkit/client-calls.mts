// What this start of the actor has of one client: its calls, its uploads and what it follows.
import { type Claim, Share } from "./budget.mjs";
import { failure } from "./errors.mjs";
import type { Live } from "./live.mjs";
import { Readings } from "./readings.mjs";
import {
  CALL_BYTES,
  MOST_ARGUMENT_VALUES,
  NotEncoded,
  PART_BYTES,
  TooLarge,
  decode,
  encode,
  encodedSize,
} from "./wire.mjs";

/** How many ids of a client's finished calls are remembered. */
const MOST_OVER = 2048;
/** How many requests may wait for one call; a client has one, and another after a lost connection. */
const MOST_WAITING = 4;
/** What a call, an upload or a part of one counts in addition to its bytes. */
export const OVERHEAD = 1024;

export interface Call {
  /** Resolves when the call has been passed to the VM. */
  started: Promise<void>;
  /** The id of the call that must start before this one. */
  waitsFor: string | undefined;
  settled: boolean;
  /**
   * Wakes each request that waits for the call. Racing the outcome's promise instead would add a reaction to it for
   * every request.
   */
  readonly waiting: Set<() => void>;
  outcome: Promise<{ value: unknown } | { bytes: Uint8Array } | { error: unknown }>;
  readonly claim: Claim;
  /** Ends a call that only waits. */
  readonly leave: AbortController | undefined;
  touched: number;
}

export interface Upload {
  readonly parts: Map<number, Uint8Array>;
  /** The size of the last part: all other parts have the same size. */
  short: number | undefined;
  bytes: number;
  readonly claim: Claim;
  touched: number;
}

/** What this start of the actor has of one client. */
export class Client {
  readonly share = new Share();
  readonly readings: Readings;
  readonly connections = new Set<string>();
  readonly calls = new Map<string, Call>();
  /**
   * Wakes the calls that wait for a call that has not arrived yet. One entry per missing call, because only one call
   * can follow it.
   */
  readonly waiting = new Map<string, () => void>();
  readonly uploads = new Map<string, Upload>();
  /** The signals and outputs that the client follows, of its calls and of processes that they started. */
  readonly lives = new Map<string, Live>();
  /**
   * Ids of calls that were answered and forgotten, or aborted before they arrived: a late successor need not wait for
   * them.
   */
  readonly over = new Set<string>();
  /** When its last connection closed. */
  left = 0;
  /** Whether it is gone for good: no client will fetch the answers of its running calls. */
  gone = false;

  /** `actor` is the same object for all clients of an actor. */
  constructor(actor: object) {
    this.readings = new Readings(actor, this.share);
  }
}

/**
 * Resolves when the call has settled, or after the time that one action may take; earlier if too many requests wait.
 */
export function settledOrLate({ waiting }: Call, holdMs: number): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      waiting.delete(done);
      resolve();
    };
    const timer = setTimeout(done, holdMs);
    const [first] = waiting;
    if (waiting.size >= MOST_WAITING) first?.();
    waiting.add(done);
  });
}

/**
 * Resolves when the previous call has been passed to the VM, or has not arrived within the time that one action may
 * take.
 */
export async function turn(client: Client, after: string | undefined, holdMs: number): Promise<void> {
  if (after === undefined || client.over.has(after)) return;
  if (!client.calls.has(after)) {
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      client.waiting.set(after, resolve);
      timer = setTimeout(resolve, holdMs);
    });
    clearTimeout(timer);
    client.waiting.delete(after);
  }
  await client.calls.get(after)?.started;
}

/** Refuses a call that would wait for itself, directly or through other calls that have not started. */
export function refuseCycle(client: Client, id: string, after: string | undefined): void {
  for (let before = after; before !== undefined; before = client.calls.get(before)?.waitsFor) {
    if (before === id) throw failure("INVALID_ARGUMENT", "after must name a call that came before, not one that waits");
  }
}

/** Arguments in the request itself, counted like all others. */
export function inline(args: unknown[], claim: Claim): unknown[] {
  claim.take(OVERHEAD + encodedSize(args, CALL_BYTES));
  return args;
}

export function assemble(client: Client, id: string, count: number, claim: Claim): unknown[] | undefined {
  const upload = client.uploads.get(id);
  if (!upload || count < 1 || upload.parts.size !== count) return undefined;
  check(upload.short === undefined || upload.short === count - 1);
  const all = new Uint8Array(upload.bytes);
  for (let index = 0; index < count; index++) {
    const part = upload.parts.get(index);
    if (!part) return undefined;
    all.set(part, index * PART_BYTES);
  }
  drop(client, id);
  claim.take(OVERHEAD + all.byteLength);
  try {
    const args = decode(all, { mostValues: MOST_ARGUMENT_VALUES, bare: true });
    check(Array.isArray(args));
    return args as unknown[];
  } catch (error) {
    if (error instanceof NotEncoded) throw failure("INVALID_ARGUMENT", error.message);
    throw error;
  }
}

export function encoded(value: unknown): Uint8Array {
  try {
    return encode(value);
  } catch (error) {
    if (error instanceof TooLarge) throw failure("LIMIT_EXCEEDED", error.message);
    throw error;
  }
}

/** Remembers that the call has ended. */
export function over(client: Client, id: string): void {
  client.over.add(id);
  for (const oldest of client.over) {
    if (client.over.size <= MOST_OVER) break;
    client.over.delete(oldest);
  }
}

export function drop(client: Client, id: string): void {
  client.uploads.get(id)?.claim.release();
  client.uploads.delete(id);
}

/** Only our own client sends such requests; one that does not fit was not sent by it. */
export function check(fits: unknown): asserts fits {
  if (!fits) throw failure("INVALID_ARGUMENT", "This is no request of agent-vm's client");
}
