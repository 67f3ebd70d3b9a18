"use strict";
// The client's half of what is followed, with an actor that answers as the test says; without an engine.

const { dist, evaluate } = require("./fixture/evaluate");

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
