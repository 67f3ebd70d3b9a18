"use strict";
// The statistics of an actor's VM, as an action and with agent-vm/client.

const { startServer } = require("../fixture/rivetkit/servers");

let server;
beforeAll(async () => {
  server = await startServer();
});

test("stats is an action, which boots no VM", async () => {
  const found = await server.evaluate(async ({ agent }) => {
    const [before, peaks] = [await agent.stats(), []];
    await agent.exec("true");
    peaks.push((await agent.stats()).peakProcesses);
    return { before, peaks, after: await agent.stats() };
  });
  expect(found.before).toEqual({
    processes: 0,
    peakProcesses: 0,
    cpuMs: 0,
    memoryBytes: 0,
    peakMemoryBytes: 0,
    bytesIn: 0,
    bytesOut: 0,
    ports: { sentBytes: 0, receivedBytes: 0 },
  });
  expect(found.peaks).toEqual([1]);
  // The room for private files: the VM's own.
  expect(found.after.disk.freeBytes).toBeGreaterThan(0);
}, 120_000);

test("a client's watchStats reads in intervals, and ends with an abort, a break or its handle", async () => {
  const found = await server.evaluate(async ({ agent: patient, createClient, endpoint, failure }) => {
    await patient.exec("true");
    const agent = createClient(endpoint).vm.getOrCreate(["test"]);
    const result = { outputs: [], codes: [] };
    for await (const { bytesOut } of agent.watchStats({ interval: 100 })) {
      result.outputs.push(bytesOut);
      if (result.outputs.length === 3) break;
      await agent.exec("echo");
    }
    const controller = new AbortController();
    const aborted = agent.watchStats({ interval: 0x7fffffff, signal: controller.signal });
    await aborted.next();
    const waiting = failure(aborted.next());
    controller.abort();
    result.codes.push((await waiting).code);
    for (const options of [{ interval: 1 }, { other: 1 }, 7, { signal: 1 }]) {
      try {
        agent.watchStats(options);
      } catch (error) {
        result.codes.push(error.code);
      }
    }
    const left = agent.watchStats({ interval: 0x7fffffff });
    await left.next();
    const end = left.next();
    await agent.dispose();
    result.end = await end;
    return result;
  });
  const [first] = found.outputs;
  expect(found.outputs).toEqual([first, first + 1, first + 2]);
  expect(found.codes).toEqual(["ABORTED", ...Array(4).fill("INVALID_ARGUMENT")]);
  expect(found.end).toEqual({ done: true });
}, 120_000);
