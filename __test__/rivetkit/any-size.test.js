"use strict";

const { startServer } = require("../fixture/rivetkit/servers");

let server;
beforeAll(async () => {
  server = await startServer();
});

test("arguments and results of any size pass under rivetkit's default limits", async () => {
  const { sum, length, stdout } = await server.evaluate(async ({ agent }) => {
    const stdin = new Uint8Array(50_000_000).map((_, index) => index % 251);
    const { createHash } = await import("node:crypto");
    const sum = createHash("sha256").update(stdin).digest("hex");
    const result = await agent.exec("sha256sum", { stdin });
    const large = await agent.exec("head -c 20000000 /dev/zero | tr '\\0' é | cut -c 1-20000000", {
      maxOutputBytes: 64_000_000,
    });
    return { sum, stdout: result.stdout, length: large.stdout.length };
  });
  expect(stdout).toBe(`${sum}  -\n`);
  expect(length).toBeGreaterThan(10_000_000);
}, 240_000);

test("a megabyte written by a process at once comes as events of at most 32 KiB, whole and in order", async () => {
  const { largest, seqs, text } = await server.evaluate(async ({ agent, until }) => {
    const events = [];
    let ended = false;
    agent.on("processOutput", (event) => events.push(event));
    agent.on("processExit", () => (ended = true));
    await agent.spawn("sh", ["-c", "seq 1 150000"]);
    await until(() => ended);
    return {
      largest: Math.max(...events.map(({ data }) => data.length)),
      seqs: events.map(({ seq }) => seq),
      text: Buffer.concat(events.map(({ data }) => data)).toString(),
    };
  });
  expect(largest).toBeLessThanOrEqual(32 * 1024);
  expect(text).toBe(Array.from({ length: 150_000 }, (_, index) => `${index + 1}\n`).join(""));
  expect([...seqs].sort((a, b) => a - b)).toEqual(seqs);
});

test("writes to one stdin keep their order, whatever their sizes", async () => {
  const whole = await server.evaluate(async ({ agent }) => {
    const { pid } = await agent.spawn("sha256sum");
    const writes = [];
    const { createHash } = await import("node:crypto");
    const hash = createHash("sha256");
    for (let index = 0; index < 200; index++) {
      const data = `${index}:`.padEnd(index % 50 === 7 ? 100_000 : 100, "x");
      hash.update(data);
      writes.push(agent.writeProcessStdin(pid, data));
    }
    writes.push(agent.closeProcessStdin(pid));
    await Promise.all(writes);
    await agent.waitProcess(pid);
    const { chunks } = await agent.readProcessOutput(pid);
    return [Buffer.concat(chunks.map(({ data }) => data)).toString(), hash.digest("hex")];
  });
  expect(whole[0]).toBe(`${whole[1]}  -\n`);
});

test("a call of rivetkit's plain client that is over a limit is rejected, and says which", async () => {
  const { result, argument } = await server.evaluate(async ({ createPlainClient, endpoint, failure }) => {
    const plain = createPlainClient(endpoint).vm.getOrCreate(["test"]);
    return {
      result: await failure(plain.exec("head -c 2000000 /dev/zero | tr '\\0' a")),
      argument: await failure(plain.exec("cat", { stdin: new Uint8Array(100_000) })),
    };
  });
  expect(result.code).toBe("LIMIT_EXCEEDED");
  expect(result.message).toContain("maxOutgoingMessageSize");
  // rivetkit itself rejects it, before the call reaches the actor.
  expect(argument).toMatchObject({ group: "message", code: "incoming_too_long" });
});
