"use strict";
const fs = require("node:fs");
const { descendants, running } = require("../fixture/processes");
const { rejection, until } = require("../fixture/promises");
const { nodeScript } = require("../fixture/server-process");
const { boot, output } = require("../fixture/vm");
const { AgentVm } = require("../..");

// Two in the background, one of them with a directory that its owner may not search; a process, and a shell.
const busy = `
  await vm.exec("mkdir closed && touch closed/file && chmod 0 closed; sleep 1000 & setsid -f sh -c 'trap \\"\\" HUP TERM; sleep 1000'");
  await vm.spawn("sleep", ["1000"]);
  await vm.openShell();`;

test("dispose ends all of it and removes its files", async () => {
  const before = new Set(descendants(process.pid).map(({ pid }) => pid));
  const vm = await AgentVm.create({ isolation: "landlock" });
  expect(vm.isolation).toBe("landlock");
  const home = (await output(vm, "pwd")).trim();
  await vm.exec("mkdir closed && touch closed/file && chmod 0 closed; sleep 1000 & setsid -f sleep 1000");
  await vm.spawn("sleep", ["1000"]);
  const processes = descendants(process.pid).filter(({ pid }) => !before.has(pid));
  // Init, its deputy and three programs.
  expect(processes.length).toBeGreaterThanOrEqual(5);
  await vm.dispose();
  await until(() => running(processes).length === 0);
  expect(fs.existsSync(home)).toBe(false);
  expect(fs.existsSync(`${home}/..`)).toBe(false);
  expect((await rejection(vm.exec("true"))).code).toBe("VM_DISPOSED");
});

test("SIGKILL of the server ends all of it and leaves no file", async () => {
  const server = nodeScript(`
    const vm = await AgentVm.create({ isolation: "landlock" });
    ${busy}
    console.log((await vm.exec("pwd")).stdout.trim());
    setInterval(() => {}, 1000);`);
  const home = await server.line();
  const processes = descendants(server.child.pid);
  expect(processes.length).toBeGreaterThanOrEqual(6);
  server.child.kill("SIGKILL");
  await server.ended;
  await until(() => running(processes).length === 0);
  await until(() => !fs.existsSync(home));
});

test("SIGKILL of init ends all of it, and the VM has died", async () => {
  const before = new Set(descendants(process.pid).map(({ pid }) => pid));
  const vm = await boot({ isolation: "landlock" });
  const reasons = [];
  vm.on("exit", ({ reason }) => reasons.push(reason));
  const home = (await output(vm, "pwd")).trim();
  await vm.exec("sleep 1000 & setsid -f sh -c 'trap \"\" HUP TERM; sleep 1000'");
  await vm.spawn("sleep", ["1000"]);
  const processes = descendants(process.pid).filter(({ pid }) => !before.has(pid));
  process.kill(processes.find(({ ppid }) => ppid === process.pid).pid, "SIGKILL");
  await until(() => running(processes).length === 0);
  await until(() => reasons.length > 0);
  expect(reasons).toEqual(["died"]);
  await until(() => !fs.existsSync(home));
});
