"use strict";

const { readFileSync } = require("node:fs");
const { descendants, running } = require("../fixture/processes");
const { startServer } = require("../fixture/rivetkit/servers");

test("killing the server kills its VMs, and clients reconnect when it is started again", async () => {
  const server = await startServer();
  const run = server.evaluate(async ({ agent, createClient, endpoint, failure, pause, until }) => {
    const exits = [];
    const shutdowns = [];
    agent.on("processExit", (event) => exits.push(event));
    agent.on("vmShutdown", (event) => shutdowns.push(event));
    const { pid } = await agent.spawn("sh", ["-c", "sleep 600 & sleep 600"]);
    const waiting = failure(agent.waitProcess(pid));
    // One that has never printed, and that another client has started.
    const other = createClient(endpoint).vm.getOrCreate(["test"]);
    const silent = await other.spawn("sleep", ["600"]);
    await other.dispose();
    const matching = failure(agent.waitForOutput(silent.pid, /never/));
    await agent.waitForOutput(silent.pid, /never/, { timeout: 1000 }).catch(() => {});
    await pause("running");
    // Rejects once the client knows that its connection led to the killed server.
    const waited = await waiting;
    const after = await agent.exec("echo back; ps -e | grep -c sleep");
    await until(() => exits.length > 1 && shutdowns.length > 0);
    const next = await agent.spawn("true");
    await until(() => exits.length > 2);
    const unmatched = (await matching).code;
    // The next VM may give that pid again.
    const others = exits.filter((exit) => exit.pid !== silent.pid || exit.reason !== "disposed");
    return { pid, next: next.pid, waited, unmatched, stdout: after.stdout, exits: others, shutdowns };
  });
  await run.reached("running");
  const processes = descendants(server.pid).filter(
    ({ pid }) => !/rivet/.test(readFileSync(`/proc/${pid}/comm`, "utf8")),
  );
  expect(processes.length).toBeGreaterThanOrEqual(4); // Init, sh, and two sleeps.
  await server.kill("SIGKILL");
  await server.until(() => running(processes).length === 0, "end of what ran in the VM");

  server.start();
  run.go("running");
  const { pid, next, waited, unmatched, stdout, exits, shutdowns } = await run;
  expect(stdout).toBe("back\n0\n");
  // The client reports that the process ended with its VM, although the killed server could not.
  expect(waited).toMatchObject({ code: "VM_DISPOSED" });
  expect(unmatched).toBe("VM_DISPOSED");
  expect(exits).toMatchObject([
    { pid, exitCode: 137, signal: "SIGKILL", reason: "disposed" },
    { pid: next, exitCode: 0 },
  ]);
  expect(shutdowns).toEqual([{ reason: "error" }]);
});
