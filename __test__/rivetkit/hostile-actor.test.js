"use strict";

const { startServer } = require("../fixture/rivetkit/servers");

test("a client refuses at once an answer that our actors never give, at no cost", async () => {
  const server = await startServer({ script: "hostile-server.mjs" });
  const { seen, honest, cost } = await server.evaluate(async ({ client, failure }) => {
    const before = process.memoryUsage().rss;
    const seen = {};
    for (const key of [
      "more than there may be",
      "no number",
      "a piece too short",
      "a piece too long",
      "a piece that is no text",
      "bytes named many times",
    ]) {
      seen[key] = (await failure(client.vm.getOrCreate([key]).exec("true"))).code;
    }
    const cost = process.memoryUsage().rss - before;
    return { seen, cost, honest: (await client.vm.getOrCreate(["honest"]).exec("true")).length };
  });
  expect(honest).toBe(256 * 1024);
  expect(Object.entries(seen).filter(([, code]) => code !== "malformed_response")).toEqual([]);
  expect(cost).toBeLessThan(100_000_000);
}, 120_000);
