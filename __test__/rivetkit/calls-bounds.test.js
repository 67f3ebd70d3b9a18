"use strict";
// The bounds of what an actor keeps for its clients, without an engine: thousands of calls, clients and processes would take
// rivetkit minutes.

const { join } = require("node:path");
const { nodeScript, root } = require("../node-script");

const dist = join(root, "dist/rivetkit");

const CALLS = `
    const { Calls } = await import("${dist}/calls.mjs");
    const { SERVER_BYTES, Share } = await import("${dist}/budget.mjs");`;

/** Evaluates the source with these functions at hand, and resolves to what it prints as JSON. */
async function evaluate(source, options) {
  const script = `
    const open = new Set();
    const connection = (id) => (open.add(id), { id, isOpen: () => open.has(id) });
    const close = (calls, { id }) => (open.delete(id), calls.closed(id));
    const code = (work) => Promise.resolve().then(work).then(() => "taken", (error) => error.code);
    const count = (codes) => Object.fromEntries([...new Set(codes)].map((each) => [each, codes.filter((one) => one === each).length]));
    const print = (value) => console.log(JSON.stringify(value));
    ${source}
    process.exit();`;
  const { code, signal, stdout, stderr } = await nodeScript(script, options).ended;
  if (code !== 0) throw new Error(`code ${code}, ${signal}: ${stderr.slice(0, 2000)}`);
  return JSON.parse(stdout);
}

test("a client has at most half of an actor's calls, and others have some whatever the first ones have", async () => {
  const seen = await evaluate(`${CALLS}
    const calls = new Calls("incarnation", () => new Promise(() => {}));
    const flood = (name, length) => {
      const own = connection(name);
      const begin = (id) => {
        // Those that are taken go on for ever; what is refused is so at once.
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

test("a call that is handed over after its connection has closed leaves nothing behind", async () => {
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
  // As many as exited ones are kept, and those that are under way.
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
    // Silent until now; and then what goes on.
    for (let pid = 1; pid <= 5000; pid++) ledger.sent(pid, 0, 5);
    for (let pid = 1; pid <= 5000; pid++) ledger.sent(pid, 5, 5);
    ledger.started(9999);
    ledger.sent(9999, 0, 5);
    const [last] = ledger.positions().filter(({ id }) => id === 9999);
    print({ ended, after: size(), last });`);
  expect(seen).toEqual({ ended: 1024, after: 2049, last: { id: 9999, seq: 5, exit: null } });
});
