"use strict";
// The client's half of following a call, with an actor that answers as the test requires; without an engine.

const { dist, evaluate } = require("../fixture/rivetkit/evaluate");

/** A Link to an actor that gives these answers, by the action's name. */
const LINKED = `
    const { Link } = await import("${dist}/link.mjs");
    const link = (answers) => {
      const action = async ({ name, args }) => answers[name]?.(...args);
      const nothing = () => () => {};
      const rest = { connStatus: "connected", onOpen: nothing, onStatusChange: nothing, on: nothing, dispose: async () => {} };
      return new Link({ connect: () => ({ action, ...rest }) });
    };
    const agentVmHello = () => ({ incarnation: "incarnation" });
    const later = (ms) => new Promise((resolve) => setTimeout(resolve, ms));`;

test("the abort of a process that runs leaves no timer with the client", async () => {
  const seen = await evaluate(`${LINKED}
    const timers = () => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
    let end;
    const ended = new Promise((resolve) => (end = resolve));
    const before = timers();
    const agent = link({
      agentVmHello,
      agentVmBegin: () => ({ state: "done", value: { pid: 5 } }),
      agentVmAbort: () => end(),
      agentVmTake: async () => (await ended, { state: "taken", chunks: [], next: 0, end: true }),
    });
    const over = new AbortController();
    const process5 = await agent.call("spawn", ["sleep", ["1000"], { signal: over.signal }]);
    over.abort();
    await ended;
    await later(20);
    agent.dispose();
    await later(20);
    print({ process5, left: timers() - before });`);
  expect(seen).toEqual({ process5: { pid: 5 }, left: 0 });
});

test("an actor's answer that is no result of exec does not end the client whose signal has aborted", async () => {
  const seen = await evaluate(`${LINKED}
    const codes = [];
    const killed = [];
    for (const value of [null, undefined, "text", { background: 5 }, { background: [null, { pid: 7 }] }]) {
      let answer;
      const begun = new Promise((resolve) => (answer = () => resolve({ state: "done", value })));
      const agent = link({
        agentVmHello,
        agentVmBegin: ({ method, args }) => (method === "exec" ? begun : (killed.push(args[0]), { state: "done" })),
        agentVmAbort: () => answer(),
      });
      const over = new AbortController();
      const outcome = code(() => agent.call("exec", ["true", { signal: over.signal }]));
      await later(20);
      over.abort();
      codes.push(await Promise.race([outcome, later(3000)]));
      agent.dispose();
    }
    print({ codes, killed });`);
  expect(seen).toEqual({ codes: Array(5).fill("ABORTED"), killed: [null, 7] });
});

test("a call to an actor that never answers rejects after about two minutes", async () => {
  const seconds = await evaluate(`${LINKED}
    const { mock } = await import("node:test");
    const next = setImmediate;
    mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"] });
    const agent = link({ agentVmHello: () => new Promise(() => {}) });
    let rejectedAt;
    agent.call("exec", ["true"]).catch(() => (rejectedAt = Date.now()));
    while (rejectedAt === undefined && Date.now() < 600_000) {
      mock.timers.tick(100);
      await new Promise((resolve) => next(resolve));
    }
    print(rejectedAt / 1000);`);
  // Attempts continue for at least a minute; the last may begin within that minute and take as long.
  expect(seconds).toBeGreaterThan(60);
  expect(seconds).toBeLessThan(130);
});

test("a client's wait for output rejects, too, when its actor does not answer any longer", async () => {
  const seconds = await evaluate(`${LINKED}
    const { waitForMatch } = await import("${dist}/output-wait.mjs");
    const { mock } = await import("node:test");
    const next = setImmediate;
    mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"] });
    let answers = true;
    let asked = false;
    const agent = link({
      agentVmHello: () => (answers ? agentVmHello() : new Promise(() => {})),
      agentVmPositions: () => ({ incarnation: "incarnation", processes: [], shells: [] }),
      agentVmBegin: () => {
        asked = true;
        return { state: "done", value: { chunks: [], nextSeq: 0, truncatedBytes: 0, exited: null } };
      },
    });
    const actor = {
      call: (method, args) => agent.call(method, args),
      on(name, listener) {
        const off = agent.streams.add(name, listener, false);
        agent.listening();
        return off;
      },
      onLost: (listener) => agent.onLost(listener),
      track: (id) => agent.streams.track(id),
      isOver: () => false,
    };
    let rejectedAt;
    waitForMatch(actor, 5, /never/).catch(() => (rejectedAt = Date.now()));
    while (rejectedAt === undefined && Date.now() < 600_000) {
      mock.timers.tick(100);
      await new Promise((resolve) => next(resolve));
      if (asked && Date.now() > 5000) answers = false;
    }
    print(rejectedAt / 1000);`);
  // A silent connection is asked first.
  expect(seconds).toBeGreaterThan(65);
  expect(seconds).toBeLessThan(150);
});
