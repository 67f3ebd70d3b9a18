"use strict";
// Streams over files of an actor's VM, with agent-vm/client.

const { startServer } = require("../fixture/rivetkit/servers");

let server;
beforeAll(async () => {
  server = await startServer();
});

test("streams of any size go in and out, at the reader's speed", async () => {
  const found = await server.evaluate(async ({ agent: patient, createClient, endpoint }) => {
    // The other one makes promises of everything.
    await patient.exec("true");
    const agent = createClient(endpoint).vm.getOrCreate(["test"]);
    const { createHash } = await import("node:crypto");
    const { pipeline } = await import("node:stream/promises");
    const { setTimeout: sleep } = await import("node:timers/promises");
    const bytes = new Uint8Array(6_000_000).map((_, index) => index % 251);
    const sum = createHash("sha256").update(bytes).digest("hex");
    await pipeline(
      (function* () {
        for (let at = 0; at < bytes.length; at += 300_001) yield bytes.subarray(at, at + 300_001);
      })(),
      agent.createWriteStream("/home/user/f", { highWaterMark: 1_000_000 }),
    );
    const { stdout } = await agent.exec("sha256sum < f");
    const readable = agent.createReadStream("/home/user/f");
    await new Promise((resolve) => readable.once("readable", resolve));
    await sleep(300);
    const held = readable.readableLength;
    const hash = createHash("sha256");
    for await (const chunk of readable) hash.update(chunk);
    const part = agent.createReadStream("/home/user/f", { start: 250, end: 252, encoding: "hex" });
    return { sum, written: stdout.slice(0, 64), read: hash.digest("hex"), held, part: (await part.toArray()).join("") };
  });
  expect(found.written).toBe(found.sum);
  expect(found.read).toBe(found.sum);
  expect(found.held).toBe(65_536);
  expect(found.part).toBe("fa0001");
}, 120_000);

test("errors arrive with their codes, a client opens at most 128 files, and a destroyed stream gives its place back", async () => {
  const codes = await server.evaluate(async ({ agent: patient, createClient, endpoint, failure }) => {
    await patient.exec("true");
    const agent = createClient(endpoint).vm.getOrCreate(["test"]);
    const { finished } = await import("node:stream/promises");
    const { once } = await import("node:events");
    await agent.writeFile("/home/user/f", "x");
    const found = [];
    found.push((await failure(finished(agent.createReadStream("/none").resume()))).code);
    found.push((await failure(finished(agent.createWriteStream("/usr/x").end("x")))).code);
    const open = Array.from({ length: 128 }, () => agent.createReadStream("/home/user/f"));
    await Promise.all(open.map((stream) => once(stream, "readable")));
    found.push((await failure(finished(agent.createReadStream("/home/user/f").resume()))).code);
    const other = createClient(endpoint).vm.getOrCreate(["test"]);
    found.push((await other.createReadStream("/home/user/f", "utf8").toArray()).join(""));
    for (const stream of open) stream.destroy();
    // What was destroyed takes no place of what is opened next.
    const again = Array.from({ length: 128 }, () => agent.createReadStream("/home/user/f", "utf8"));
    const read = await Promise.all(again.map((stream) => stream.toArray()));
    found.push(read[127].join(""));
    try {
      agent.createReadStream("f");
    } catch (error) {
      found.push(error.code);
    }
    return found;
  });
  expect(codes).toEqual(["ENOENT", "EROFS", "LIMIT_EXCEEDED", "x", "x", "INVALID_ARGUMENT"]);
}, 120_000);

test("copy is an action too", async () => {
  const found = await server.evaluate(async ({ agent, failure }) => {
    await agent.writeFile("/home/user/c/d/f", "x");
    await agent.copy("/home/user/c", "/home/user/e", { recursive: true });
    return [
      await agent.readFile("/home/user/e/d/f", "utf8"),
      (await failure(agent.copy("/home/user/c", "/tmp/c"))).code,
    ];
  });
  expect(found).toEqual(["x", "EISDIR"]);
});
