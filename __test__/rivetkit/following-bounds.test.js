"use strict";
// What an actor keeps for clients that follow their calls but do not read the output; tested without an engine.

const { CALLS, evaluate } = require("../fixture/rivetkit/evaluate");

/**
 * A Calls whose calls print on demand: `calls`, `begin(own, id, method)`, and `running`, each call's parameters by id.
 */
const FOLLOWED = `${CALLS}
    const { MOST_UNTAKEN } = await import("${require("../fixture/rivetkit/evaluate").dist}/live.mjs");
    const running = new Map();
    const calls = new Calls("incarnation", (method, args, carried) =>
      new Promise((resolve, reject) => running.set(args[0], { ...carried, resolve, reject })));
    const begin = (own, id, method = "exec", live = { signal: true, stdout: true, stderr: true }) =>
      calls.begin(own, { id, method, args: [id], incarnation: "incarnation", done: [], live });
    const take = (own, id, after) => calls.take(own, id, "incarnation", after);
    const own = connection("own");
    const chunk = new Uint8Array(1024 * 1024);
    /** How many such chunks were printed before one was refused. */
    const print1M = (id, most) => {
      for (let count = 0; count < most; count++) {
        try {
          running.get(id).live.onStdout(chunk);
        } catch (error) {
          return [count, error.code];
        }
      }
      return [most];
    };
    const soon = () => new Promise((resolve) => setTimeout(resolve, 20));`;

test("a command whose output the client does not take is ended at the bound, and taking output makes room", async () => {
  const seen = await evaluate(`${FOLLOWED}
    await begin(own, "call-number-1");
    await soon();
    const bound = MOST_UNTAKEN / chunk.byteLength;
    const first = print1M("call-number-1", bound);
    const held = Share.all >= MOST_UNTAKEN;
    // Each answer drops the output before its first byte.
    let next = 0;
    for (let count = 0; count < 16; count++) ({ next } = await take(own, "call-number-1", next));
    await take(own, "call-number-1", next);
    const more = print1M("call-number-1", 1000);
    close(calls, own);
    const left = Share.all < 10_000;
    print({ first, bound, held, next, more, left });`);
  expect(seen).toEqual({
    first: [64],
    bound: 64,
    held: true,
    next: 16 * 1024 * 1024,
    more: [16, "LIMIT_EXCEEDED"],
    left: true,
  });
});

test("of a process that is not followed closely the oldest output goes, and the server holds no more", async () => {
  const seen = await evaluate(`${FOLLOWED}
    void begin(own, "call-number-1", "spawn");
    await soon();
    let end;
    running.get("call-number-1").live.outlive(new Promise((resolve) => (end = resolve)));
    running.get("call-number-1").resolve({ pid: 5 });
    await soon();
    const printed = print1M("call-number-1", 1000);
    const held = Share.all / 1024 / 1024;
    // The newest output is kept. Its client has some of it, and sees where it continues.
    let next = 0;
    let got = 0;
    let ended;
    end();
    while (!ended) {
      const taken = await take(own, "call-number-1", next);
      for (const [, text] of taken.chunks) got += Buffer.from(text, "base64").byteLength;
      ({ next, end: ended } = taken);
    }
    const unknown = await take(own, "call-number-1", next);
    print({ printed, held: held > 60 && held < 66, next, got, unknown, left: Share.all < 10_000 });`);
  expect(seen).toEqual({
    printed: [1000],
    held: true,
    next: 1000 * 1024 * 1024,
    got: 64 * 1024 * 1024,
    unknown: { state: "taken", chunks: [], next: 1000 * 1024 * 1024, end: true },
    left: true,
  });
});

test("all output that clients do not take counts in the server's budget, even in chunks of one byte", async () => {
  const seen = await evaluate(`${FOLLOWED}
    const refused = [];
    const ids = Array.from({ length: 40 }, (_, index) => "call-number-" + index);
    for (const id of ids) await begin(own, id).catch(({ code }) => refused.push(code));
    await soon();
    const printed = ids.map((id) => print1M(id, 64));
    const share = Share.all / SERVER_BYTES;
    const other = connection("other");
    await begin(other, "small-number-1");
    await soon();
    const byte = new Uint8Array(1);
    let bytes = 0;
    try {
      for (; bytes < 10_000_000; bytes++) running.get("small-number-1").live.onStderr(byte);
    } catch {}
    close(calls, own);
    close(calls, other);
    print({ refused, full: printed.some(([, code]) => code === "LIMIT_EXCEEDED"), share: share <= 0.76, few: bytes < 5_000_000, left: Share.all < 100_000 });`);
  expect(seen).toEqual({ refused: [], full: true, share: true, few: true, left: true });
});

test("dropping a chunk moves few of the others, however many there are", async () => {
  const seen = await evaluate(
    `${FOLLOWED}
    const { slice } = Array.prototype;
    let moved = 0;
    Array.prototype.slice = function (...args) {
      const made = slice.apply(this, args);
      moved += made.length;
      return made;
    };
    void begin(own, "call-number-1", "spawn");
    await soon();
    const { live } = running.get("call-number-1");
    const byte = new Uint8Array(1);
    const fits = Math.floor((0.75 * SERVER_BYTES) / (byte.byteLength + 256));
    for (let count = 0; count < 2 * fits; count++) live.onStdout(byte);
    const replaced = moved;
    running.get("call-number-1").resolve("done");
    await soon();
    moved = 0;
    let next = fits;
    for (let got = -1; next !== got; ) ({ next } = await take(own, "call-number-1", (got = next)));
    print({ next: next / fits, many: fits > 50_000, replaced: replaced / fits, taken: moved / fits });`,
    { flags: ["--max-old-space-size=100"] },
  );
  expect(seen).toMatchObject({ next: 2, many: true });
  expect(seen.replaced).toBeLessThan(3);
  expect(seen.taken).toBeLessThan(3);
});

test("the answer of a call is kept for as long as its client takes the output that comes before it", async () => {
  const seen = await evaluate(`${FOLLOWED}
    let late = 0;
    const { now } = Date;
    Date.now = () => now() + late;
    let sweep;
    globalThis.setInterval = (work) => ((sweep = work), { unref: () => ({}) });
    await begin(own, "call-number-1");
    await soon();
    print1M("call-number-1", 5);
    running.get("call-number-1").resolve("answer");
    await soon();
    let got = 0;
    let next = 0;
    let end;
    while (!end) {
      const taken = await take(own, "call-number-1", next);
      for (const [, text] of taken.chunks) got += Buffer.from(text, "base64").byteLength;
      ({ next, end } = taken);
      late += 40_000;
      sweep();
    }
    const kept = await calls.follow(own, "call-number-1", "incarnation");
    late += 80_000;
    sweep();
    print({ got, kept, over: await code(() => calls.follow(own, "call-number-1", "incarnation")) });`);
  expect(seen).toEqual({ got: 5 * 1024 * 1024, kept: { state: "done", value: "answer" }, over: "LIMIT_EXCEEDED" });
});

test("an abort that comes before its call keeps it from starting, and another client's reaches nothing", async () => {
  const seen = await evaluate(`${FOLLOWED}
    calls.abort(own, "call-number-1", "incarnation");
    const early = [await code(() => begin(own, "call-number-1")), running.size];
    await begin(own, "call-number-2");
    await soon();
    const { signal } = running.get("call-number-2");
    calls.abort(connection("other"), "call-number-2", "incarnation");
    const foreign = [signal.aborted, (await Promise.race([take(connection("other"), "call-number-2", 0), soon()]))?.end];
    calls.abort(own, "call-number-2", "another");
    const stale = signal.aborted;
    calls.abort(own, "call-number-2", "incarnation");
    const refused = [
      await code(() => begin(own, "call-number-3", "readFile")),
      await code(() => begin(own, "call-number-4", "exec", { signal: 1, stdout: true, stderr: true })),
      await code(() => begin(own, "call-number-5", "exec", "live")),
      await code(() => take(own, "call-number-2", 5)),
      await code(() => take(own, "call-number-2", -1)),
    ];
    print({ early, foreign, stale, aborted: signal.aborted, refused });`);
  expect(seen).toEqual({
    early: ["LIMIT_EXCEEDED", 0],
    foreign: [false, true],
    stale: false,
    aborted: true,
    refused: Array(5).fill("INVALID_ARGUMENT"),
  });
});

test("a client follows at most 1,024 calls and processes, and those that go make room", async () => {
  const seen = await evaluate(`${FOLLOWED}
    const ids = Array.from({ length: 1100 }, (_, index) => "call-number-" + index);
    const codes = await Promise.all(ids.map((id) => code(() => begin(own, id))));
    await soon();
    for (const { resolve } of running.values()) resolve("done");
    await soon();
    for (let index = 0; index < 100; index++) await take(own, ids[index], 0);
    print({ codes: count(codes), again: await code(() => begin(own, "call-number-again")) });`);
  expect(seen).toEqual({ codes: { taken: 1024, LIMIT_EXCEEDED: 76 }, again: "taken" });
});
