// What the actor and our client say to each other beside rivetkit's own actions: the names of the actions that carry
// calls, the sizes that pieces have, and one encoding of plain values as bytes. It runs in browsers too.

/**
 * The actor's own actions for our client. They are in no type: a program calls `exec`, and our client turns it into
 * these. A call has an id that the client chose, so that after a lost connection it can be asked for again.
 */
export const HELLO = "agentVmHello";
export const BEGIN = "agentVmBegin";
export const FOLLOW = "agentVmFollow";
export const PART = "agentVmPart";
export const PIECE = "agentVmPiece";
export const POSITIONS = "agentVmPositions";

/** An upload's part: 60,000 characters in base64, under rivetkit's default maxIncomingMessageSize of 65,536. */
export const PART_BYTES = 45_000;
/** A result's piece: 512 KiB in base64, under rivetkit's default maxOutgoingMessageSize of 1,048,576. */
export const PIECE_BYTES = 384 * 1024;
/** Arguments that encode to more than this go up in parts. The rest of 65,536 is for the message around them. */
export const INLINE_ARGUMENTS = 48 * 1024;
/** Results that encode to more than this are fetched in pieces. */
export const INLINE_RESULT = 256 * 1024;
/** The largest arguments, and the largest result, that one call may have: each is held in memory whole. */
export const CALL_BYTES = 256 * 1024 * 1024;
/** How long the actor lets one action wait for its call: guards on the way cut off actions of more than 40 s. */
export const HOLD_MS = 15_000;

/** Which start of the actor a client speaks to. A VM, and what ran in it, does not outlive it. */
export interface Hello {
  incarnation: string;
}
/** The incarnation of an actor that is about to end, and takes no calls. */
export const STOPPING = "";

export interface Begin {
  id: string;
  method: string;
  /** The incarnation that the call was first sent to. */
  incarnation: string;
  /** The arguments, or how many parts of them went up before. */
  args: unknown[] | number;
  /**
   * The call that has to be started before this one: rivetkit hands actions to an actor in no certain order, and writes
   * to one stream have one.
   */
  after?: string;
  /** Calls whose results have arrived, so that the actor need not keep them. */
  done: string[];
}

export type Answer =
  | { state: "done"; value: unknown }
  /** Longer than INLINE_RESULT: to be fetched in pieces. */
  | { state: "large"; bytes: number }
  | { state: "pending" }
  /** Not all of the parts are there (any more). */
  | { state: "incomplete" }
  /** The call is for a start of the actor that has ended. */
  | { state: "stale"; incarnation: string };

/** How far each stream has come, and how those that ended did: what a client compares with what it has seen. */
export interface Positions extends Hello {
  processes: StreamPosition<number>[];
  shells: StreamPosition<string>[];
}
export interface StreamPosition<Id> {
  id: Id;
  seq: number;
  /** The exit event, once it was sent. */
  exit: object | null;
}

/** Strings longer than this travel as bytes, and not inside the JSON. */
const LONG_STRING = 4096;

/** A value that cannot be sent. */
export class NotPlain extends TypeError {
  override name = "TypeError";
}

/**
 * Encodes a plain value: the length of a JSON text, the text, then the bytes that it refers to. Throws NotPlain for
 * what is not plain: functions, symbols, and objects of classes other than Uint8Array.
 */
export function encode(value: unknown): Uint8Array {
  const blobs: Uint8Array[] = [];
  let bytes = 0;
  const put = (kind: "bytes" | "text", blob: Uint8Array): object => {
    blobs.push(blob);
    bytes += blob.byteLength;
    return { $: kind, at: bytes - blob.byteLength, length: blob.byteLength };
  };
  const plain = (item: unknown): unknown => {
    if (item === undefined) return { $: "undefined" };
    if (item === null || typeof item === "boolean") return item;
    if (typeof item === "number") return Number.isFinite(item) ? item : { $: "number", text: String(item) };
    if (typeof item === "string") return item.length > LONG_STRING ? put("text", new TextEncoder().encode(item)) : item;
    if (item instanceof Uint8Array) return put("bytes", item);
    if (Array.isArray(item)) return item.map(plain);
    if (typeof item === "object" && isPlain(item)) {
      const entries = Object.entries(item).map(([key, member]) => [key, plain(member)] as const);
      return "$" in item ? { $: "object", entries } : Object.fromEntries(entries);
    }
    throw new NotPlain(`A ${typeof item === "object" ? "class's object" : typeof item} cannot be sent to an actor`);
  };
  const text = new TextEncoder().encode(JSON.stringify(plain(value)));
  const out = new Uint8Array(4 + text.byteLength + bytes);
  new DataView(out.buffer).setUint32(0, text.byteLength);
  out.set(text, 4);
  let at = 4 + text.byteLength;
  for (const blob of blobs) {
    out.set(blob, at);
    at += blob.byteLength;
  }
  return out;
}

interface Tagged {
  $: string;
  at?: number;
  length?: number;
  text?: string;
  entries?: [string, unknown][];
}

/** The value that `encode` made the bytes from. Throws on anything else. */
export function decode(data: Uint8Array): unknown {
  const text = 4 + new DataView(data.buffer, data.byteOffset, data.byteLength).getUint32(0);
  const revive = (item: unknown): unknown => {
    if (typeof item !== "object" || item === null) return item;
    if (Array.isArray(item)) return item.map(revive);
    if (!("$" in item)) return Object.fromEntries(Object.entries(item).map(([key, member]) => [key, revive(member)]));
    const tagged = item as Tagged;
    const blob = () => data.slice(text + (tagged.at ?? 0), text + (tagged.at ?? 0) + (tagged.length ?? 0));
    switch (tagged.$) {
      case "undefined":
        return undefined;
      case "number":
        return Number(tagged.text);
      case "text":
        return new TextDecoder("utf-8", { ignoreBOM: true }).decode(blob());
      case "bytes":
        return blob();
      case "object":
        return Object.fromEntries((tagged.entries ?? []).map(([key, member]) => [key, revive(member)]));
      default:
        throw new TypeError(`Unknown kind of value: ${tagged.$}`);
    }
  };
  return revive(JSON.parse(new TextDecoder().decode(data.subarray(4, text))));
}

function isPlain(item: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(item);
  // An object of another realm (a worker's, a test runner's) has a prototype of its own that looks the same.
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

/**
 * No fewer bytes than rivetkit needs for the value in any of its encodings, or some number above `limit` once it is
 * clear that it is more. Bytes travel as base64, and a control character in JSON is six.
 */
export function encodedSize(value: unknown, limit: number): number {
  let size = 0;
  const add = (item: unknown): void => {
    size += 16;
    if (size > limit) return;
    if (typeof item === "string") {
      if (item.length > limit) size += item.length;
      else for (let at = 0; at < item.length && size <= limit; at++) size += widthInJson(item.charCodeAt(at));
    } else if (item instanceof Uint8Array) {
      size += Math.ceil(item.byteLength / 3) * 4;
    } else if (Array.isArray(item)) {
      for (const member of item) {
        add(member);
        if (size > limit) return;
      }
    } else if (typeof item === "object" && item !== null) {
      for (const [key, member] of Object.entries(item)) {
        size += 3 * key.length;
        add(member);
        if (size > limit) return;
      }
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

/** Node's encoder where there is one: rivetkit's own for bytes takes them one by one. */
export function toBase64(bytes: Uint8Array): string {
  if (typeof Buffer !== "undefined") {
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
  }
  let binary = "";
  // In steps that a call's argument list can hold.
  for (let at = 0; at < bytes.length; at += 8192) binary += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(binary);
}

export function fromBase64(text: string): Uint8Array {
  if (typeof Buffer !== "undefined") return Buffer.from(text, "base64");
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}
