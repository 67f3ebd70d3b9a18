"use strict";
// Calls of rivetkit's plain client: a connection cannot take the places of others, nor keep one for ever.

const { CALLS, dist, evaluate } = require("../fixture/rivetkit/evaluate");
const { startServer } = require("../fixture/rivetkit/servers");

/** A Calls whose calls run until they are aborted, and the result of each. */
const PLAIN = `${CALLS}
    const aborted = [];
    const endless = (method, args, { signal }) =>
      new Promise((resolve, reject) => signal.addEventListener("abort", () => (aborted.push(args[0]), reject(new Error("aborted")))));
    const outcomes = [];
    const plain = (calls, own, name) => {
      const outcome = code(() => calls.plain(own, "exec", [name], (result) => result)).then((each) => outcomes.push([name, each]));
      return outcome;
    };
    const settled = () => new Promise((resolve) => setTimeout(resolve, 50));`;

test("a connection of a plain client has at most a quarter of the places, and loses some when others need them", async () => {
  const seen = await evaluate(`${PLAIN}
    const calls = new Calls("incarnation", endless);
    for (let owner = 0; owner < 4; owner++) {
      const own = connection("owner-" + owner);
      for (let index = 0; index < 1030; index++) void plain(calls, own, owner + ":" + index);
    }
    await settled();
    const refused = outcomes.length;
    // Connections with few calls, and calls without a connection.
    for (let index = 0; index < 40; index++) void plain(calls, connection("other-" + index), "other:" + index);
    void plain(calls, undefined, "inspector");
    await settled();
    const codes = count(outcomes.map(([, each]) => each));
    print({ refused, codes, others: outcomes.filter(([name]) => /other|inspector/.test(name)).length, aborted: aborted.slice(0, 5) });`);
  expect(seen).toEqual({
    refused: 24,
    codes: { LIMIT_EXCEEDED: 65 },
    others: 0,
    aborted: ["0:0", "1:0", "2:0", "3:0", "0:1"],
  });
});

test("among single requests the newest is refused while all are new, and the oldest one ends for it later", async () => {
  const seen = await evaluate(`${PLAIN}
    const { KEEPS_PLACE_MS } = await import("${dist}/plain.mjs");
    const calls = new Calls("incarnation", endless);
    for (let index = 0; index < 4096; index++) void plain(calls, connection("request-" + index), index);
    await plain(calls, connection("early"), "early");
    const early = [...outcomes];
    await new Promise((resolve) => setTimeout(resolve, KEEPS_PLACE_MS));
    void plain(calls, connection("later"), "later");
    await settled();
    print({ early, later: outcomes.slice(1), aborted });`);
  expect(seen).toEqual({ early: [["early", "LIMIT_EXCEEDED"]], later: [[0, "LIMIT_EXCEEDED"]], aborted: [0] });
});

test("a plain call ends at its deadline and with its connection; what cannot be aborted counts until it is over", async () => {
  const seen = await evaluate(`${PLAIN}
    const late = new Calls("incarnation", endless, 100);
    const own = connection("own");
    await Promise.all(Array.from({ length: 1024 }, (_, index) => plain(late, own, index)));
    const deadline = { codes: count(outcomes.splice(0).map(([, each]) => each)), aborted: aborted.splice(0).length, held: Share.all };
    const ends = [];
    const calls = new Calls("incarnation", () => new Promise((resolve) => ends.push(resolve)));
    const stuck = [plain(calls, own, "stuck"), plain(calls, own, "stuck too")];
    await settled();
    close(calls, own);
    await Promise.all(stuck);
    const closed = { outcomes: outcomes.splice(0), held: Share.all > 0 };
    for (const end of ends) end();
    await settled();
    print({ deadline, closed, over: Share.all });`);
  expect(seen).toEqual({
    deadline: { codes: { LIMIT_EXCEEDED: 1024 }, aborted: 1024, held: 0 },
    closed: {
      outcomes: [
        ["stuck", "VM_DISPOSED"],
        ["stuck too", "VM_DISPOSED"],
      ],
      held: true,
    },
    over: 0,
  });
});

test("a deadline that is longer than a timer may take is none", async () => {
  const seen = await evaluate(`${CALLS}
    const soon = () => new Promise((resolve) => setTimeout(resolve, 50, "done"));
    const calls = new Calls("incarnation", soon, 2 ** 31);
    print(await code(() => calls.plain(connection("own"), "exec", [], (result) => result)));`);
  expect(seen).toBe("taken");
});

test("listings that nobody waits for any longer hold up no other's and are not counted", async () => {
  const seen = await evaluate(`${CALLS}
    const { Gate } = await import("${dist}/budget.mjs");
    const { methods } = await import("${dist}/methods.mjs");
    const ends = [];
    const listed = [];
    const vm = { readdir: (path) => (listed.push(path), new Promise((resolve) => ends.push(resolve))) };
    const gate = new Gate(4);
    const machine = { boot: async () => vm, listing: (...args) => gate.run(...args) };
    const calls = new Calls("incarnation", (method, args, carried) => methods[method]({ machine, ...carried }, ...args));
    const list = (own, path) => code(() => calls.plain(own, "readdir", [path], (result) => result));
    const outcomes = [];
    for (let round = 0; round < 3; round++) {
      const gone = connection("gone-" + round);
      const all = Array.from({ length: 1000 }, () => list(gone, "/gone"));
      await new Promise((resolve) => setTimeout(resolve, 20));
      close(calls, gone);
      outcomes.push(...(await Promise.all(all)));
    }
    const held = Share.all;
    const other = list(connection("other"), "/other");
    await new Promise((resolve) => setTimeout(resolve, 20));
    ends[0]([]);
    await new Promise((resolve) => setTimeout(resolve, 20));
    for (const end of ends) end([]);
    print({ outcomes: count(outcomes), held, listed, other: await other, over: Share.all });`);
  // Running calls are not aborted: each counts until it ends.
  expect(seen.held).toBeLessThan(4 * 2000);
  expect(seen).toMatchObject({ outcomes: { VM_DISPOSED: 3000 }, other: "taken", over: 0 });
  expect(seen.listed).toEqual(["/gone", "/gone", "/gone", "/gone", "/other"]);
});

test("calls of plain clients and calls of our own do not take each other's places", async () => {
  const seen = await evaluate(`${PLAIN}
    const calls = new Calls("incarnation", (method, args, carried) => carried.signal ? endless(method, args, carried) : "done");
    for (let index = 0; index < 4096; index++) void plain(calls, connection("request-" + index), index);
    const request = { id: "call-number-1", method: "exec", args: [], incarnation: "incarnation", done: [] };
    print(await calls.begin(connection("our-own"), request));`);
  expect(seen).toEqual({ state: "done", value: "done" });
});

test("a client that is named as another one's connection has nothing of what that connection has", async () => {
  const seen = await evaluate(`${CALLS}
    const calls = new Calls("incarnation", async () => "secret");
    const request = { id: "call-number-1", method: "exec", args: [], incarnation: "incarnation", done: [] };
    const [unnamed, other] = [connection("connection-1"), connection("connection-2")];
    await calls.begin(unnamed, request);
    calls.hello(other, "connection-1");
    const stolen = await code(() => calls.follow(other, request.id, "incarnation"));
    // The end of that connection does not affect the other client's calls either.
    await calls.begin(other, request);
    close(calls, unnamed);
    print({ stolen, kept: await calls.follow(other, request.id, "incarnation") });`);
  expect(seen).toEqual({ stolen: "LIMIT_EXCEEDED", kept: { state: "done", value: "secret" } });
});

test("callers that no longer wait for a process leave nothing with the VM", async () => {
  const seen = await evaluate(`
    const { AgentVm } = require("${require("../fixture/project").root}");
    const { Machine } = await import("${dist}/machine.mjs");
    const { methods } = await import("${dist}/methods.mjs");
    const actor = { actorId: "test", broadcast() {}, keepAwake: (promise) => promise, log: console };
    const machine = new Machine(actor, {});
    let asked = 0;
    const { waitProcessExit } = AgentVm.prototype;
    AgentVm.prototype.waitProcessExit = function (...args) {
      asked++;
      return waitProcessExit.apply(this, args);
    };
    const claim = { take() {}, part: () => claim, bytes: 0 };
    const { pid } = await methods.spawn({ machine, claim }, "cat");
    const given = [];
    for (let round = 0; round < 1000; round++) {
      const over = new AbortController();
      given.push(code(() => methods.waitProcess({ machine, claim, signal: over.signal }, pid)));
      setTimeout(() => over.abort(Object.assign(new Error("late"), { code: "LATE" })), 20);
    }
    const codes = count(await Promise.all(given));
    const waiting = methods.waitProcess({ machine, claim }, pid);
    await methods.closeProcessStdin({ machine, claim }, pid);
    const exitCode = await waiting;
    const again = await methods.waitProcess({ machine, claim }, pid);
    const unknown = await code(() => methods.waitProcess({ machine, claim }, 99_999));
    await machine.stop("destroy");
    print({ codes, asked, exitCode, again, unknown });`);
  // One for all that waited, one for the ended process, and one for the pid that does not exist.
  expect(seen).toEqual({ codes: { LATE: 1000 }, asked: 3, exitCode: 0, again: 0, unknown: "PROCESS_NOT_FOUND" });
});

test("what a plain call runs is killed at actionTimeout, and when its connection closes", async () => {
  const server = await startServer({ agent: { actionTimeout: 5000 } });
  const seen = await server.evaluate(async ({ agent, createPlainClient, endpoint, failure, until }) => {
    await agent.exec("true");
    const sleepers = async (time) =>
      (await agent.allProcesses()).filter(({ command, args }) => command === "sleep" && args.includes(time)).length;
    const started = (name) => until(() => agent.exists(`/home/user/${name}`));
    const single = createPlainClient(endpoint).vm.getOrCreate(["test"]);
    const late = Array.from({ length: 5 }, () => failure(single.exec("touch single; exec sleep 1001")));
    await started("single");
    const codes = (await Promise.all(late)).map(({ code }) => code);
    await until(async () => (await sleepers("1001")) === 0);
    const connection = createPlainClient(endpoint).vm.getOrCreate(["test"]).connect();
    for (let index = 0; index < 5; index++) connection.exec("touch connected; exec sleep 1002").catch(() => {});
    await started("connected");
    await connection.dispose();
    await until(async () => (await sleepers("1002")) === 0);
    // Our own client's calls have no time limit.
    const { stdout } = await agent.exec("sleep 6; echo whole");
    return { codes, stdout };
  });
  expect(seen.stdout).toBe("whole\n");
  for (const code of seen.codes) expect(["action_timed_out", "LIMIT_EXCEEDED"]).toContain(code);
});
