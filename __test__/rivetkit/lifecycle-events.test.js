"use strict";

const { readFileSync } = require("node:fs");
const { descendants, running } = require("../fixture/processes");
const { startServer } = require("../fixture/rivetkit/servers");

let server;
beforeAll(async () => {
  server = await startServer();
});

/** The inits of the server's VMs: its children that are not rivetkit's engine. */
const inits = () =>
  descendants(server.pid).filter(
    ({ pid, ppid }) => ppid === server.pid && !readFileSync(`/proc/${pid}/comm`, "utf8").startsWith("rivet"),
  );

test("a VM that dies emits its events, its processes end, and the next call boots another VM", async () => {
  const run = server.evaluate(async ({ agent, failure, pause, until }) => {
    const seen = [];
    agent.on("vmBooted", (event) => seen.push(["booted", event]));
    agent.on("processExit", ({ pid, reason }) => seen.push(["exit", pid, reason]));
    agent.on("vmShutdown", (event) => seen.push(["shutdown", event]));
    const { pid } = await agent.spawn("sleep", ["600"]);
    const waiting = failure(agent.exec("sleep 600"));
    await pause("running");
    const { code } = await waiting;
    await until(() => seen.length >= 3);
    const { stdout } = await agent.exec("ps -e | grep -c sleep");
    await until(() => seen.length >= 4);
    return { pid, seen, code, stdout };
  });
  await run.reached("running");
  const [init, ...others] = inits();
  expect(others).toEqual([]);
  process.kill(init.pid, "SIGKILL");
  run.go("running");
  const { pid, seen, code, stdout } = await run;
  expect(seen).toEqual([
    ["booted", {}],
    ["exit", pid, "disposed"],
    ["shutdown", { reason: "error" }],
    ["booted", {}],
  ]);
  expect([code, stdout]).toEqual(["VM_DISPOSED", "0\n"]);
});

test("a server that gets SIGTERM emits vmShutdown, and later calls wait for the next server", async () => {
  const run = server.evaluate(async ({ client, pause, sleep, until }) => {
    const agent = client.vm.getOrCreate(["moved"]);
    const seen = [];
    agent.on("vmBooted", () => seen.push("booted"));
    agent.on("processExit", ({ reason }) => seen.push(`exit: ${reason}`));
    agent.on("vmShutdown", ({ reason }) => seen.push(`shutdown: ${reason}`));
    await agent.spawn("sleep", ["600"]);
    await pause("running");
    await until(() => seen.includes("shutdown: sleep"));
    // A connection that was silent for a second is checked before a call uses it; before that, the ending server might get the call.
    await sleep(1500);
    void pause("calling");
    const { stdout } = await agent.exec("echo here again");
    await until(() => seen.length >= 4);
    return { seen, stdout };
  });
  await run.reached("running");
  const inside = inits();
  await server.kill("SIGTERM");
  expect(running(inside)).toEqual([]);
  expect(server.lines.filter((line) => /unhandled|uncaught/i.test(line))).toEqual([]);
  run.go("running");
  await run.reached("calling");
  server.start();
  expect(await run).toEqual({
    seen: ["booted", "exit: disposed", "shutdown: sleep", "booted"],
    stdout: "here again\n",
  });
});
