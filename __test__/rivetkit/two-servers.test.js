"use strict";

const { joinEngine, startServer } = require("../fixture/rivetkit/servers");

test("actors spread over two servers of one engine, and the one takes over what the other leaves", async () => {
  const first = await startServer();
  await first.evaluate(({ agent }) => agent.exec("true"));
  const second = joinEngine(first);

  const run = first.evaluate(async ({ client, failure, pause, sleep }) => {
    const agents = Array.from({ length: 20 }, (_, index) => client.vm.getOrCreate([`spread-${index}`]));
    const exec = (agent) => agent.exec("echo here").then(({ stdout }) => stdout);
    // A call that an actor got while it was on its way is not made twice: whoever may have it made again says so.
    const ask = (agent) =>
      exec(agent).catch((error) => (error.code === "VM_DISPOSED" ? exec(agent) : Promise.reject(error)));
    // The engine takes a moment to know a server that joins.
    await sleep(3000);
    const before = await Promise.all(agents.map(ask));
    await pause("spread");
    const after = await Promise.all(agents.map(ask));
    return { before, after, lost: await failure(agents[0].getProcess(4711)) };
  });
  await run.reached("spread");
  const woken = (server) => server.lines.filter((line) => line.startsWith("actor: wake spread-")).length;
  const spread = [woken(first), woken(second)];
  expect(spread[0]).toBeGreaterThan(0);
  expect(spread[1]).toBeGreaterThan(0);

  await second.kill("SIGKILL");
  run.go("spread");
  const { before, after, lost } = await run;
  expect(before).toEqual(Array.from({ length: 20 }, () => "here\n"));
  expect(after).toEqual(before);
  expect(lost.code).toBe("PROCESS_NOT_FOUND");
  expect(woken(first)).toBe(20);
}, 300_000);
