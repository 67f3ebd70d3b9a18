"use strict";

const { startServer } = require("../fixture/rivetkit/servers");

// Short, so that what keeps an actor awake has to be more than its timeout.
const sleepTimeout = 1500;
let server;
beforeAll(async () => {
  server = await startServer({ agent: { sleepTimeout } });
});

/** Starts something as `key`, and lets go of the connection: from then on only what runs keeps the actor awake. */
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
const passed = (since) => (Date.now() - since) / 1000;

test("an actor with nothing running sleeps, and the next call wakes it with a fresh VM", async () => {
  await leave("idle", (agent) => agent.exec("touch here"));
  await server.said("sleep", { key: "idle" });
  const listing = await server.evaluate(
    async ({ client }) => (await client.vm.getOrCreate(["idle"]).exec("ls; hostname")).stdout,
  );
  expect(listing).toBe("agent-vm\n");
});

const ends = {
  "ends by itself": (agent) => agent.spawn("sleep", ["4"]),
  "is killed from inside": (agent) => agent.spawn("sh", ["-c", "(sleep 4; kill -9 $$) & while :; do sleep 0.1; done"]),
  "is a shell that its own user left": async (agent) => {
    const { shellId } = await agent.openShell();
    await agent.writeShell(shellId, "sleep 4; exit\n");
  },
};
test("a process keeps the actor awake past its sleepTimeout, until it ends, however it does", async () => {
  // All at once: each waits for its own.
  await Promise.all(
    Object.entries(ends).map(async ([key, start]) => {
      const since = Date.now();
      await leave(key, start);
      await server.said("sleep", { key });
      expect([key, passed(since) > 4]).toEqual([key, true]);
    }),
  );
});

test("what an exec left in the background does not keep the actor awake", async () => {
  await leave("background", (agent) => agent.exec("sleep 600 & echo"));
  await server.said("sleep", { key: "background" });
});

test("calls about something that ran before the actor slept say that it is gone, and boot no VM", async () => {
  await leave("wake", (agent) => agent.exec("true"));
  await server.said("sleep", { key: "wake" });
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
