"use strict";

const { until } = require("../fixture/promises");
const { joinEngine, startServer } = require("../fixture/rivetkit/servers");

test("actors spread over two servers of one engine, and one server takes over the actors of a killed one", async () => {
  const first = await startServer();
  await first.evaluate(({ agent }) => agent.exec("true"));
  const second = joinEngine(first);

  const run = first.evaluate(async ({ client, failure, pause }) => {
    const exec = (agent) => agent.exec("echo here").then(({ stdout }) => stdout);
    // A call that an actor may have received before it moved is not repeated automatically: the caller decides, and
    // here repeats it.
    const ask = (agent) =>
      exec(agent).catch((error) => (error.code === "VM_DISPOSED" ? exec(agent) : Promise.reject(error)));
    const agents = [];
    const before = [];
    let enough = false;
    void pause("spreading").then(() => (enough = true));
    while (!enough) {
      agents.push(client.vm.getOrCreate([`spread-${agents.length}`]));
      before.push(await ask(agents.at(-1)));
    }
    await pause("spread");
    const after = await Promise.all(agents.map(ask));
    return { before, after, lost: await failure(agents[0].getProcess(4711)) };
  });
  await run.reached("spreading");
  const woken = (server) => new Set(server.lines.filter((line) => line.startsWith("actor: wake spread-")));
  // The engine needs a while to notice a server that joins.
  await until(() => woken(first).size > 1 && woken(second).size > 1, 120);
  run.go("spreading");
  await run.reached("spread");

  await second.kill("SIGKILL");
  run.go("spread");
  const { before, after, lost } = await run;
  expect(before).toEqual(before.map(() => "here\n"));
  expect(after).toEqual(before);
  expect(lost.code).toBe("PROCESS_NOT_FOUND");
  expect(woken(first).size).toBe(before.length);
}, 300_000);
