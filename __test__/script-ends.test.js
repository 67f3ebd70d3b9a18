"use strict";
const { nodeScript } = require("./fixture/server-process");

test("a script that is done exits by itself, whether it disposed its VM or not", async () => {
  const disposed = nodeScript(
    `const vm = await AgentVm.create(); await vm.exec("true"); await vm.dispose(); console.log("done");`,
  );
  expect(await disposed.ended).toEqual({ code: 0, signal: null, stdout: "done", stderr: "" });
  const kept = nodeScript(
    `globalThis.vm = await AgentVm.create(); await vm.exec("sleep 1000 &"); console.log("done");`,
  );
  expect(await kept.ended).toEqual({ code: 0, signal: null, stdout: "done", stderr: "" });
});

test("a script with an exec under way waits for it", async () => {
  const script = nodeScript(`
    const vm = await AgentVm.create();
    vm.exec("sleep 0.5; echo came").then(({ stdout }) => process.stdout.write(stdout));`);
  expect(await script.ended).toMatchObject({ code: 0, stdout: "came" });
});

test("a script with a process that runs waits for its end", async () => {
  const script = nodeScript(`
    const vm = await AgentVm.create();
    vm.on("processExit", ({ exitCode }) => console.log(exitCode));
    await vm.spawn("sh", ["-c", "sleep 0.5; exit 5"]);`);
  expect(await script.ended).toMatchObject({ code: 0, stdout: "5" });
});

test("a script that waits for boot, dispose or doctor alone gets its answer", async () => {
  const script = nodeScript(`
    AgentVm.doctor().then(({ level }) => console.log(level));
    AgentVm.create().then((vm) => vm.dispose()).then(() => console.log("disposed"));`);
  const { code, stdout } = await script.ended;
  expect({ code, lines: stdout.split("\n").sort() }).toEqual({ code: 0, lines: ["disposed", "namespaces"] });
});
