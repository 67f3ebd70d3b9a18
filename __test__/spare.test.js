"use strict";
const { descendants, running } = require("./host-processes");
const { nodeScript } = require("./node-script");
const { until } = require("./fixture");

const spares = (pid) => descendants(pid, { spares: true }).filter(({ name }) => name === "agent-vm-spare");

test("an init is started ahead for the next VM, which takes it", async () => {
  const server = nodeScript(`
    const { descendants } = require(${JSON.stringify(require.resolve("./host-processes"))});
    const named = (wanted) => descendants(process.pid, { spares: true }).filter(({ name }) => name === wanted);
    await AgentVm.create();
    let spare;
    while (!([spare] = named("agent-vm-spare"), spare)) await new Promise(setImmediate);
    await AgentVm.create();
    console.log(named("agent-vm-init").some(({ pid }) => pid === spare.pid));
    process.exit();`);
  expect(await server.line()).toBe("true");
});

test("it goes when no VM is made for a while, and with the server, however that ends", async () => {
  const server = nodeScript("await AgentVm.create(); setInterval(() => {}, 1000);");
  await until(() => spares(server.child.pid).length === 1);
  await until(() => spares(server.child.pid).length === 0);

  const other = nodeScript("await AgentVm.create(); setInterval(() => {}, 1000);");
  await until(() => spares(other.child.pid).length === 1);
  const left = descendants(other.child.pid, { spares: true });
  other.child.kill("SIGKILL");
  await until(() => running(left).length === 0);
  server.child.kill("SIGKILL");
  await Promise.all([server.ended, other.ended]);
});

test("boots at once share it and wait for nobody", async () => {
  const server = nodeScript(`
    for (let round = 0; round < 3; round++) {
      const vms = await Promise.all(Array.from({ length: 20 }, () => AgentVm.create()));
      const ids = await Promise.all(vms.map(async (vm) => (await vm.exec("readlink /proc/self/ns/pid")).stdout));
      console.log(new Set(ids).size);
      await Promise.all(vms.map((vm) => vm.dispose()));
    }`);
  const { stdout, stderr } = await server.ended;
  expect(stderr).toBe("");
  expect(stdout).toBe("20\n20\n20");
}, 60_000);
