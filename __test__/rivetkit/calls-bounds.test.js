"use strict";
// The bounds of what an actor keeps for its clients, tested without an engine: thousands of calls, clients and
// processes would take rivetkit minutes.

const { root } = require("../fixture/project");
const { CALLS, dist, evaluate } = require("../fixture/rivetkit/evaluate");

test("a client may have at most half of an actor's calls, and later clients always get some", async () => {
  const seen = await evaluate(`${CALLS}
    const calls = new Calls("incarnation", () => new Promise(() => {}));
    const flood = (name, length) => {
      const own = connection(name);
      const begin = (id) => {
        // Accepted calls never end; refused calls reject at once.
        const begun = calls.begin(own, { id, method: "exec", args: [], incarnation: "incarnation", done: [] });
        return Promise.race([code(() => begun), new Promise((resolve) => setTimeout(resolve, 2000, "under way"))]);
      };
      return Promise.all(Array.from({ length }, (_, index) => begin("call-number-" + index))).then(count);
    };
    print([await flood("one", 3000), await flood("two", 3000), await flood("three", 100), await flood("four", 100)]);`);
  expect(seen).toEqual([
    { "under way": 2048, LIMIT_EXCEEDED: 952 },
    { "under way": 2048, LIMIT_EXCEEDED: 952 },
    { "under way": 16, LIMIT_EXCEEDED: 84 },
    { "under way": 16, LIMIT_EXCEEDED: 84 },
  ]);
});

test("uploads are counted, by number and by bytes, and what they hold is given back when their client goes", async () => {
  const seen = await evaluate(`${CALLS}
    const calls = new Calls("incarnation", async () => {});
    const part = (own, id, index, text) => code(() => calls.part(own, id, index, text));
    const one = connection("one");
    const many = await Promise.all(Array.from({ length: 1500 }, (_, index) => part(one, "upload-" + index, 0, "AAAA")));
    close(calls, one);
    const emptied = Share.all;
    const full = "A".repeat(60_000);
    const other = connection("other");
    let parts = 0;
    while ((await part(other, "upload-" + Math.floor(parts / 1000), parts % 1000, full)) === "taken") parts++;
    const held = Share.all;
    const third = await part(connection("third"), "upload-small", 0, full);
    close(calls, other);
    print({ many: count(many), emptied, share: held / SERVER_BYTES, third, left: Share.all < 100_000 });`);
  expect(seen).toMatchObject({ many: { taken: 1024, LIMIT_EXCEEDED: 476 }, emptied: 0, third: "taken", left: true });
  expect(seen.share).toBeGreaterThan(0.6);
  expect(seen.share).toBeLessThan(0.76);
});

test("a client's results come with it over another connection; those of one that gave no name go with its own", async () => {
  const seen = await evaluate(`${CALLS}
    const calls = new Calls("incarnation", async () => "x".repeat(400_000));
    const request = { id: "call-number-1", method: "exec", args: [], incarnation: "incarnation", done: [] };
    const follow = (own) => code(() => calls.follow(own, request.id, "incarnation"));
    const [named, unnamed] = [connection("named"), connection("unnamed")];
    calls.hello(named, "name-of-a-client");
    const begun = [await calls.begin(named, request), await calls.begin(unnamed, request)];
    close(calls, named);
    close(calls, unnamed);
    const held = Share.all;
    const again = connection("again");
    const before = await follow(again);
    calls.hello(again, "name-of-a-client");
    print({ begun, held, before, after: await follow(again), stolen: await code(() => calls.hello(again, "another-name")) });`);
  expect(seen.begun.map(({ state }) => state)).toEqual(["large", "large"]);
  expect(seen.held).toBeGreaterThan(400_000);
  expect(seen.held).toBeLessThan(500_000);
  expect(seen).toMatchObject({ before: "LIMIT_EXCEEDED", after: "taken", stolen: "INVALID_ARGUMENT" });
});

test("calls that still run for a client that has left count until they end", async () => {
  const seen = await evaluate(`${CALLS}
    const ends = [];
    const calls = new Calls("incarnation", () => new Promise((resolve) => ends.push(resolve)));
    const begin = async (own, args) => {
      const request = { id: "call-number-1", method: "exec", args, incarnation: "incarnation", done: [] };
      const begun = calls.begin(own, request).catch(({ code }) => code);
      return Promise.race([begun, new Promise((resolve) => setTimeout(resolve, 100, "under way"))]);
    };
    const large = "x".repeat(SERVER_BYTES / 2);
    const [one, other] = [connection("one"), connection("other")];
    const begun = [await begin(one, [large])];
    close(calls, one);
    const left = Share.all;
    begun.push(await begin(other, [large]));
    ends[0]("done");
    await new Promise((resolve) => setTimeout(resolve, 10));
    const over = Share.all;
    begun.push(await begin(other, [large]));
    print({ begun, left: left > SERVER_BYTES / 2, over });`);
  expect(seen).toEqual({ begun: ["under way", "LIMIT_EXCEEDED", "under way"], left: true, over: 0 });
});

/** Calls of clients that the machine of a real VM runs. */
const MACHINE = `${CALLS}
    const { Machine } = await import("${dist}/machine.mjs");
    const { methods } = await import("${dist}/methods.mjs");
    const { handleMethods } = await import("${dist}/handle-methods.mjs");
    const machine = new Machine({ actorId: "test", broadcast() {}, keepAwake: (promise) => promise, log: console }, {});
    const vm = await machine.boot();
    const run = (method, args, carried) => ({ ...methods, ...handleMethods })[method]({ machine, ...carried }, ...args);
    const calls = new Calls("incarnation", run, 400);
    let number = 0;
    const begin = (own, method, args) => {
      const request = { id: "call-number-" + number++, method, args, incarnation: "incarnation", done: [] };
      return calls.begin(own, request).then(({ state }) => state, ({ code }) => code);
    };
    const many = (own, length, method, args) =>
      Promise.all(Array.from({ length }, () => begin(own, method, args))).then(count);`;

test("the waits of clients that have left end, and count no more", async () => {
  const seen = await evaluate(`${MACHINE}
    const { pid } = await vm.spawn("sleep", ["1000"]);
    const { shellId } = await vm.openShell({ command: "cat" });
    const waits = [
      ["waitProcess", [pid]],
      ["waitProcessExit", [pid]],
      ["waitShell", [shellId]],
      ["waitShellExit", [shellId]],
      ["handleWait", [{ pid }]],
      ["handleWait", [{ shellId }]],
    ];
    const begun = [];
    for (const [index, [method, args]] of waits.entries()) {
      const own = connection("client-" + index);
      begun.push(await many(own, 2048, method, args));
      close(calls, own);
    }
    const honest = connection("honest");
    const last = begin(honest, "handleWait", [{ pid }]);
    const isTaken = (state) => state === "pending" || state === "done";
    const later = await Promise.all(Array.from({ length: 100 }, () => begin(honest, "exec", ["true"])));
    await last;
    await vm.killProcess(pid);
    let { state } = await calls.follow(honest, "call-number-" + 6 * 2048, "incarnation");
    while (state === "pending") ({ state } = await calls.follow(honest, "call-number-" + 6 * 2048, "incarnation"));
    print({ begun, later: later.filter(isTaken).length, state });
    await machine.stop("destroy");`);
  expect(seen).toEqual({ begun: Array(6).fill({ pending: 2048 }), later: 100, state: "done" });
});

test("one client has at most half of what a VM has for calls that wait, and a part of an actor's readings", async () => {
  const seen = await evaluate(`${MACHINE}
    const { pid } = await vm.spawn("sleep", ["1000"]);
    const flood = connection("flood");
    const waits = await many(flood, 600, "waitForOutput", [pid, "never"]);
    const port = await many(flood, 1, "waitForPort", [1]);
    const [one, other] = [connection("one"), connection("other")];
    const others = [await many(one, 512, "waitForOutput", [pid, "never"]), await many(one, 1, "waitForIdle", ["shell-9"])];
    close(calls, flood);
    const after = await many(other, 512, "waitForOutput", [pid, "never"]);
    const read = (own) =>
      calls
        .read(own, "read-number-" + number++, "incarnation", { of: { pid }, streams: [1], after: 0 })
        .then(({ state }) => state, ({ code }) => code);
    const readings = [];
    for (const name of ["a", "b", "c", "d", "e", "f"]) {
      const own = connection(name);
      readings.push(count(await Promise.all(Array.from({ length: 257 }, () => read(own)))));
    }
    print({ waits, port, others, after, readings });
    await machine.stop("destroy");`);
  expect(seen).toEqual({
    waits: { pending: 512, LIMIT_EXCEEDED: 88 },
    port: { LIMIT_EXCEEDED: 1 },
    others: [{ pending: 512 }, { LIMIT_EXCEEDED: 1 }],
    after: { pending: 512 },
    readings: [...Array(4).fill({ read: 256, LIMIT_EXCEEDED: 1 }), ...Array(2).fill({ read: 16, LIMIT_EXCEEDED: 241 })],
  });
});

test("requests that wait for a running call, or ask for its pieces, leave nothing in memory", async () => {
  const seen = await evaluate(
    `${CALLS}
    const calls = new Calls("incarnation", () => new Promise(() => {}));
    const own = connection("one");
    void calls.begin(own, { id: "call-number-1", method: "exec", args: [], incarnation: "incarnation", done: [] });
    const heap = () => (gc(), gc(), process.memoryUsage().heapUsed);
    const states = new Set();
    const pieces = new Set();
    const ask = async (count) => {
      const asked = Array.from({ length: count }, () => calls.follow(own, "call-number-1", "incarnation"));
      for (let index = 0; index < count; index++) pieces.add(await code(() => calls.piece(own, "call-number-1", 0)));
      // The last few wait as long as one action may take.
      for (const answer of asked.slice(0, -10)) states.add((await answer).state);
    };
    await ask(1000);
    const before = heap();
    for (let round = 0; round < 10; round++) await ask(10_000);
    print({ states: [...states], pieces: [...pieces], grown: heap() - before });`,
    { flags: ["--expose-gc"] },
  );
  expect(seen).toMatchObject({ states: ["pending"], pieces: ["LIMIT_EXCEEDED"] });
  // 100,000 requests, each of which may keep at most about 50 bytes.
  expect(seen.grown).toBeLessThan(5_000_000);
});

test("the stdin of a spawned process counts until the process has read it or has ended", async () => {
  const seen = await evaluate(`${CALLS}
    const { AgentVm } = require("${root}");
    const { methods } = await import("${dist}/methods.mjs");
    const { Claim } = await import("${dist}/budget.mjs");
    const vm = await AgentVm.create();
    const machine = { boot: async () => vm, started() {} };
    const [share, pids, codes] = [new Share(), [], []];
    const spawn = async (command, args, stdin) => {
      const claim = new Claim(share);
      const { pid } = await methods.spawn({ machine, claim }, command, args, { stdin });
      claim.release();
      return pid;
    };
    const tooLong = await code(() => spawn("sleep", ["1000"], new Uint8Array(64 * 1024 * 1024 + 1)));
    const input = new Uint8Array(60 * 1024 * 1024);
    while (codes.at(-1) !== "LIMIT_EXCEEDED") codes.push(await code(async () => pids.push(await spawn("sleep", ["1000"], input))));
    const share0 = Share.all / SERVER_BYTES;
    for (const pid of pids) await vm.killProcess(pid);
    for (const pid of pids) await vm.waitProcess(pid);
    while (Share.all > 0) await new Promise((resolve) => setTimeout(resolve, 10));
    const reader = await spawn("sh", ["-c", "head -c 5 >got"], "text of stdin");
    await vm.waitProcess(reader);
    const got = String(await vm.readFile("/home/user/got"));
    while (Share.all > 0) await new Promise((resolve) => setTimeout(resolve, 10));
    await vm.dispose();
    print({ tooLong, share: share0, got });`);
  expect(seen).toMatchObject({ tooLong: "LIMIT_EXCEEDED", got: "text " });
  expect(seen.share).toBeLessThanOrEqual(0.75);
});

test("a body of vmFetch that is neither text nor bytes is refused, and none of its size is made", async () => {
  const seen = await evaluate(`
    const { methods } = await import("${dist}/methods.mjs");
    const machine = { boot: async () => ({ fetch: () => Promise.reject(new Error("asked")) }) };
    const codes = [];
    for (const body of [2_000_000_000, { length: 500_000_000 }, [1, 2], null, true]) {
      codes.push(await code(() => methods.vmFetch({ machine }, 80, "/", { method: "POST", body })));
    }
    print({ codes: [...new Set(codes)], peak: process.resourceUsage().maxRSS });`);
  expect(seen.codes).toEqual(["INVALID_ARGUMENT"]);
  expect(seen.peak).toBeLessThan(300_000);
});

test("what something else in the server wrote to Object.prototype is no option of a client's call", async () => {
  const seen = await evaluate(`${CALLS}
    const { methods } = await import("${dist}/methods.mjs");
    const { Claim } = await import("${dist}/budget.mjs");
    const vm = await AgentVm.create();
    const use = { machine: { boot: async () => vm, started() {} }, claim: new Claim(new Share()) };
    const server = 'require("node:http").createServer((request, response) => response.end(request.method)).listen(8000, () => console.log("up"))';
    await new Promise((resolve) => vm.spawn("node", ["-e", server], { onStdout: resolve }));
    await vm.writeFile("/tmp/file", "content");
    const polluted = { stdin: "polluted", maxOutputBytes: 1, signal: AbortSignal.abort(), maxBytes: 1, method: "PUT", body: 5 };
    for (const [key, value] of Object.entries(polluted)) Object.defineProperty(Object.prototype, key, { __proto__: null, value, configurable: true, writable: true });
    const { stdout } = await methods.exec(use, "cat; echo printed", {});
    const { pid } = await methods.spawn(use, "cat", [], {});
    await vm.closeProcessStdin(pid);
    await vm.waitProcess(pid);
    const { chunks } = await vm.readProcessOutput(pid);
    const content = String(await methods.readFile(use, "/tmp/file", {}));
    // Node.js's own streams read it whenever they read bytes.
    delete Object.prototype.signal;
    const { body } = await methods.vmFetch(use, 8000, "/", {});
    const counted = use.claim.bytes;
    for (const key of Object.keys(polluted)) delete Object.prototype[key];
    await vm.dispose();
    print({ stdout, chunks: chunks.length, content, method: String(body), counted });`);
  // The output, the file and the body are counted while they are read.
  expect(seen).toEqual({ stdout: "printed\n", chunks: 0, content: "content", method: "GET", counted: 8 + 7 + 3 });
});

test("a wait for output counts what its text makes it hold, until it ends", async () => {
  const seen = await evaluate(`${MACHINE}
    const { Claim } = await import("${dist}/budget.mjs");
    const use = { machine, claim: new Claim(new Share()) };
    const { pid } = await vm.spawn("cat");
    const wait = (text) => code(() => methods.waitForOutput(use, pid, text));
    const waits = ["never", "x".repeat(16_384)].map(wait);
    await new Promise(setImmediate);
    const held = use.claim.bytes;
    await vm.closeProcessStdin(pid);
    const codes = await Promise.all(waits);
    const left = use.claim.bytes;
    const tooLong = await wait("x".repeat(50_000_000));
    new Share().take(SERVER_BYTES / 2);
    const own = new Claim(new Share());
    own.take((SERVER_BYTES / 2) * 0.75 - 100_000);
    const full = await code(() => methods.waitForOutput({ ...use, claim: own }, pid, "x".repeat(16_384)));
    await machine.stop("destroy");
    print({ held, codes, left, tooLong, full });`);
  expect(seen).toEqual({
    held: 2 * 65_536 + 22 * (5 + 16_384),
    codes: ["OUTPUT_ENDED", "OUTPUT_ENDED"],
    left: 0,
    tooLong: "INVALID_ARGUMENT",
    full: "LIMIT_EXCEEDED",
  });
});

test("a call that arrives after its connection has closed leaves nothing behind", async () => {
  const seen = await evaluate(`${CALLS}
    const calls = new Calls("incarnation", async () => "done");
    const gone = { id: "gone", isOpen: () => false };
    const request = { id: "call-number-1", method: "exec", args: [], incarnation: "incarnation", done: [] };
    print([
      await code(() => calls.begin(gone, request)),
      await code(() => calls.part(gone, request.id, 0, "AAAA")),
      await code(() => calls.hello(gone, "name-of-a-client")),
      Share.all,
    ]);`);
  expect(seen).toEqual(["VM_DISPOSED", "VM_DISPOSED", "VM_DISPOSED", 0]);
});

test("3,000 processes whose children write after them do not add up in what an actor keeps of its streams", async () => {
  const seen = await evaluate(`
    const { Machine } = await import("${dist}/machine.mjs");
    const { methods } = await import("${dist}/methods.mjs");
    let late = 0;
    const actor = {
      actorId: "test",
      broadcast: (name, event) => name === "processOutput" && String.fromCharCode(...event.data).trim() === "late" && late++,
      keepAwake: (promise) => promise,
      log: console,
    };
    const machine = new Machine(actor, {});
    let most = 0;
    for (let batch = 1; batch <= 30; batch++) {
      const spawn = () => methods.spawn({ machine }, "sh", ["-c", "(sleep 0.5; echo late) &"]);
      await Promise.all(Array.from({ length: 100 }, spawn));
      while (late < 100 * batch) await new Promise((resolve) => setTimeout(resolve, 20));
      most = Math.max(most, machine.positions().processes.length);
    }
    const positions = machine.positions().processes;
    await machine.stop("destroy");
    print({ most, open: positions.filter(({ exit }) => !exit).length });`);
  expect(seen.most).toBeGreaterThanOrEqual(1024);
  // As many as the kept exited ones, and those that still run.
  expect(seen.most).toBeLessThanOrEqual(2048);
  expect(seen.open).toBeLessThanOrEqual(1024);
}, 120_000);

test("streams that only forgotten processes write to are forgotten, too", async () => {
  const seen = await evaluate(`
    const { Ledger } = await import("${dist}/ledger.mjs");
    const ledger = new Ledger();
    for (let pid = 1; pid <= 5000; pid++) {
      ledger.started(pid);
      ledger.ended(pid, { pid });
    }
    const size = () => ledger.positions().length;
    const ended = size();
    // Without output until now, and then one that continues.
    for (let pid = 1; pid <= 5000; pid++) ledger.sent(pid, 0, 5);
    for (let pid = 1; pid <= 5000; pid++) ledger.sent(pid, 5, 5);
    ledger.started(9999);
    ledger.sent(9999, 0, 5);
    const [last] = ledger.positions().filter(({ id }) => id === 9999);
    print({ ended, after: size(), last });`);
  expect(seen).toEqual({ ended: 1024, after: 2049, last: { id: 9999, seq: 5, exit: null, closed: false } });
});
