"use strict";
// Watching files of an actor's VM, with agent-vm/client.

const { readFileSync } = require("node:fs");
const { descendants } = require("../fixture/processes");
const { startServer } = require("../fixture/rivetkit/servers");

let server;
/** The inits of the server's VMs: its children that are not rivetkit's engine. */
const inits = () =>
  descendants(server.pid).filter(
    ({ pid, ppid }) => ppid === server.pid && !readFileSync(`/proc/${pid}/comm`, "utf8").startsWith("rivet"),
  );
beforeAll(async () => {
  server = await startServer();
});

test("a burst of 10,000 files arrives whole at a slow reader, and the loop ends the watch", async () => {
  const found = await server.evaluate(async ({ agent: patient, createClient, endpoint }) => {
    // The other one makes promises of everything.
    await patient.exec("true");
    const agent = createClient(endpoint).vm.getOrCreate(["test"]);
    const { setTimeout: sleep } = await import("node:timers/promises");
    await agent.exec("mkdir -p w/a");
    const watcher = agent.watch("/home/user/w", { recursive: true });
    await watcher.ready;
    await agent.exec('cd w; python3 -c \'for i in range(10_000): open(f"a/f{i}", "w").write("x")\'; mv a b; touch end');
    const types = {};
    const created = new Set();
    let count = 0;
    for await (const event of watcher) {
      types[event.type] = (types[event.type] ?? 0) + 1;
      if (event.type === "created") created.add(event.path);
      if (++count % 4000 === 0) await sleep(200);
      if (event.path === "/home/user/w/end") break;
    }
    return {
      lost: [types.overflow, types.unwatched],
      renamed: types.renamed,
      created: created.size,
      next: await watcher.next(),
    };
  });
  expect(found).toEqual({ lost: [undefined, undefined], renamed: 1, created: 10_001, next: { done: true } });
}, 120_000);

test("errors and an abort arrive with their codes, and a client has at most 32 watches", async () => {
  const codes = await server.evaluate(async ({ agent: patient, createClient, endpoint, failure }) => {
    await patient.exec("true");
    const agent = createClient(endpoint).vm.getOrCreate(["test"]);
    const found = [];
    found.push((await failure(agent.watch("/none").ready)).code, (await failure(agent.watch("/none").next())).code);
    found.push((await failure(agent.watch("/home/user", { deep: true }).ready)).code);
    found.push((await failure(agent.watch("home").ready)).code);
    try {
      agent.watch("/home/user", { signal: 1 });
    } catch (error) {
      found.push(error.code);
    }
    const controller = new AbortController();
    const aborted = agent.watch("/home/user", { signal: controller.signal });
    await aborted.ready;
    const next = failure(aborted.next());
    controller.abort();
    found.push((await next).code);
    const open = Array.from({ length: 32 }, () => agent.watch("/home/user"));
    await Promise.allSettled(open.map((watcher) => watcher.ready));
    found.push((await failure(agent.watch("/home/user").ready)).code);
    const other = createClient(endpoint).vm.getOrCreate(["test"]);
    await other.watch("/home/user").ready;
    for (const watcher of open) await watcher.return();
    // What has ended takes no place of what begins next.
    await Promise.all(open.map(() => agent.watch("/home/user").ready));
    return found;
  });
  expect(codes).toEqual([
    "ENOENT",
    "ENOENT",
    "INVALID_ARGUMENT",
    "INVALID_ARGUMENT",
    "INVALID_ARGUMENT",
    "ABORTED",
    "LIMIT_EXCEEDED",
  ]);
}, 120_000);

test("the death of the VM ends a watch with VM_DISPOSED", async () => {
  const running = server.evaluate(async ({ agent: patient, createClient, endpoint, failure, pause }) => {
    await patient.exec("true");
    const agent = createClient(endpoint).vm.getOrCreate(["test"]);
    const watcher = agent.watch("/home/user");
    await watcher.ready;
    await agent.mkdir("/home/user/made");
    const { value } = await watcher.next();
    const ended = failure(watcher.next());
    await pause("watching");
    return [value, (await ended).code, await watcher.next()];
  });
  await running.reached("watching");
  for (const { pid } of inits()) process.kill(pid, "SIGKILL");
  running.go("watching");
  const made = { type: "created", path: "/home/user/made" };
  expect(await running).toEqual([made, "VM_DISPOSED", { value: undefined, done: true }]);
});
