// Half a surrogate pair in the strings of a call: rivetkit's encoding would make other characters of it, so the actor could not
// see, and refuse, it. It runs in browsers too.
import { RivetError } from "rivetkit/client";

/** Strings deeper than this in an argument are not looked at: no call takes any. */
const DEEPEST = 8;

/** Where a call has data: the position of the argument, and the name of the member if it is one. */
const DATA: ReadonlyMap<string, readonly [at: number, member?: string]> = new Map([
  ["exec", [1, "stdin"]],
  ["execFile", [2, "stdin"]],
  ["spawn", [2, "stdin"]],
  ["writeProcessStdin", [1]],
  ["writeShell", [1]],
  ["writeFile", [1]],
  ["appendFile", [1]],
  ["writeFiles", [0, "content"]],
  ["vmFetch", [2, "body"]],
]);

/**
 * The arguments of a call. Half a surrogate pair becomes U+FFFD in data, as in Node.js, and in URLs, as everywhere; elsewhere it is
 * INVALID_ARGUMENT, as in the VM's own calls.
 */
export function wellFormed(method: string, args: unknown[]): unknown[] {
  const [dataAt, member] = DATA.get(method) ?? [];
  return args.map((arg, at) => {
    if (method === "vmFetch" && at === 1) return asData(arg);
    if (at !== dataAt) return checked(method, arg, 0);
    if (member === undefined) return asData(arg);
    return Array.isArray(arg)
      ? arg.map((each: unknown) => withoutData(method, each, member))
      : withoutData(method, arg, member);
  });
}

/** An object whose member is data. */
function withoutData(method: string, arg: unknown, member: string): unknown {
  if (typeof arg !== "object" || arg === null || !Object.hasOwn(arg, member)) return checked(method, arg, 0);
  const { [member]: data, ...rest } = arg as Record<string, unknown>;
  checked(method, rest, 0);
  return typeof data === "string" ? { ...arg, [member]: asData(data) } : arg;
}

function asData(value: unknown): unknown {
  return typeof value === "string" ? value.toWellFormed() : value;
}

/** The value, if all strings in it are well-formed. */
function checked(method: string, value: unknown, depth: number): unknown {
  if (typeof value === "string") {
    if (value.isWellFormed()) return value;
    const shown = JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value);
    const message = `${method} takes well-formed Unicode, without half a surrogate pair, not ${shown}`;
    throw new RivetError("user", "INVALID_ARGUMENT", message);
  }
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value) || depth > DEEPEST) return value;
  if (Array.isArray(value)) for (const each of value) checked(method, each, depth + 1);
  else {
    for (const [key, each] of Object.entries(value)) {
      checked(method, key, depth);
      checked(method, each, depth + 1);
    }
  }
  return value;
}
