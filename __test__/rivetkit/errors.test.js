"use strict";

const { startServer } = require("../fixture/rivetkit/servers");

test("known failures reach the client with code, message and metadata, over our client and rivetkit's", async () => {
  const server = await startServer();
  const { ours, plain } = await server.evaluate(async ({ agent, createPlainClient, endpoint, failure }) => {
    const handle = createPlainClient(endpoint).vm.getOrCreate(["test"]);
    const calls = (vm) =>
      Promise.all([
        failure(vm.getProcess(99999)),
        failure(vm.exec("true", { cwd: "/nowhere" })),
        failure(vm.exec("true", { timeout: -1 })),
        failure(vm.resizeShell("shell-9", 80, 24)),
      ]);
    await agent.exec("true");
    return { ours: await calls(agent), plain: await calls(handle) };
  });
  const known = [
    { group: "user", code: "PROCESS_NOT_FOUND", message: "Process not found: 99999" },
    { group: "user", code: "ENOENT" },
    { group: "user", code: "INVALID_ARGUMENT" },
    { group: "user", code: "SHELL_NOT_FOUND", message: "Shell not found: shell-9" },
  ];
  expect(ours).toMatchObject(known);
  expect(plain).toMatchObject(known);
  expect(server.lines.filter((line) => line.includes("agent-vm:"))).toEqual([]);
});

test("a failure to boot reaches every first call, and the next call tries again", async () => {
  const server = await startServer({ agent: { options: { hostname: "not a host name" } } });
  const failures = await server.evaluate(async ({ agent, failure }) => {
    const first = await Promise.all([1, 2, 3].map(() => failure(agent.exec("true"))));
    return [...first, await failure(agent.spawn("true"))];
  });
  expect(failures).toHaveLength(4);
  for (const each of failures) expect(each).toMatchObject({ group: "user", code: "INVALID_ARGUMENT" });
});

test("paths and causes of the server do not reach the client", async () => {
  // No homes can be kept there: the error is the file system's, and its message names the server's directory.
  const server = await startServer({ agent: { options: { persist: { directory: "/etc/passwd/homes" } } } });
  const failures = await server.evaluate(async ({ agent, createPlainClient, endpoint, failure }) => {
    const ours = [await failure(agent.exec("true")), await failure(agent.spawn("true"))];
    const plain = createPlainClient(endpoint).vm.getOrCreate(["test"]);
    return [...ours, await failure(plain.exec("true"))];
  });
  for (const each of failures) {
    expect(each).toMatchObject({ code: "internal_error", message: "An internal error occurred" });
    expect(JSON.stringify(each)).not.toContain("homes");
  }
  // The server's log contains the original error.
  const logged = server.lines.filter((line) => line.includes("ENOTDIR"));
  expect(logged.map((line) => /msg="(.*?)"/.exec(line)[1])).toEqual([
    "agent-vm: exec failed",
    "agent-vm: spawn failed",
    "agent-vm: exec failed",
  ]);
});

test("a refused connection rejects its call, instead of being tried again for a minute", async () => {
  const server = await startServer();
  const { refused, ms } = await server.evaluate(async ({ agent, client, failure }) => {
    // On a busy machine, the server's first actor takes a while to start.
    await agent.exec("true");
    const since = Date.now();
    const refusing = client.vm.getOrCreate(["test"], { params: { refuse: true } });
    return { refused: await failure(refusing.exec("true")), ms: Date.now() - since };
  });
  expect(refused.group).toBeDefined();
  expect(refused).not.toHaveProperty("resolved");
  expect(ms).toBeLessThan(45_000);
});
