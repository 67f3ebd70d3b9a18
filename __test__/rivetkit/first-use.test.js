"use strict";

const { startServer } = require("../fixture/rivetkit/servers");

let server;
beforeAll(async () => {
  server = await startServer();
});

test("ten first calls at once boot one VM", async () => {
  const { hosts, booted } = await server.evaluate(async ({ agent, until }) => {
    let booted = 0;
    agent.on("vmBooted", () => booted++);
    // Each leaves a file, which would be missing in another VM.
    await Promise.all(Array.from({ length: 10 }, (_, index) => agent.exec(`echo ${index} > ${index}`)));
    await until(() => booted > 0);
    return { hosts: (await agent.exec("ls | wc -l")).stdout, booted };
  });
  expect(hosts).toBe("10\n");
  expect(booted).toBe(1);
});

test("two actors never share a VM", async () => {
  const [ours, theirs] = await server.evaluate(async ({ client }) => {
    const agents = [client.vm.getOrCreate(["one"]), client.vm.getOrCreate(["other"])];
    await agents[0].exec("echo secret > /tmp/mine");
    return Promise.all(agents.map(async (agent) => (await agent.exec("ls /tmp")).stdout));
  });
  expect([ours, theirs]).toEqual(["mine\n", ""]);
});

test("forty actors have a VM each, and each answers", async () => {
  const answers = await server.evaluate(async ({ client }) => {
    const agents = Array.from({ length: 40 }, (_, index) => client.vm.getOrCreate([`many-${index}`]));
    // Five at a time, so as not to overload the engine; a running program keeps each VM.
    const each = async (call) => {
      const results = [];
      for (let from = 0; from < agents.length; from += 5) {
        const some = agents.slice(from, from + 5);
        results.push(...(await Promise.all(some.map((agent, index) => call(agent, from + index)))));
      }
      return results;
    };
    await each((agent, number) => agent.spawn("sh", ["-c", `test ! -e number && echo ${number} > number; sleep 600`]));
    return each(async (agent) => (await agent.exec("cat number; pidof sleep | wc -w")).stdout);
  });
  expect(answers).toEqual(Array.from({ length: 40 }, (_, index) => `${index}\n1\n`));
}, 180_000);
