"use strict";
const { setTimeout: sleep } = require("node:timers/promises");

const { rejection, until } = require("./fixture/promises");
const { nodeScript } = require("./fixture/server-process");
const { boot } = require("./fixture/vm");

test("watchStats reads at once, and then once in an interval", async () => {
  const vm = await boot();
  const begun = performance.now();
  const found = [];
  for await (const stats of vm.watchStats({ interval: 100 })) {
    found.push(stats);
    if (found.length === 1) await vm.spawn("sleep", ["100"]);
    if (found.length === 4) break;
  }
  expect(found.map(({ processes }) => processes)).toEqual([0, 1, 1, 1]);
  // Timers of Node.js may be a millisecond early.
  expect(performance.now() - begun).toBeGreaterThan(295);
});

test("a slow reader of watchStats gets fresh values, and none of those that it missed", async () => {
  const vm = await boot();
  const watching = vm.watchStats({ interval: 100 });
  expect((await watching.next()).value.bytesOut).toBe(0);
  await sleep(350);
  await vm.exec("echo");
  expect((await watching.next()).value.bytesOut).toBe(1);
  await vm.exec("echo");
  // Nothing is left of the intervals that have passed.
  expect((await watching.next()).value.bytesOut).toBe(2);
  await watching.return();
  expect(await watching.next()).toEqual({ value: undefined, done: true });
});

test("calls of next that do not wait for one another take turns", async () => {
  const vm = await boot();
  const watching = vm.watchStats({ interval: 100 });
  const begun = performance.now();
  const results = await Promise.all([watching.next(), watching.next(), watching.next()]);
  expect(results.map(({ done }) => done)).toEqual([false, false, false]);
  expect(performance.now() - begun).toBeGreaterThan(195);
});

test("watchStats ends when the VM is disposed, also in the middle of an interval", async () => {
  const vm = await boot();
  const found = [];
  const ended = (async () => {
    for await (const stats of vm.watchStats({ interval: 0x7fffffff })) found.push(stats);
  })();
  await until(() => found.length === 1);
  await vm.dispose();
  await ended;
  expect(found).toHaveLength(1);

  const other = await boot();
  const watching = other.watchStats({ interval: 0x7fffffff });
  await watching.next();
  const last = watching.next();
  await other.dispose();
  expect(await last).toEqual({ value: undefined, done: true });
  expect(() => vm.watchStats()).toThrow(expect.objectContaining({ code: "VM_DISPOSED" }));
});

test("an abort ends watchStats with ABORTED, and breaking out of a loop ends it", async () => {
  const vm = await boot();
  const controller = new AbortController();
  const watching = vm.watchStats({ interval: 0x7fffffff, signal: controller.signal });
  await watching.next();
  const waiting = watching.next();
  controller.abort(new Error("enough"));
  const error = await rejection(waiting);
  expect([error.code, error.cause.message]).toEqual(["ABORTED", "enough"]);
  expect((await watching.next()).done).toBe(true);
  expect(await rejection(vm.watchStats({ signal: AbortSignal.abort() }).next())).toMatchObject({ code: "ABORTED" });

  const left = vm.watchStats();
  for await (const stats of left) if (stats) break;
  expect((await left.next()).done).toBe(true);
});

test.each([[{ interval: 99 }], [{ interval: 2 ** 31 }], [{ interval: "1" }], [{ intervall: 1 }], [7], [{ signal: 1 }]])(
  "watchStats refuses %j",
  async (options) => {
    const vm = await boot();
    expect(() => vm.watchStats(options)).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
  },
);

test("a loop keeps Node.js running, and an iterator that waits for nothing does not", async () => {
  const { ended } = nodeScript(`
    const vm = await AgentVm.create();
    await vm.watchStats({ interval: 0x7fffffff }).next();
    let count = 0;
    for await (const stats of vm.watchStats({ interval: 100 })) if (++count === 3) break;
    console.log(count);
  `);
  expect(await ended).toMatchObject({ code: 0, stdout: "3" });
});
