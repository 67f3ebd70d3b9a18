// The client's half of following a call: the options that are not sent but implemented on the client's side. It runs in
// browsers too.
import { RivetError } from "rivetkit/client";
import { type LiveParts, isPlain } from "./wire.mjs";

/** The position of the options in a call's arguments, and whether they may contain `onStdout` and `onStderr`. */
const LIVE: ReadonlyMap<string, { readonly at: number; readonly streams: boolean }> = new Map([
  ["exec", { at: 1, streams: true }],
  ["execFile", { at: 2, streams: true }],
  ["spawn", { at: 2, streams: true }],
  ["vmFetch", { at: 2, streams: false }],
  ["waitForPort", { at: 1, streams: false }],
  ["waitForIdle", { at: 1, streams: false }],
  ["waitForOutput", { at: 2, streams: false }],
  ["readScreen", { at: 1, streams: false }],
  ["waitForScreen", { at: 2, streams: false }],
]);

/** The calls whose options may have `check`. */
const CHECKED: ReadonlySet<string> = new Set(["exec", "execFile"]);

type OnOutput = (data: Uint8Array) => void;
/** The options that stay with the client. */
export interface Kept {
  readonly signal?: AbortSignal;
  readonly onStdout?: OnOutput;
  readonly onStderr?: OnOutput;
  /** Whether the call rejects if the command fails. */
  readonly check?: boolean;
}

/** Splits a call's arguments into what is sent and what stays with the client. Throws INVALID_ARGUMENT. */
export function split(method: string, args: unknown[]): { sent: unknown[]; kept: Kept } {
  const live = LIVE.get(method);
  const options = live && args[live.at];
  // The encoder or the VM refuses anything that is not a plain object.
  if (!live || typeof options !== "object" || options === null || !isPlain(options)) return { sent: args, kept: {} };
  const name = method === "vmFetch" ? "init" : "options";
  const rest: Record<string, unknown> = { ...options };
  const take = (key: string, holds: (value: unknown) => boolean, what: string): unknown => {
    if (!Object.hasOwn(rest, key)) return undefined;
    const value = rest[key];
    delete rest[key];
    if (value === undefined || holds(value)) return value;
    throw new RivetError("user", "INVALID_ARGUMENT", `${name}.${key} must be ${what}, not ${String(value)}`);
  };
  const isFunction = (value: unknown): boolean => typeof value === "function";
  const signal = take("signal", isSignal, "an AbortSignal");
  const onStdout = live.streams ? take("onStdout", isFunction, "a function") : undefined;
  const onStderr = live.streams ? take("onStderr", isFunction, "a function") : undefined;
  const check = CHECKED.has(method) ? take("check", (value) => typeof value === "boolean", "true or false") : undefined;
  return { sent: args.with(live.at, rest), kept: { signal, onStdout, onStderr, check } as Kept };
}

/** The parts of the options that the actor must implement; undefined if there are none. */
export function partsOf({ signal, onStdout, onStderr }: Kept): LiveParts | undefined {
  if (!signal && !onStdout && !onStderr) return undefined;
  return { signal: signal !== undefined, stdout: onStdout !== undefined, stderr: onStderr !== undefined };
}

/** The rejection of a call whose signal aborted. */
export function aborted(signal: AbortSignal): RivetError {
  return new RivetError("user", "ABORTED", "The operation was aborted", { cause: signal.reason as unknown });
}

/**
 * The followers of each signal. A signal gets one listener however many calls follow it, because Node.js warns of a
 * leak at the eleventh listener.
 */
const followed = new WeakMap<AbortSignal, { readonly callbacks: Set<() => void>; readonly listener: () => void }>();

/** Calls `onAbort` once when the signal aborts. The returned function cancels that. */
export function follow(signal: AbortSignal, onAbort: () => void): () => void {
  let entry = followed.get(signal);
  if (!entry) {
    const callbacks = new Set<() => void>();
    const listener = (): void => {
      followed.delete(signal);
      for (const callback of callbacks) callback();
    };
    followed.set(signal, (entry = { callbacks, listener }));
    signal.addEventListener("abort", listener, { once: true });
  }
  const { callbacks, listener } = entry;
  const callback = (): void => onAbort();
  callbacks.add(callback);
  return () => {
    if (!callbacks.delete(callback) || callbacks.size > 0 || followed.get(signal)?.listener !== listener) return;
    followed.delete(signal);
    signal.removeEventListener("abort", listener);
  };
}

export function isSignal(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  const { aborted: isAborted, addEventListener, removeEventListener } = value as Partial<AbortSignal>;
  return (
    typeof isAborted === "boolean" &&
    typeof addEventListener === "function" &&
    typeof removeEventListener === "function"
  );
}
