"use strict";

const { chmodSync, writeFileSync } = require("node:fs");
const { join } = require("node:path");
const { directoryForFile } = require("../fixture/directory");
const { sleep } = require("../fixture/promises");
const { startServer } = require("../fixture/rivetkit/servers");

// Short, so that an actor stays awake only for another reason.
const sleepTimeout = 1500;
// The programs in the VMs end when a file is in this directory.
const gate = directoryForFile();
let server;
beforeAll(async () => {
  chmodSync(gate, 0o755);
  server = await startServer({
    agent: { sleepTimeout, options: { mounts: [{ path: "/gate", hostPath: gate }] } },
  });
});

/** Starts something as `key` and closes the connection, so that only running programs keep the actor awake. */
const leave = (key, start) =>
  server.evaluate(
    async ({ client, arg }) => {
      const agent = client.vm.getOrCreate([arg.key]);
      // oxlint-disable-next-line no-eval -- sent as source, like all of the test
      await (0, eval)(`(${arg.start})`)(agent);
      await agent.dispose();
    },
    { key, start: String(start) },
  );

test("an actor with nothing running sleeps, and the next call wakes it with a fresh VM", async () => {
  await leave("idle", (agent) => agent.exec("touch here"));
  await server.asleep("idle");
  const listing = await server.evaluate(
    async ({ client }) => (await client.vm.getOrCreate(["idle"]).exec("ls; hostname")).stdout,
  );
  expect(listing).toBe("agent-vm\n");
});

const ends = {
  "ends by itself": (agent) => agent.spawn("sh", ["-c", "until [ -e /gate/open ]; do sleep 0.1; done"]),
  "is killed from inside": (agent) =>
    agent.spawn("sh", [
      "-c",
      "(until [ -e /gate/open ]; do sleep 0.1; done; kill -9 $$) & while :; do sleep 0.1; done",
    ]),
  "is a shell that its own user left": async (agent) => {
    const { shellId } = await agent.openShell();
    await agent.writeShell(shellId, "until [ -e /gate/open ]; do sleep 0.1; done; exit\n");
  },
};
test("a process keeps the actor awake past its sleepTimeout, until it ends, however it does", async () => {
  const keys = Object.keys(ends);
  await Promise.all(keys.map((key) => leave(key, ends[key])));
  const slept = keys.map((key) => server.count("sleep", key));
  await sleep(2 * sleepTimeout);
  expect(keys.map((key) => server.count("sleep", key))).toEqual(slept);
  writeFileSync(join(gate, "open"), "");
  await Promise.all(keys.map((key, index) => server.said("sleep", { key, times: slept[index] + 1 })));
});

test("processes that an exec left in the background do not keep the actor awake", async () => {
  await leave("background", (agent) => agent.exec("sleep 600 & echo"));
  await server.asleep("background");
});

test("calls about something that ran before the actor slept say that it is gone, and boot no VM", async () => {
  await leave("wake", (agent) => agent.exec("true"));
  await server.asleep("wake");
  const answers = await server.evaluate(async ({ client, failure }) => {
    const agent = client.vm.getOrCreate(["wake"]);
    let booted = 0;
    agent.on("vmBooted", () => booted++);
    return {
      killed: await failure(agent.killProcess(7)),
      written: await failure(agent.writeShell("shell-1", "x")),
      wrong: await failure(agent.killProcess(-1)),
      listed: [await agent.listProcesses(), await agent.allProcesses(), await agent.listShells()],
      booted,
    };
  });
  expect(answers.killed).toMatchObject({ code: "PROCESS_NOT_FOUND", message: "Process not found: 7" });
  expect(answers.written).toMatchObject({ code: "SHELL_NOT_FOUND", message: "Shell not found: shell-1" });
  expect(answers.wrong).toMatchObject({ code: "INVALID_ARGUMENT" });
  expect(answers).toMatchObject({ listed: [[], [], []], booted: 0 });
});
