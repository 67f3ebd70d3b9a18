"use strict";
// Waiting over an actor.
const { startServer } = require("../fixture/rivetkit/servers");

let server;
beforeAll(async () => {
  server = await startServer();
});

test("a client waits for a port as in a VM", async () => {
  const seen = await server.evaluate(async ({ agent, failure }) => {
    const none = await agent.listPorts();
    const late = await failure(agent.waitForPort(3000, { timeout: 1 }));
    const controller = new AbortController();
    const aborted = failure(agent.waitForPort(3000, { signal: controller.signal }));
    const waiting = agent.waitForPort(3000);
    const { pid } = await agent.spawn("python3", ["-m", "http.server", "3000"]);
    const found = await waiting;
    const { status } = await agent.vmFetch(3000, "/");
    controller.abort();
    return {
      none,
      late,
      isOurs: found.pid === pid,
      found,
      status,
      listed: await agent.listPorts(),
      aborted: await aborted,
      wrong: await failure(agent.waitForPort(0)),
      odd: await failure(agent.waitForPort(3000, [])),
    };
  });
  expect(seen).toMatchObject({
    none: [],
    late: { group: "user", code: "ETIMEDOUT", message: "Nothing listens on port 3000 of the VM after 1 ms" },
    isOurs: true,
    found: { port: 3000, address: "0.0.0.0" },
    status: 200,
    listed: [{ port: 3000, address: "0.0.0.0" }],
    // The port was open when the signal aborted.
    aborted: { resolved: { port: 3000 } },
    wrong: { code: "INVALID_ARGUMENT" },
    odd: { code: "INVALID_ARGUMENT" },
  });
});

test("an abort ends a client's wait, and a plain client cannot send its signal", async () => {
  const seen = await server.evaluate(async ({ agent, createPlainClient, endpoint, failure }) => {
    const controller = new AbortController();
    const waiting = failure(agent.waitForPort(4000, { signal: controller.signal }));
    await agent.exec("true");
    controller.abort();
    const plain = createPlainClient(endpoint).vm.getOrCreate(["test"]);
    const signal = await failure(plain.waitForPort(4000, { signal: {} }));
    return { aborted: await waiting, signal, late: await failure(plain.waitForPort(4000, { timeout: 1 })) };
  });
  expect(seen).toMatchObject({
    aborted: { code: "ABORTED" },
    signal: { code: "INVALID_ARGUMENT", message: expect.stringContaining("options.signal") },
    late: { code: "ETIMEDOUT" },
  });
});

test("a client waits for output, and matches its expressions itself", async () => {
  const seen = await server.evaluate(async ({ agent, createPlainClient, endpoint, failure }) => {
    const { pid } = await agent.spawn("sh", ["-c", "echo before; read line; echo got $line; read line; exit 2"]);
    const before = await agent.waitForOutput(pid, /bef(ore)/);
    const text = agent.waitForOutput(pid, "got this");
    const expression = agent.waitForOutput(pid, /got (?<what>\w+)\n/, { after: before.nextSeq });
    await agent.writeProcessStdin(pid, "this\n");
    const ended = [failure(agent.waitForOutput(pid, "never")), failure(agent.waitForOutput(pid, /never/))];
    const late = await failure(agent.waitForOutput(pid, /never/, { timeout: 1 }));
    const controller = new AbortController();
    const aborted = failure(agent.waitForOutput(pid, /never/, { signal: controller.signal }));
    controller.abort();
    const found = [await text, await expression];
    await agent.writeProcessStdin(pid, "\n");
    const plain = createPlainClient(endpoint).vm.getOrCreate(["test"]);
    const ends = (await Promise.all(ended)).map(({ code }) => code);
    const after = [
      await agent.waitForOutput(pid, /got/),
      await failure(agent.waitForOutput(pid, /never/)),
      await failure(agent.waitForOutput(9999, /x/)),
      await failure(plain.waitForOutput(pid, { source: "x", flags: "" })),
      await plain.waitForOutput(pid, "got"),
    ];
    const { shellId } = await agent.openShell({ command: "sh", env: { PS1: "ready> " } });
    const prompt = await agent.waitForOutput(shellId, /ready> /);
    const last = failure(agent.waitForOutput(shellId, /never/));
    await agent.closeShell(shellId);
    return { before, found, ends, late, aborted: await aborted, after, prompt, last: await last };
  });
  expect(seen).toMatchObject({
    before: { text: "before", groups: ["ore"], seq: 0, nextSeq: 6, stream: "stdout", truncatedBytes: 0 },
    found: [
      { text: "got this", seq: 7, nextSeq: 15 },
      { groups: ["this"], named: { what: "this" }, seq: 7, nextSeq: 16 },
    ],
    ends: ["OUTPUT_ENDED", "OUTPUT_ENDED"],
    late: { code: "ETIMEDOUT" },
    aborted: { code: "ABORTED" },
    after: [
      { seq: 7 },
      { code: "OUTPUT_ENDED" },
      { code: "PROCESS_NOT_FOUND" },
      { code: "INVALID_ARGUMENT", message: expect.stringContaining("agent-vm/client") },
      { text: "got", seq: 7 },
    ],
    prompt: { text: "ready> ", seq: 0 },
    last: { code: "OUTPUT_ENDED" },
  });
});

test("dispose of the client's handle ends its waits, and what begins afterwards waits over another connection", async () => {
  const seen = await server.evaluate(async ({ agent, failure }) => {
    const { pid } = await agent.spawn("cat");
    const { shellId } = await agent.openShell({ command: "cat" });
    const ends = [
      failure(agent.waitForOutput(pid, "never")),
      failure(agent.waitForOutput(pid, /never/)),
      failure(agent.waitForOutput(shellId, /never/)),
      failure(agent.waitForScreen(shellId, /never/)),
    ];
    await agent.writeShell(shellId, "begun\n");
    await agent.waitForOutput(shellId, /begun/);
    await agent.dispose();
    const again = agent.waitForOutput(pid, /again/);
    const messages = (await Promise.all(ends)).map(({ message }) => message);
    await agent.writeProcessStdin(pid, "again\n");
    const { text } = await again;
    // Disposed while it connects.
    await agent.dispose();
    const connecting = failure(agent.waitForOutput(pid, /never/));
    await agent.dispose();
    const last = await agent.waitForOutput(pid, /again/);
    await agent.killProcess(pid);
    await agent.closeShell(shellId);
    return { messages, text, connecting: (await connecting).message, last: last.text };
  });
  const gone = expect.stringMatching(/disposed|lost/);
  expect(seen).toEqual({ messages: Array(4).fill(gone), text: "again", connecting: gone, last: "again" });
});

test("options of a wait that the client carries out itself are refused as a VM refuses them", async () => {
  const seen = await server.evaluate(async ({ agent, failure }) => {
    const { pid } = await agent.spawn("cat");
    const { shellId } = await agent.openShell({ command: "cat" });
    const wrong = [null, [], "x", { timout: 5 }, { timeout: -1 }, { timeout: NaN }, { timeout: "5" }, { signal: {} }];
    const codes = [];
    for (const pattern of [/never/, "never"]) {
      for (const options of [...wrong, { after: -1 }, { after: "1" }]) {
        codes.push((await failure(agent.waitForOutput(pid, pattern, options))).code);
      }
      for (const options of [...wrong, { after: 1 }]) {
        codes.push((await failure(agent.waitForScreen(shellId, pattern, options))).code);
      }
    }
    const unset = await failure(agent.waitForOutput(pid, /never/, { after: undefined, other: undefined, timeout: 1 }));
    await agent.killProcess(pid);
    await agent.closeShell(shellId);
    return { codes, unset: unset.code };
  });
  expect(seen).toEqual({ codes: Array(38).fill("INVALID_ARGUMENT"), unset: "ETIMEDOUT" });
});

test("events of ports and waiting shells reach the clients that are subscribed", async () => {
  const seen = await server.evaluate(async ({ agent, createClient, endpoint, until, failure }) => {
    const opened = [];
    const closed = [];
    const waiting = [];
    const off = agent.on("portOpened", ({ port, pid }) => opened.push([port, typeof pid]));
    const other = createClient(endpoint).vm.getOrCreate(["test"]);
    other.on("portClosed", ({ port }) => closed.push(port));
    other.on("shellWaiting", ({ shellId }) => waiting.push(shellId));
    const { pid } = await agent.spawn("python3", ["-m", "http.server", "5000"]);
    await until(() => opened.some(([port]) => port === 5000));
    const { shellId } = await agent.openShell({ command: "bash" });
    await agent.waitForIdle(shellId);
    await until(() => waiting.includes(shellId));
    await agent.killProcess(pid);
    await until(() => closed.includes(5000));
    off();
    await other.dispose();
    const late = await failure(agent.waitForIdle(shellId, { signal: AbortSignal.abort() }));
    const unknown = await failure(agent.waitForIdle("shell-99"));
    await agent.closeShell(shellId);
    return { opened: opened.filter(([port]) => port === 5000), closed, late, unknown };
  });
  expect(seen).toMatchObject({
    opened: [[5000, "number"]],
    closed: [5000],
    late: { code: "ABORTED" },
    unknown: { code: "SHELL_NOT_FOUND" },
  });
});
