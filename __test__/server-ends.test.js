"use strict";
const { descendants, running } = require("./fixture/processes");
const { until } = require("./fixture/promises");
const { nodeScript } = require("./fixture/server-process");

// A VM with a command under way, one in the background that left its session, a spawned process and a shell.
const busyVm = `
  const vm = await AgentVm.create();
  await vm.exec("sleep 1000 & setsid -f sh -c 'trap \\"\\" HUP TERM; sleep 1000'");
  await vm.spawn("sleep", ["1000"]);
  await vm.openShell();
  vm.exec("sleep 1000").catch(() => {});
  while ((await vm.allProcesses()).length < 6) await new Promise((resolve) => setTimeout(resolve, 10));
  console.log("ready");`;

/** Runs a server with a busy VM, ends it, and sees the VM's processes go within a second. */
async function endsWithItsServer(source, end) {
  // Its handlers first: it is ended as soon as it says that it is ready.
  const server = nodeScript(source + busyVm);
  await server.line();
  const processes = descendants(server.child.pid);
  // Init, six processes inside.
  expect(processes.length).toBeGreaterThanOrEqual(7);
  end(server.child);
  const ended = await server.ended;
  const left = () => running(processes).length === 0;
  await until(left, 1);
  return ended;
}

test("SIGKILL of the server leaves no process of the VM within a second", async () => {
  expect(await endsWithItsServer("", (child) => child.kill("SIGKILL"))).toMatchObject({ signal: "SIGKILL" });
});

test.each(["SIGTERM", "SIGINT", "SIGHUP", "SIGSEGV", "SIGABRT"])("%s leaves none", async (signal) => {
  expect(await endsWithItsServer("", (child) => child.kill(signal))).toMatchObject({ signal });
});

test("process.exit leaves none, and its code is kept", async () => {
  const end = `process.on("SIGUSR2", () => process.exit(7));`;
  expect(await endsWithItsServer(end, (child) => child.kill("SIGUSR2"))).toMatchObject({ code: 7, signal: null });
});

test("an uncaught error leaves none", async () => {
  const end = `process.on("SIGUSR2", () => { throw new Error("uncaught"); });`;
  const ended = await endsWithItsServer(end, (child) => child.kill("SIGUSR2"));
  expect(ended).toMatchObject({ code: 1, stderr: expect.stringContaining("uncaught") });
});

test("process.abort leaves none", async () => {
  const end = `process.on("SIGUSR2", () => process.abort());`;
  expect(await endsWithItsServer(end, (child) => child.kill("SIGUSR2"))).toMatchObject({ signal: "SIGABRT" });
});

test("a server that is killed while VMs boot leaves none", async () => {
  for (let i = 0; i < 5; i++) {
    const server = nodeScript(`
      console.log("ready");
      for (;;) await Promise.all([1, 2, 3, 4].map(async () => (await AgentVm.create()).exec("sleep 1000 & sleep 0.01")));`);
    await server.line();
    await until(() => descendants(server.child.pid).length > 2 * i);
    // Stopped, so that nothing starts between the look and the kill.
    server.child.kill("SIGSTOP");
    const processes = descendants(server.child.pid);
    server.child.kill("SIGKILL");
    await server.ended;
    await until(() => running(processes).length === 0);
  }
});
