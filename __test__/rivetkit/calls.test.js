"use strict";
// Every call of a VM over an actor: each arrives with its arguments, and returns the VM's result.

const { startServer } = require("../fixture/rivetkit/servers");

let server;
beforeAll(async () => {
  server = await startServer();
});

test("files", async () => {
  const seen = await server.evaluate(async ({ agent, failure, text }) => {
    await agent.writeFile("/home/user/deep/note", "written");
    const written = await agent.writeFiles([
      { path: "/home/user/a", content: new Uint8Array([0, 255]) },
      { path: "/proc/a", content: "" },
    ]);
    await agent.mkdir("/home/user/one/two", { recursive: true });
    await agent.move("/home/user/deep/note", "/home/user/one/moved");
    const seen = {
      written: written.map(({ path, success }) => [path, success]),
      read: text(await agent.readFile("/home/user/one/moved")),
      bytes: (await agent.readFiles(["/home/user/a", "/nowhere"])).map(({ content }) => content && [...content]),
      names: (await agent.readdir("/home/user")).sort(),
      tree: (await agent.readdirRecursive("/home/user/one")).map(({ path, type }) => [path, type]),
      size: (await agent.stat("/home/user/a")).size,
    };
    await agent.delete("/home/user/a");
    await agent.deleteFile("/home/user/one", { recursive: true });
    seen.left = [await agent.exists("/home/user/a"), await agent.exists("/home/user/one")];
    seen.missing = await failure(agent.deleteFile("/home/user/a"));
    return seen;
  });
  expect(seen).toMatchObject({
    written: [
      ["/home/user/a", true],
      ["/proc/a", false],
    ],
    read: "written",
    bytes: [[0, 255], null],
    names: ["a", "deep", "one"],
    tree: expect.arrayContaining([
      ["/home/user/one/two", "directory"],
      ["/home/user/one/moved", "file"],
    ]),
    size: 2,
    left: [false, false],
    missing: { group: "user", code: "ENOENT", metadata: { path: "/home/user/a" } },
  });
});

test("vmFetch reaches a server in the VM, whatever the size of the response", async () => {
  const answers = await server.evaluate(async ({ agent, failure, text, until }) => {
    const script = `require("node:http").createServer(async (request, response) => {
      const body = Buffer.concat(await request.toArray());
      response.writeHead(201, "Made", { "x-was": request.headers["x-is"] ?? "none", "content-type": "text/plain" });
      response.end(request.url === "/large" ? Buffer.alloc(3_000_000, "x") : request.method + " " + request.url + " " + body);
    }).listen(3000, () => console.log("listening"))`;
    let listening = false;
    const off = agent.on("processOutput", () => (listening = true));
    const { pid } = await agent.spawn("node", ["-e", script]);
    await until(() => listening);
    off();
    const posted = await agent.vmFetch(3000, "http://localhost/path?query", {
      method: "POST",
      headers: { "x-is": "sent" },
      body: new TextEncoder().encode("body"),
    });
    const large = await agent.vmFetch(3000, "/large");
    await agent.killProcess(pid);
    return {
      posted: { ...posted, body: text(posted.body) },
      large: large.body.length,
      nobody: await failure(agent.vmFetch(3001, "/")),
    };
  });
  expect(answers.posted).toMatchObject({
    status: 201,
    statusText: "Made",
    headers: { "x-was": "sent", "content-type": "text/plain" },
    body: "POST /path?query body",
  });
  expect(answers.large).toBe(3_000_000);
  expect(answers.nobody).toMatchObject({ group: "user", code: "ECONNREFUSED" });
});

test("exec's output as bytes and from both ends, over our client and rivetkit's", async () => {
  const seen = await server.evaluate(async ({ agent, createPlainClient, endpoint }) => {
    const plain = createPlainClient(endpoint).vm.getOrCreate(["test"]);
    const seen = [];
    for (const vm of [agent, plain]) {
      const options = { keepOutput: "ends", maxOutputBytes: 4, encoding: "buffer" };
      const { stdout, stderr, stdoutDropped } = await vm.exec("printf 12345678; printf '\\377' >&2", options);
      const text = await vm.execFile("echo", ["12345678"], { keepOutput: "tail", maxOutputBytes: 3 });
      seen.push({ stdout: [...stdout], stderr: [...stderr], stdoutDropped, tail: text.stdout });
    }
    return seen;
  });
  const expected = { stdout: [49, 50, 55, 56], stderr: [255], stdoutDropped: { at: 2, bytes: 4 }, tail: "78\n" };
  expect(seen).toEqual([expected, expected]);
});

test("exec with check rejects with the result; rivetkit's client cannot send check", async () => {
  const seen = await server.evaluate(async ({ agent, createPlainClient, endpoint, failure }) => {
    const plain = createPlainClient(endpoint).vm.getOrCreate(["test"]);
    const signal = new AbortController().signal;
    return {
      passed: (await agent.exec("echo fine", { check: true })).stdout,
      unchecked: (await agent.exec("exit 3", { check: false })).exitCode,
      failed: await failure(agent.exec("printf out; echo why >&2; exit 3", { check: true, signal })),
      killed: await failure(agent.execFile("sleep", ["60"], { check: true, timeout: 50, encoding: "buffer" })),
      large: await failure(agent.exec("head -c 3000000 /dev/zero; false", { check: true })).then(
        ({ metadata }) => metadata.result.stdout.length,
      ),
      wrong: await failure(agent.exec("true", { check: "yes" })),
      plain: await failure(plain.exec("true", { check: true })),
    };
  });
  expect(seen).toMatchObject({
    passed: "fine\n",
    unchecked: 3,
    failed: {
      group: "user",
      code: "COMMAND_FAILED",
      message: 'The command failed: exit code 3; its last line on stderr is "why"',
      metadata: { result: { stdout: "out", stderr: "why\n", exitCode: 3 } },
    },
    killed: {
      code: "COMMAND_FAILED",
      message: "The command failed: its timeout ended it",
      metadata: { result: { timedOut: true } },
    },
    large: 3_000_000,
    wrong: { code: "INVALID_ARGUMENT", message: "options.check must be true or false, not yes" },
    plain: { code: "INVALID_ARGUMENT", message: expect.stringContaining("options.check") },
  });
});

test("processes and shells", async () => {
  const seen = await server.evaluate(async ({ agent, text }) => {
    const { stdout } = await agent.execFile("printf", ["%s|", "a b", "c"], { env: { X: "1" } });
    const { pid } = await agent.spawn("sh", [
      "-c",
      "trap 'echo caught; exit 5' USR1; echo ready; while :; do sleep 0.05; done",
    ]);
    while (!(await agent.readProcessOutput(pid)).nextSeq) continue;
    await agent.signalProcess(pid, "SIGUSR1");
    const exitCode = await agent.waitProcess(pid);
    const { chunks, exited } = await agent.readProcessOutput(pid, { after: 6 });
    const { shellId } = await agent.openShell({ command: "cat", cols: 40, rows: 10 });
    await agent.writeShell(shellId, new TextEncoder().encode("typed\n\u0004"));
    const shell = [await agent.waitShell(shellId), text((await agent.readShell(shellId)).data)];
    const exits = [await agent.waitProcessExit(pid), await agent.waitShellExit(shellId)];
    return { stdout, exitCode, exits, late: chunks.map(({ data }) => text(data)).join(""), exited, shell, pid };
  });
  expect(seen).toMatchObject({
    stdout: "a b|c|",
    exitCode: 5,
    // The signal reaches the whole group: the shell also reports the end of its sleep, on stderr.
    late: expect.stringMatching(/^caught$/m),
    exited: { exitCode: 5, signal: null, reason: "exited" },
    exits: [
      { exitCode: 5, signal: null, reason: "exited", usage: { maxRssBytes: expect.any(Number) } },
      { exitCode: 0, reason: "exited" },
    ],
    shell: [0, "typed\r\ntyped\r\n"],
  });
});

test("a process's output is paused, resumed and closed; spawn and openShell resolve to what names the program", async () => {
  const seen = await server.evaluate(async ({ agent, createPlainClient, endpoint, failure, sleep, until }) => {
    const plain = createPlainClient(endpoint).vm.getOrCreate(["test"]);
    const closes = [];
    let bytes = 0;
    agent.on("processClose", (event) => closes.push(event));
    const spawned = await agent.spawn("sh", ["-c", "read go; exec yes"]);
    const { pid } = spawned;
    agent.on("processOutput", (event) => (bytes += event.pid === pid ? event.data.length : 0));
    await agent.pauseProcessOutput(pid);
    await agent.writeProcessStdin(pid, "\n");
    await sleep(300);
    const paused = bytes;
    await agent.resumeProcessOutput(pid, "stdout");
    await until(() => bytes > 100_000);
    await plain.closeProcessOutput(pid, "stdout");
    const { signal } = await agent.waitProcessExit(pid);
    await until(() => closes.length > 0);
    const opened = await agent.openShell({ command: "true" });
    return {
      paused,
      signal,
      closes,
      spawned,
      opened: Object.keys(opened),
      unknown: await failure(agent.pauseProcessOutput(99_999)),
      wrong: await failure(agent.closeProcessOutput(pid, "stdin")),
    };
  });
  expect(seen).toMatchObject({
    paused: 0,
    signal: "SIGPIPE",
    closes: [seen.spawned],
    spawned: { pid: expect.any(Number) },
    opened: ["shellId"],
    unknown: { code: "PROCESS_NOT_FOUND" },
    wrong: { code: "INVALID_ARGUMENT" },
  });
});

test("another client reads the earlier output, and continues where that ends", async () => {
  const first = server.evaluate(async ({ agent, pause }) => {
    const { shellId } = await agent.openShell({
      command: "sh",
      args: ["-c", "seq 1 1000; read go; seq 1001 2000; read go"],
    });
    const { pid } = await agent.spawn("sh", ["-c", "seq 1 1000; read go; seq 1001 2000; read go"]);
    while (!(await agent.exec("true")) || (await agent.readShell(shellId)).nextSeq < 4893) continue;
    await pause("left");
    return { shellId, pid };
  });
  await first.reached("left");
  first.go("left");
  const what = await first;
  const seen = await server.evaluate(async ({ agent, arg: { shellId, pid }, text, until }) => {
    const events = { shell: [], process: [] };
    agent.on("shellData", (event) => event.shellId === shellId && events.shell.push(event));
    agent.on("processOutput", (event) => event.pid === pid && events.process.push(event));
    const shell = await agent.readShell(shellId);
    const output = await agent.readProcessOutput(pid);
    await agent.writeShell(shellId, "\n");
    await agent.writeProcessStdin(pid, "\n");
    const end = (list) => (list.length > 0 ? list.at(-1).seq + list.at(-1).data.length : 0);
    const whole = { shell: 10_895, process: 8893 };
    await until(() => end(events.shell) >= whole.shell && end(events.process) >= whole.process);
    const after = (list, seq) =>
      list
        .filter((event) => event.seq >= seq)
        .map(({ data }) => text(data))
        .join("");
    await agent.killProcess(pid);
    await agent.closeShell(shellId);
    return {
      shell: text(shell.data) + after(events.shell, shell.nextSeq),
      process: output.chunks.map(({ data }) => text(data)).join("") + after(events.process, output.nextSeq),
      truncated: [shell.truncatedBytes, output.truncatedBytes],
    };
  }, what);
  const numbers = (from, to, end) =>
    Array.from({ length: to - from + 1 }, (_, index) => `${from + index}${end}`).join("");
  expect(seen.process).toBe(numbers(1, 2000, "\n"));
  expect(seen.shell).toBe(`${numbers(1, 1000, "\r\n")}\r\n${numbers(1001, 2000, "\r\n")}`);
  expect(seen.truncated).toEqual([0, 0]);
});
