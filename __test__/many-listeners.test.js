"use strict";
const { nodeScript } = require("./fixture/server-process");

/** The JSON that `source` prints, and Node.js's standard error, where it warns of leaks. */
async function run(source) {
  const { code, stdout, stderr } = await nodeScript(source).ended;
  return { code, stderr, value: JSON.parse(stdout || "null") };
}

test("many calls on one AbortSignal cause no warning, are all aborted, and leave no listener", async () => {
  const outcome = await run(`
    const { getEventListeners } = require("node:events");
    const vm = await AgentVm.create();
    const controller = new AbortController();
    const { signal } = controller;
    const execs = Array.from({ length: 20 }, () => vm.exec("sleep 1000", { signal }));
    const fetches = Promise.allSettled(Array.from({ length: 20 }, () => vm.fetch(8000, "/", { signal })));
    const spawned = await Promise.all(Array.from({ length: 20 }, () => vm.spawn("sleep", ["1000"], { signal })));
    controller.abort();
    const outcomes = (await Promise.allSettled(execs)).map(({ reason }) => reason.code);
    for (const { pid } of spawned) outcomes.push(await vm.waitProcess(pid));
    await fetches;
    console.log(JSON.stringify({ outcomes, after: getEventListeners(signal, "abort").length }));
    await vm.dispose();`);
  const outcomes = [...Array(20).fill("ABORTED"), ...Array(20).fill(137)];
  expect(outcome).toEqual({ code: 0, stderr: "", value: { outcomes, after: 0 } });
});

test("many responses that are awaited, and read, on one AbortSignal cause no warning and leave no listener", async () => {
  const outcome = await run(`
    const { getEventListeners } = require("node:events");
    const vm = await AgentVm.create();
    const server = \`
      const send = (response) => { response.write("first "); setTimeout(() => response.end("last"), 500); };
      require("node:http").createServer((_, response) => setTimeout(send, 500, response)).listen(8000, () => console.log("up"));\`;
    await new Promise((resolve) => vm.spawn("node", ["-e", server], { onStdout: resolve }));
    const { signal } = new AbortController();
    const responses = await Promise.all(Array.from({ length: 20 }, () => vm.fetch(8000, "/", { signal })));
    const listeners = getEventListeners(signal, "abort").length;
    const texts = await Promise.all(responses.map((response) => response.text()));
    console.log(JSON.stringify({ texts: [...new Set(texts)], listeners, after: getEventListeners(signal, "abort").length }));
    await vm.dispose();`);
  expect(outcome).toEqual({ code: 0, stderr: "", value: { texts: ["first last"], listeners: 1, after: 0 } });
});

test("many listeners on one VM cause no warning", async () => {
  const outcome = await run(`
    const vm = await AgentVm.create();
    for (let index = 0; index < 50; index++) vm.on("processOutput", () => {});
    console.log(vm.listenerCount("processOutput"));
    await vm.dispose();`);
  expect(outcome).toEqual({ code: 0, stderr: "", value: 50 });
});
