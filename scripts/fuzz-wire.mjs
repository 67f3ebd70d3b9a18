// Fuzzes the decoder for messages between clients and actors (rivetkit/wire.mts). It mutates seeds, and mutated inputs
// whose result is new. The decoder must either refuse an input with NotEncoded, or return a value whose encoding
// decodes to an equal value; and the memory that it uses must be proportional to the input's size. After a build:
//
//   node --expose-gc scripts/fuzz-wire.mjs --seconds 1800 --corpus target/fuzz-wire --seed 1
//
// If an input breaks that promise, prints it in base64 and exits with 1. It does not measure coverage: jazzer.js would,
// but the native part of 4.0.0 needs a newer C library than Debian 12 has.
import assert from "node:assert/strict";
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { MOST_ARGUMENT_VALUES, NotEncoded, decode, encode } from "../dist/rivetkit/wire.mjs";

const { values: options } = parseArgs({
  options: {
    seconds: { type: "string", default: "10" },
    iterations: { type: "string", default: "Infinity" },
    seed: { type: "string", default: "1" },
    corpus: { type: "string" },
  },
});

/** mulberry32: the same seed gives the same sequence. */
let state = Number(options.seed) >>> 0;
function random(below) {
  state = (state + 0x6d2b79f5) >>> 0;
  let mixed = Math.imul(state ^ (state >>> 15), state | 1);
  mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
  return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
}
const one = (list) => list[random(list.length)];

const long = "é€😀x".repeat(1500);
const seeds = [
  [],
  ["exec", { cwd: "/", env: { a: "b" }, timeout: NaN, stdin: new Uint8Array([0, 255]) }],
  [long, new Uint8Array(5), long, new Uint8Array(0)],
  { $: "bytes", at: 0, length: 3, entries: [["$", undefined]] },
  JSON.parse('{"__proto__":{"polluted":1},"constructor":{"prototype":[]},"toJSON":"x","1":2,"0":[-0]}'),
  Array.from({ length: 50 }, (_, index) => ({ path: `/home/user/${index}`, type: "file", size: index })),
  [undefined, -Infinity, 1e308, -0, null, true, "\ud800", "\u2028"],
  Array.from({ length: 40 }).reduce((inner) => [{ children: inner }], []),
].map((value) => encode(value));
const pieces = [
  ...['{"$":"undefined"}', '{"$":"number","text":"NaN"}', '{"$":"text","at":0,"length":5000}', '{"$":"bytes","at":0,'],
  ...['"length":0}', '{"$":"object","entries":[["$",1]]}', '"__proto__":', '"$":', "[", "]", "{", "}", ",", ":", '"'],
  ...["\\", "\\u0000", "-0", "1e999", "9007199254740993", "null", '"toJSON":1', "[".repeat(600), "[],".repeat(200)],
].map((text) => Buffer.from(text));

/** The length of the JSON text is usually corrected, because most inputs with a wrong length are refused at once. */
function mutated(input) {
  let data = Buffer.from(input);
  for (let times = 1 + random(4); times > 0; times--) {
    const at = random(data.length + 1);
    const to = Math.min(data.length, at + random(random(4) === 0 ? 2000 : 12));
    const other = Buffer.from(one(corpus));
    const from = random(other.length + 1);
    const put = one([
      Buffer.alloc(0),
      Buffer.from([random(256)]),
      one(pieces),
      Buffer.from(String(one([0, 1, 4096, 4097, -1, 0.5, data.length, random(10_000)]))),
      other.subarray(from, from + random(200)),
      data.subarray(at, to),
    ]);
    data = Buffer.concat([data.subarray(0, at), put, data.subarray(random(2) ? at : to)]);
  }
  if (data.length >= 4 && random(8) > 0) {
    const length = data.length - 4 - (random(2) ? 0 : random(data.length - 3));
    data.writeUInt32BE(
      random(3)
        ? Math.min(data.length - 4, Buffer.from(input).readUInt32BE(0) + data.length - input.length) >>> 0
        : length,
    );
  }
  return data.subarray(0, 100_000);
}

/** A short outline of the decoder's result: an input with a new outline is kept. */
function outline(value) {
  const kinds = new Set();
  let deepest = 0;
  const pending = [[value, 0]];
  while (pending.length > 0) {
    const [item, depth] = pending.pop();
    deepest = Math.max(deepest, depth);
    kinds.add(
      item === null ? "null" : item instanceof Uint8Array ? "bytes" : Array.isArray(item) ? "list" : typeof item,
    );
    if (typeof item === "string") kinds.add(item.length > 4096 ? "long" : item.length > 0 ? "short" : "empty");
    if (typeof item !== "object" || item === null || item instanceof Uint8Array) continue;
    for (const key of Object.keys(item)) {
      if (/^(\$|__proto__|constructor|toJSON)$/.test(key)) kinds.add(key);
      pending.push([item[key], depth + 1]);
    }
  }
  return `${[...kinds].sort()} ${Math.floor(Math.log2(1 + deepest))}`;
}

function check(input) {
  const before = input.length > 10_000 ? process.memoryUsage() : undefined;
  let value;
  try {
    value = decode(input, { mostValues: MOST_ARGUMENT_VALUES });
  } catch (error) {
    assert.ok(error instanceof NotEncoded, error);
    return undefined;
  }
  if (before) {
    const after = process.memoryUsage();
    const cost = after.heapUsed + after.external - before.heapUsed - before.external;
    assert.ok(cost < 4_000_000 + 200 * input.length, `${cost} bytes for an input of ${input.length}`);
  }
  const again = encode(value);
  assert.deepStrictEqual(decode(again), value);
  assert.deepStrictEqual(Object.keys(decode(again, { bare: true }) ?? {}), Object.keys(value ?? {}));
  assert.equal({}.polluted, undefined);
  assert.equal(Object.getOwnPropertyNames(Object.prototype).length, own);
  return value;
}

const own = Object.getOwnPropertyNames(Object.prototype).length;
/** Inputs of many kinds, from a longer run. */
const kept = JSON.parse(readFileSync(new URL("fuzz-wire.json", import.meta.url), "utf8"));
const corpus = [...seeds, ...kept.map((input) => Buffer.from(input, "base64"))];
const seen = new Set();
if (options.corpus) {
  mkdirSync(options.corpus, { recursive: true });
  for (const name of readdirSync(options.corpus)) corpus.push(readFileSync(join(options.corpus, name)));
}
const first = corpus.length;
let runs = 0;
let taken = 0;
const end = Date.now() + Number(options.seconds) * 1000;
for (; runs < Number(options.iterations) && Date.now() < end; runs++) {
  const input = runs < first ? corpus[runs] : mutated(one(corpus));
  try {
    const value = check(input);
    if (value === undefined) continue;
    taken++;
    const kind = outline(value);
    if (seen.has(kind)) continue;
    seen.add(kind);
    corpus.push(input);
    if (options.corpus) writeFileSync(join(options.corpus, `${options.seed}-${runs}`), input);
  } catch (error) {
    console.error(`Run ${runs} of seed ${options.seed}:`, error, `\n${Buffer.from(input).toString("base64")}`);
    process.exit(1);
  }
}
console.log(`${runs} inputs, of which ${taken} were values, of ${seen.size} kinds: each as promised`);
