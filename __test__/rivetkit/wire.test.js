"use strict";
// The encoding that clients and actors share, with bytes that neither of them would make. Each test runs in a separate
// Node.js, because the modules are ECMAScript modules.

const { execFile } = require("node:child_process");
const { join } = require("node:path");
const { promisify } = require("node:util");
const { root } = require("../fixture/project");
const { nodeScript } = require("../fixture/server-process");

const wire = JSON.stringify(join(root, "dist/rivetkit/wire.mjs"));

/** Evaluates the source, and resolves to the JSON that it prints. */
async function evaluate(source, options) {
  const script = `
    const wire = await import(${wire});
    const { decode, encode } = wire;
    /** Encoded bytes with that JSON text and those blobs. */
    const bytes = (json, blobs = Buffer.alloc(0)) => {
      const text = Buffer.from(typeof json === "string" ? json : JSON.stringify(json));
      const head = Buffer.alloc(4);
      head.writeUInt32BE(text.length);
      return Buffer.concat([head, text, blobs]);
    };
    const outcome = (work) => {
      try {
        return work() === undefined ? "undefined" : "taken";
      } catch (error) {
        return error.constructor.name;
      }
    };
    ${source}`;
  const { code, signal, stdout, stderr } = await nodeScript(script, options).ended;
  if (code !== 0) throw new Error(`code ${code}, ${signal}: ${stderr.slice(0, 2000)}`);
  return JSON.parse(stdout);
}

test("a value comes back as it was, whatever its keys are called", async () => {
  const same = await evaluate(`
    const assert = require("node:assert/strict");
    const values = [
      [undefined, null, NaN, -Infinity, -0, true, "", "x".repeat(5000), "€".repeat(5000), new Uint8Array([1, 2])],
      JSON.parse('{"__proto__":{"cwd":"/"},"constructor":{"prototype":1},"toJSON":"x","hasOwnProperty":0,"$":{"$":"bytes"}}'),
      { b: new Uint8Array(2), 1: "y".repeat(5000), a: [new Uint8Array(0)] },
    ];
    for (const value of values) assert.deepStrictEqual(decode(encode(value)), value);
    const bare = decode(encode(values[1]), { bare: true });
    assert.equal(Object.getPrototypeOf(bare), null);
    assert.equal(Object.getPrototypeOf(bare.constructor), null);
    assert.deepEqual(Object.keys(bare), Object.keys(values[1]));
    assert.equal({}.cwd, undefined);
    console.log(true);`);
  expect(same).toBe(true);
});

test("bytes are refused unless each is named once, in its order", async () => {
  const outcomes = await evaluate(`
    const blob = (at, length, kind = "bytes") => ({ $: kind, at, length });
    const five = Buffer.alloc(5000, "x");
    const all = {
      once: [[blob(0, 5000)], five],
      twice: [[blob(0, 5000), blob(0, 5000)], five],
      overlapping: [[blob(0, 3000), blob(2000, 3000)], five],
      "out of order": [[blob(2500, 2500), blob(0, 2500)], five],
      "with a gap": [[blob(0, 1000), blob(2000, 3000)], five],
      "not to the end": [[blob(0, 4999)], five],
      "past the end": [[blob(0, 5001)], five],
      "none of them": [[], five],
      negative: [[blob(0, 5000), blob(5000, -5000), blob(0, 5000)], five],
      fractions: [[blob(0, 4999.5)], five],
      "as text twice": [[blob(0, 5000, "text"), blob(0, 5000, "text")], five],
      "text that is no UTF-8": [[blob(0, 5000, "text")], Buffer.alloc(5000, 0xff)],
      "a member too many": [[{ ...blob(0, 5000), more: 1 }], five],
      "an unknown kind": [[{ $: "function" }]],
      "entries of another form": [[{ $: "object", entries: [["$", 1, 2]] }]],
      "entries that are none": [[{ $: "object", entries: 5 }]],
    };
    const outcomes = Object.entries(all).map(([name, args]) => [name, outcome(() => decode(bytes(...args)))]);
    outcomes.push(["short", outcome(() => decode(Buffer.alloc(3)))]);
    outcomes.push(["no JSON", outcome(() => decode(bytes("[1,")))]);
    outcomes.push(["a text past the end", outcome(() => decode(Buffer.from([255, 255, 255, 255, 91, 93])))]);
    console.log(JSON.stringify(Object.fromEntries(outcomes)));`);
  const { once, ...others } = outcomes;
  expect(once).toBe("taken");
  expect(Object.entries(others).filter(([, each]) => each !== "NotEncoded")).toEqual([]);
});

test("a megabyte that names its bytes 600 times does not end a server with a heap of 300 MB", async () => {
  const refused = await evaluate(
    `const json = Array.from({ length: 600 }, () => ({ $: "text", at: 0, length: 1_000_000 }));
    console.log(JSON.stringify(outcome(() => decode(bytes(json, Buffer.alloc(1_000_000, "x"))))));`,
    { flags: ["--max-old-space-size=300"] },
  );
  expect(refused).toBe("NotEncoded");
});

test("what is too deep or has too many values is refused before it is parsed, and is not encoded", async () => {
  const outcomes = await evaluate(
    `const deep = "[".repeat(10_000_000) + "]".repeat(10_000_000);
    const wide = "[" + "{},".repeat(3_000_000) + "1]";
    let nested = [];
    for (let depth = 1; depth < wire.MOST_DEPTH; depth++) nested = [nested];
    let keyed = { $: 1 };
    for (let depth = 1; depth < wire.MOST_DEPTH; depth++) keyed = { $: keyed };
    const cycle = [];
    cycle.push(cycle);
    const before = process.memoryUsage().heapUsed;
    const refused = [
      outcome(() => decode(bytes(deep))),
      outcome(() => decode(bytes(wide), { mostValues: wire.MOST_ARGUMENT_VALUES })),
      outcome(() => decode(bytes("[" + "{},".repeat(wire.MOST_VALUES) + "1]"))),
    ];
    const cost = process.memoryUsage().heapUsed - before;
    console.log(JSON.stringify({
      refused,
      cost,
      deepest: [outcome(() => decode(encode(nested))), outcome(() => decode(encode(keyed)))],
      deeper: [[nested], { $: keyed }, cycle].map((value) => outcome(() => encode(value))),
    }));`,
  );
  expect(outcomes.refused).toEqual(["NotEncoded", "NotEncoded", "NotEncoded"]);
  expect(outcomes.cost).toBeLessThan(100_000_000);
  expect(outcomes.deepest).toEqual(["taken", "taken"]);
  expect(outcomes.deeper).toEqual(["TooLarge", "TooLarge", "TooLarge"]);
});

test("what cannot be sent is refused with the same words whether it is small or large", async () => {
  const answers = await evaluate(
    `const { requirePlain } = wire;
    class Point {}
    const values = [
      undefined, null, true, 1, NaN, "text", new Uint8Array(3), [1, , 2], { a: { b: [{}] } }, Object.create(null),
      () => {}, Symbol("s"), 1n, new Point(), new Date(0), new Map(), [[() => {}]], { a: [new Point()] }, { a: 1n },
    ];
    const words = (check, value) => {
      try {
        check(value);
        return "taken";
      } catch (error) {
        return error.constructor.name + ": " + error.message;
      }
    };
    console.log(JSON.stringify(values.map((value) => [words(encode, value), words(requirePlain, value)])));`,
  );
  for (const [encoded, checked] of answers) expect(checked).toBe(encoded);
  expect(answers.map(([encoded]) => encoded === "taken")).toEqual([...Array(10).fill(true), ...Array(9).fill(false)]);
});

test("mutated encodings are refused, or are values that come back as they were", async () => {
  const script = join(root, "scripts/fuzz-wire.mjs");
  const { stdout } = await promisify(execFile)(process.execPath, [script, "--iterations", "30000", "--seconds", "60"]);
  expect(stdout).toMatch(/each as promised/);
});
