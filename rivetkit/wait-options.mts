// The options of a wait that the client carries out itself, checked as a VM checks them. It runs in browsers too.
import { RivetError } from "rivetkit/client";
import { isSignal } from "./following.mjs";
import { isPlain } from "./wire.mjs";

interface WaitOptions {
  after?: number;
  timeout?: number;
  signal?: AbortSignal;
}

/** Reads the own members of the options. Throws INVALID_ARGUMENT. `names` are those that there are. */
export function waitOptions(options: unknown, names: readonly (keyof WaitOptions)[]): WaitOptions {
  if (options === undefined) return {};
  if (typeof options !== "object" || options === null || !isPlain(options)) {
    throw invalid(`options must be an object, not ${options === null ? "null" : `of type ${typeof options}`}`);
  }
  // Without a prototype, so that what other code added to Object.prototype is no option.
  const read = Object.assign(Object.create(null) as WaitOptions, options);
  for (const [key, value] of Object.entries(read)) {
    if (value !== undefined && !names.some((name) => name === key)) {
      throw invalid(`options has no member ${JSON.stringify(key)}; there are ${names.join(", ")}`);
    }
  }
  const { after, timeout, signal } = read;
  if (after !== undefined && !(Number.isSafeInteger(after) && after >= 0)) {
    throw invalid(`after must be an integer from 0 to ${Number.MAX_SAFE_INTEGER}`);
  }
  if (timeout !== undefined && !(Number.isFinite(timeout) && timeout >= 0)) {
    throw invalid("timeout must be a number of milliseconds, 0 or more (0 means none)");
  }
  if (signal !== undefined && !isSignal(signal)) throw invalid("signal must be an AbortSignal");
  return read;
}

function invalid(message: string): RivetError {
  return new RivetError("user", "INVALID_ARGUMENT", message);
}
