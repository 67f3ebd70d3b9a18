"use strict";
// The file calls of an actor, by agent-vm/client and by rivetkit's plain client.

const { startServer } = require("../fixture/rivetkit/servers");

let server;
beforeAll(async () => {
  server = await startServer();
});

test("the file calls do what those of a VM do", async () => {
  const found = await server.evaluate(async ({ agent, failure }) => {
    const file = "/home/user/dir/f";
    const date = new Date(1_600_000_000_123);
    await agent.writeFile(file, "0123456789", { mode: 0o640, mtime: date });
    await agent.appendFile(file, "é");
    const text = await agent.readFile(file, "utf8");
    const part = await agent.readFile(file, { encoding: "latin1", offset: 2, length: 3 });
    const bytes = await agent.readFile(file, { offset: 8 });
    await agent.truncate(file, 4);
    await agent.chmod(file, "600");
    await agent.utimes(file, 1.5, date);
    const { mode, size, atimeMs, mtimeMs } = await agent.stat(file);
    await agent.symlink("f", "/home/user/dir/link");
    const written = await agent.writeFiles([
      { path: "/home/user/w", content: "w", mtime: date },
      { path: "/usr/w", content: "w" },
    ]);
    const read = await agent.readFiles(["/home/user/w", "/none"], "utf8");
    const made = await agent.mkdtemp("/tmp/x-");
    return {
      ...{ text, part, bytes: [...bytes], mode: mode & 0o777, size, atimeMs, mtimeMs, written, read, made },
      target: await agent.readlink("/home/user/dir/link"),
      real: await agent.realpath("/home/user/dir/link"),
      isLink: (await agent.lstat("/home/user/dir/link")).isSymbolicLink,
      entries: await agent.readdirEntries("/home/user/dir"),
      mtimeOfBatch: (await agent.stat("/home/user/w")).mtimeMs,
      refused: await failure(agent.readlink(file)),
    };
  });
  expect(found).toMatchObject({
    ...{ text: "0123456789é", part: "234", bytes: [56, 57, 195, 169], mode: 0o600, size: 4 },
    ...{ atimeMs: 1500, mtimeMs: 1_600_000_000_123, target: "f", real: "/home/user/dir/f", isLink: true },
    ...{ mtimeOfBatch: 1_600_000_000_123, made: expect.stringMatching(/^\/tmp\/x-[A-Za-z0-9]{6}$/) },
    entries: [
      { name: "f", path: "/home/user/dir/f", type: "file" },
      { name: "link", path: "/home/user/dir/link", type: "symlink" },
    ],
    written: [{ success: true }, { success: false, code: "EROFS" }],
    read: [{ content: "w" }, { content: null, code: "ENOENT" }],
    refused: { code: "EINVAL" },
  });
});

test("text of any size arrives, and a part of a file that is too large", async () => {
  const found = await server.evaluate(async ({ agent, failure }) => {
    await agent.exec("yes é | head -c 9000000 > text; truncate -s 1T sparse; printf end >> sparse");
    const text = await agent.readFile("/home/user/text", "utf8");
    return {
      length: text.length,
      ends: [text.slice(0, 2), text.slice(-2)],
      end: await agent.readFile("/home/user/sparse", { encoding: "utf8", offset: 2 ** 40 }),
      whole: await failure(agent.readFile("/home/user/sparse", "utf8")),
    };
  });
  expect(found).toMatchObject({
    ...{ length: 6_000_000, ends: ["é\n", "é\n"], end: "end" },
    whole: { code: "LIMIT_EXCEEDED" },
  });
}, 60_000);

test("arguments that a call does not have are refused to both clients", async () => {
  const codes = await server.evaluate(async ({ agent, createPlainClient, endpoint, failure }) => {
    const plain = createPlainClient(endpoint).vm.getOrCreate(["test"]);
    const calls = (client) => [
      client.readdir("/tmp", { withFileTypes: true }),
      client.stat("/tmp", { bigint: true }),
      client.exists("/tmp", 1),
      client.listProcesses({}),
      client.getProcess(1, {}),
      client.readFile("/etc/hostname", { nonsense: 1 }),
      client.readFile("/etc/hostname", "utf8", 1),
      client.readFiles(["/etc/hostname"], "utf8", 1),
      client.vmFetch(80, "http://x/", { redirect: "manual" }),
      client.vmFetch(80, "http://x/", {}, 1),
    ];
    const failed = await Promise.all([agent, plain].flatMap((client) => calls(client).map(failure)));
    return failed.map(({ code }) => code);
  });
  expect(codes).toEqual(Array(20).fill("INVALID_ARGUMENT"));
});

test("half a surrogate pair in a path is refused, and becomes U+FFFD in data", async () => {
  const found = await server.evaluate(async ({ agent, createClient, endpoint, failure }) => {
    // The other one makes promises of everything.
    const own = createClient(endpoint).vm.getOrCreate(["test"]);
    await agent.mkdir("/tmp/half");
    const path = "/tmp/half/x\ud800y";
    const calls = [
      () => agent.readFile(path),
      () => agent.writeFile(path, "x"),
      () => agent.readFiles(["/etc/hostname", path]),
      () =>
        agent.writeFiles([
          { path: "/tmp/half/a", content: "" },
          { path, content: "" },
        ]),
      () => agent.exec("echo \ud800"),
      () => agent.execFile("true", ["x".repeat(100_000), "\ud800".repeat(100_000)]),
      () => agent.exec("true", { env: { "\ud800": "a" } }),
      () => agent.exec("true", { stdin: "x", cwd: path }),
      () => agent.openShell({ args: ["\ud800"] }),
      () => agent.readdirRecursive("/tmp", { exclude: ["\ud800"] }),
      async () => own.createReadStream(path),
      async () => own.readArchive("/tmp", { exclude: ["\ud800"] }),
      () => own.watch(path).next(),
      () => own.uploadDirectory("/etc", path),
    ];
    const messages = [];
    for (const call of calls) {
      const { code, message, resolved } = await failure(call());
      messages.push(`${code}: ${message ?? JSON.stringify(resolved)}`);
    }
    const listed = await agent.readdir("/tmp/half");
    const half = "a\ud800b";
    await agent.writeFile("/tmp/a", half);
    await agent.appendFile("/tmp/a", half);
    await agent.writeFiles([{ path: "/tmp/b", content: half }]);
    const { stdout } = await agent.exec("cat /tmp/a /tmp/b -; printf 😀", { stdin: half });
    return { messages, listed, stdout };
  });
  expect(found.messages.filter((message) => !/^INVALID_ARGUMENT: .*well-formed/.test(message))).toEqual([]);
  expect(found.messages).toHaveLength(14);
  expect(found.listed).toEqual([]);
  expect(found.stdout).toBe(`${"a\ufffdb".repeat(4)}😀`);
}, 60_000);
