// The protocol between the actor and our client, in addition to rivetkit's actions: the names of the actions that carry
// calls, the sizes of pieces, and an encoding of plain values as bytes. It runs in browsers too.

/**
 * The internal actions for our client. They are in no public type: a program calls `exec`, and our client turns that
 * into these actions. The client chooses the id of a call, so that it can ask for the call again after a lost
 * connection.
 */
export const HELLO = "agentVmHello";
export const BEGIN = "agentVmBegin";
export const FOLLOW = "agentVmFollow";
export const PART = "agentVmPart";
export const PIECE = "agentVmPiece";
export const POSITIONS = "agentVmPositions";
export const TAKE = "agentVmTake";
export const ABORT = "agentVmAbort";
export const READ = "agentVmRead";
export const UNREAD = "agentVmUnread";

/**
 * The size of an upload's part: 60,000 characters in base64, below rivetkit's default maxIncomingMessageSize of 65,536.
 */
export const PART_BYTES = 45_000;
/** The size of a result's piece: 512 KiB in base64, below rivetkit's default maxOutgoingMessageSize of 1,048,576. */
export const PIECE_BYTES = 384 * 1024;
/** Larger encoded arguments are uploaded in parts. The difference to 65,536 is for the message around them. */
export const INLINE_ARGUMENTS = 48 * 1024;
/** Larger encoded results are fetched in pieces. */
export const INLINE_RESULT = 256 * 1024;
/** The maximum size of a call's arguments, and of its result: each is held in memory as a whole. */
export const CALL_BYTES = 256 * 1024 * 1024;
/**
 * How long one action waits for its call, but at most half of actionTimeout: proxies on the way may cut off actions of
 * more than 40 s.
 */
export const HOLD_MS = 15_000;

/** The start of the actor that a client is connected to. A VM and its processes do not outlive it. */
export interface Hello {
  incarnation: string;
}
/** The incarnation that an actor reports when it is about to end and accepts no calls. */
export const STOPPING = "";

export interface Begin {
  id: string;
  method: string;
  /** The incarnation to which the call was first sent. */
  incarnation: string;
  /** The arguments, or the number of parts that were uploaded before. */
  args: unknown[] | number;
  /**
   * The call that must start before this one. rivetkit passes actions to an actor in no particular order, but writes to
   * one stream must keep theirs.
   */
  after?: string;
  /** Calls whose results have arrived, so that the actor can drop them. */
  done: string[];
  /** What the client follows while the call runs. With an output stream, the call is answered as pending at once. */
  live?: LiveParts;
}

/** Which of a call's options stay with the client. */
export interface LiveParts {
  signal: boolean;
  stdout: boolean;
  stderr: boolean;
}

export const STDOUT = 1;
export const STDERR = 2;
/** A part of a call's output. */
export type Taken =
  | {
      state: "taken";
      /** For each chunk in order, its stream and its bytes in base64. */
      chunks: [typeof STDOUT | typeof STDERR, string][];
      /** The position after these chunks: the number of bytes of both streams so far. */
      next: number;
      /** Whether this is the end of the output. */
      end: boolean;
    }
  | { state: "stale"; incarnation: string };

/** Which process or shell a handle is of, or which of the process's other pipes. `token` is another one for each, so that none is taken for another by its id. */
export type HandleOf = { pid: number; token?: string; fd?: number } | { shellId: string; token?: string };
/** How spawn and getHandle name a process to our client: with the numbers of its pipes beside the standard streams. */
export type ProcessNamed = { pid: number; token: string; inputs: number[]; outputs: number[] };

/** What a client reads of the output of a process or shell. */
export interface ReadRequest {
  of: HandleOf;
  /** One stream or both; of a shell, STDOUT. */
  streams: (typeof STDOUT | typeof STDERR)[];
  /** How many bytes of all streams the client has, or has passed over. */
  after: number;
}
export type Read =
  | {
      state: "read";
      /** For each chunk in order, its stream and its bytes in base64. */
      chunks: [typeof STDOUT | typeof STDERR, string][];
      /** The `after` of the next request. */
      next: number;
      /** The streams that have ended, and of which the client now has everything. */
      ended: (typeof STDOUT | typeof STDERR)[];
    }
  | { state: "stale"; incarnation: string };

export type Answer =
  | { state: "done"; value: unknown }
  /** Longer than INLINE_RESULT: fetched in pieces. */
  | { state: "large"; bytes: number }
  | { state: "pending" }
  /** Some of the parts are missing (or were dropped). */
  | { state: "incomplete" }
  /** The call is for a start of the actor that has ended. */
  | { state: "stale"; incarnation: string };

/** The position of each stream, and the exits; a client compares them with what it has received. */
export interface Positions extends Hello {
  processes: StreamPosition<number>[];
  shells: StreamPosition<string>[];
}
export interface StreamPosition<Id> {
  id: Id;
  seq: number;
  /** The exit event, if it was sent. */
  exit: object | null;
  /** Whether the end of its output was sent. */
  closed: boolean;
}

/** Longer strings are sent as bytes, outside of the JSON. */
const LONG_STRING = 4096;
/** The maximum nesting of arrays and objects, for encoding and decoding. */
export const MOST_DEPTH = 500;
/** The maximum number of values in one encoding; enough for a listing of 1,000,000 directory entries. */
export const MOST_VALUES = 4 * 1024 * 1024;
/** The same for arguments, because a client may send many values in a few bytes each. */
export const MOST_ARGUMENT_VALUES = 256 * 1024;

/** A value that cannot be sent. */
export class NotPlain extends TypeError {
  override name = "TypeError";
}

/** A value that is too large or too deeply nested to be sent. */
export class TooLarge extends NotPlain {}

/** Bytes that `encode` cannot have made. */
export class NotEncoded extends TypeError {
  override name = "TypeError";
}

/**
 * Encodes a plain value as the length of a JSON text, the text, and then the bytes that the text refers to, each once
 * and in order. Throws NotPlain for values that are not plain (functions, symbols, and objects of classes other than
 * Uint8Array). Throws TooLarge for a value that is nested deeper than MOST_DEPTH, has more than MOST_VALUES values, or
 * is longer than `mostBytes`.
 */
export function encode(value: unknown, mostBytes: number = CALL_BYTES): Uint8Array {
  const blobs: Uint8Array[] = [];
  let bytes = 0;
  let values = 0;
  let depth = 0;
  const put = (kind: "bytes" | "text", blob: Uint8Array): object => {
    values += 3;
    bytes += blob.byteLength;
    if (bytes > mostBytes) throw tooLong(mostBytes);
    blobs.push(blob);
    return { $: kind, at: bytes - blob.byteLength, length: blob.byteLength };
  };
  const special = (number: number): object => {
    values += 2;
    return { $: "number", text: Object.is(number, -0) ? "-0" : String(number) };
  };
  const plain = (item: unknown): unknown => {
    if (++values > MOST_VALUES) throw new TooLarge(`A call's arguments, or result, have at most ${MOST_VALUES} values`);
    if (item === undefined) {
      values++;
      return { $: "undefined" };
    }
    if (item === null || typeof item === "boolean") return item;
    if (typeof item === "number") return Number.isFinite(item) && !Object.is(item, -0) ? item : special(item);
    if (typeof item === "string") return item.length > LONG_STRING ? put("text", new TextEncoder().encode(item)) : item;
    if (item instanceof Uint8Array) return put("bytes", item);
    requireMembers(item);
    values++;
    if (++depth > MOST_DEPTH) throw new TooLarge(`A call's arguments, or result, are at most ${MOST_DEPTH} deep`);
    const encoded = Array.isArray(item) ? list(item) : members(item);
    depth--;
    return encoded;
  };
  const list = (item: readonly unknown[]): unknown[] => {
    const encoded: unknown[] = [];
    // By index, so that holes are included.
    for (let index = 0; index < item.length; index++) encoded.push(plain(item[index]));
    return encoded;
  };
  const members = (item: object): object => {
    const encoded = Object.create(null) as Record<string, unknown>;
    for (const [key, member] of Object.entries(item)) encoded[key] = plain(member);
    if (!Object.hasOwn(encoded, "$")) return encoded;
    const entries = Object.entries(encoded);
    values += 2 + 2 * entries.length;
    return { $: "object", entries };
  };
  const text = new TextEncoder().encode(JSON.stringify(plain(value)));
  const length = 4 + text.byteLength + bytes;
  if (length > mostBytes) throw tooLong(mostBytes);
  const out = new Uint8Array(length);
  new DataView(out.buffer).setUint32(0, text.byteLength);
  out.set(text, 4);
  let at = 4 + text.byteLength;
  for (const blob of blobs) {
    out.set(blob, at);
    at += blob.byteLength;
  }
  return out;
}

function tooLong(mostBytes: number): TooLarge {
  return new TooLarge(`A call's arguments, or result, are at most ${mostBytes} bytes`);
}

/**
 * Decodes the bytes that `encode` made. Throws NotEncoded for all others, because the sender may be hostile: the number
 * of values in the JSON text is bounded before it is parsed, every blob must be used exactly once, and every key
 * becomes an own property, whatever its name. With `bare`, objects have a null prototype, so that members of
 * Object.prototype are not taken for a caller's options.
 */
export function decode(encoded: Uint8Array, { mostValues = MOST_VALUES, bare = false } = {}): unknown {
  // `slice` of a Buffer would return a view.
  const data = new Uint8Array(encoded.buffer, encoded.byteOffset, encoded.byteLength);
  refuseUnless(data.byteLength >= 4);
  const blobsAt = 4 + new DataView(data.buffer, data.byteOffset, data.byteLength).getUint32(0);
  refuseUnless(blobsAt <= data.byteLength);
  const json = data.subarray(4, blobsAt);
  refuseUnless(isBounded(json, mostValues));
  /** The position up to which the blobs have been used. */
  let used = blobsAt;
  const blob = (tagged: Readonly<Record<string, unknown>>): Uint8Array => {
    const { at, length } = tagged;
    refuseUnless(hasKeys(tagged, "$", "at", "length") && at === used - blobsAt);
    refuseUnless(Number.isSafeInteger(length) && (length as number) >= 0);
    refuseUnless((length as number) <= data.byteLength - used);
    used += length as number;
    return data.slice(used - (length as number), used);
  };
  /** Makes an object of the entries; changes them. */
  const object = (entries: [string, unknown][]): object => {
    deeper();
    for (const entry of entries) entry[1] = revive(entry[1]);
    depth--;
    // Neither way lets a key `__proto__` set a prototype.
    if (!bare) return Object.fromEntries(entries);
    const made = Object.create(null) as Record<string, unknown>;
    for (const [key, member] of entries) made[key] = member;
    return made;
  };
  let depth = 0;
  const deeper = (): void => refuseUnless(++depth <= MOST_DEPTH);
  const revive = (item: unknown): unknown => {
    if (typeof item === "string") refuseUnless(item.length <= LONG_STRING);
    if (typeof item !== "object" || item === null) return item;
    if (!Array.isArray(item)) {
      return Object.hasOwn(item, "$") ? untag(item as Record<string, unknown>) : object(Object.entries(item));
    }
    deeper();
    for (let index = 0; index < item.length; index++) item[index] = revive(item[index]);
    depth--;
    return item;
  };
  const untag = (tagged: Readonly<Record<string, unknown>>): unknown => {
    switch (tagged.$) {
      case "undefined":
        refuseUnless(hasKeys(tagged, "$"));
        return undefined;
      case "number":
        refuseUnless(hasKeys(tagged, "$", "text") && SPECIAL_NUMBERS.has(tagged.text as string));
        return Number(tagged.text);
      case "text": {
        const text = fromUtf8(blob(tagged));
        refuseUnless(text.length > LONG_STRING);
        return text;
      }
      case "bytes":
        return blob(tagged);
      case "object":
        refuseUnless(hasKeys(tagged, "$", "entries") && isEntries(tagged.entries));
        return object(tagged.entries);
      default:
        return refuse();
    }
  };
  const value = revive(parse(json));
  refuseUnless(used === data.byteLength);
  return value;
}

const SPECIAL_NUMBERS: ReadonlySet<unknown> = new Set(["NaN", "Infinity", "-Infinity", "-0"]);

function refuse(): never {
  throw new NotEncoded("These bytes are no value that agent-vm has encoded");
}

function refuseUnless(fits: unknown): asserts fits {
  if (!fits) refuse();
}

function hasKeys(item: object, ...keys: string[]): boolean {
  const own = Object.keys(item);
  return own.length === keys.length && keys.every((key) => Object.hasOwn(item, key));
}

/** Pairs with different keys, one of which is `$`, the reason for this form. */
function isEntries(entries: unknown): entries is [string, unknown][] {
  if (!Array.isArray(entries)) return false;
  const keys = new Set<unknown>();
  for (const entry of entries as unknown[]) {
    if (!Array.isArray(entry) || entry.length !== 2 || typeof entry[0] !== "string") return false;
    keys.add(entry[0]);
  }
  return keys.size === entries.length && keys.has("$");
}

function fromUtf8(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return refuse();
  }
}

function parse(json: Uint8Array): unknown {
  const text = fromUtf8(json);
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return refuse();
  }
}

/**
 * Whether the JSON text has at most `mostValues` values, and nests them at most MOST_DEPTH deep, judged by its brackets
 * and commas. An invalid text is left to the parser.
 */
function isBounded(json: Uint8Array, mostValues: number): boolean {
  // An object with a key `$` takes three levels, and what is sent as such an object takes one more.
  const mostDepth = 3 * MOST_DEPTH + 1;
  let depth = 0;
  let values = 1;
  let quoted = false;
  for (let at = 0; at < json.length; at++) {
    const byte = json[at];
    if (quoted) {
      if (byte === BACKSLASH) at++;
      else if (byte === QUOTE) quoted = false;
      continue;
    }
    if (byte === QUOTE) quoted = true;
    else if (byte === OPEN_BRACKET || byte === OPEN_BRACE) {
      values++;
      if (++depth > mostDepth) return false;
    } else if (byte === CLOSE_BRACKET || byte === CLOSE_BRACE) depth--;
    else if (byte === COMMA) values++;
    if (values > mostValues) return false;
  }
  return true;
}

const QUOTE = 0x22;
const COMMA = 0x2c;
const OPEN_BRACKET = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

/** Throws NotPlain as `encode` does, at a fraction of its cost. The value must be at most MOST_DEPTH deep. */
export function requirePlain(value: unknown): void {
  if (value === undefined || value === null || SIMPLE.has(typeof value) || value instanceof Uint8Array) return;
  requireMembers(value);
  for (const member of Array.isArray(value) ? value : Object.values(value)) requirePlain(member);
}

const SIMPLE: ReadonlySet<string> = new Set(["boolean", "number", "string"]);

/** Throws NotPlain unless the value is an array or a plain object. */
function requireMembers(value: unknown): asserts value is object {
  if (typeof value === "object" && value !== null && (Array.isArray(value) || isPlain(value))) return;
  throw new NotPlain(`A ${typeof value === "object" ? "class's object" : typeof value} cannot be sent to an actor`);
}

export function isPlain(item: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(item);
  // An object of another realm (a worker's, a test runner's) has that realm's Object.prototype.
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

/**
 * At least as many bytes as rivetkit needs for the value in any of its encodings, or a number above `limit` as soon as
 * that is exceeded. Bytes are sent as base64, and a control character in JSON takes six bytes.
 */
export function encodedSize(value: unknown, limit: number): number {
  let size = 0;
  let depth = 0;
  const add = (item: unknown): void => {
    size += 16;
    if (size > limit) return;
    if (typeof item === "string") {
      if (item.length > limit) size += item.length;
      else for (let at = 0; at < item.length && size <= limit; at++) size += widthInJson(item.charCodeAt(at));
    } else if (item instanceof Uint8Array) {
      size += Math.ceil(item.byteLength / 3) * 4;
    } else if (typeof item === "object" && item !== null) {
      // `encode` reports that it is too deep.
      if (++depth > MOST_DEPTH) size = limit + 1;
      else if (Array.isArray(item)) addList(item);
      else addMembers(item);
      depth--;
    }
  };
  const addList = (item: readonly unknown[]): void => {
    for (const member of item) {
      add(member);
      if (size > limit) return;
    }
  };
  const addMembers = (item: object): void => {
    for (const [key, member] of Object.entries(item)) {
      size += 3 * key.length;
      add(member);
      if (size > limit) return;
    }
  };
  add(value);
  return size;
}

function widthInJson(code: number): number {
  if (code < 0x20) return 6;
  if (code === 0x22 || code === 0x5c) return 2;
  if (code < 0x80) return 1;
  return code < 0x800 ? 2 : 3;
}

/** Uses Node.js's encoder if there is one; rivetkit's own encoder handles bytes one at a time. */
export function toBase64(bytes: Uint8Array): string {
  if (typeof Buffer !== "undefined") {
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
  }
  let binary = "";
  // In steps, because a call's number of arguments is limited.
  for (let at = 0; at < bytes.length; at += 8192) binary += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(binary);
}

export function fromBase64(text: string): Uint8Array {
  if (typeof Buffer !== "undefined") return Buffer.from(text, "base64");
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}
