"use strict";
const { descendants, running } = require("./fixture/processes");
const { until } = require("./fixture/promises");
const { nodeScript } = require("./fixture/server-process");

// A VM with a running command, a background process in another session, a spawned process and a shell.
const busyVm = `
  const vm = await AgentVm.create();
  await vm.exec("sleep 1000 & setsid -f sh -c 'trap \\"\\" HUP TERM; sleep 1000'");
  await vm.spawn("sleep", ["1000"]);
  await vm.openShell();
  vm.exec("sleep 1000").catch(() => {});
  while ((await vm.allProcesses()).length < 6) await new Promise((resolve) => setTimeout(resolve, 10));
  console.log("ready");`;

/** Runs a server with a busy VM, ends the server, and waits until every process of the VM has ended. */
async function endsWithItsServer(source, end) {
  // The handlers are installed first: the server is ended as soon as it reports that it is ready.
  const server = nodeScript(source + busyVm);
  await server.line();
  const processes = descendants(server.child.pid);
  // Init and six other processes.
  expect(processes.length).toBeGreaterThanOrEqual(7);
  end(server.child);
  const ended = await server.ended;
  await until(() => running(processes).length === 0);
  return ended;
}

test("killing the server kills every process of its VMs", async () => {
  expect(await endsWithItsServer("", (child) => child.kill("SIGKILL"))).toMatchObject({ signal: "SIGKILL" });
});

test.each(["SIGTERM", "SIGINT", "SIGHUP", "SIGSEGV", "SIGABRT"])(
  "%s to the server ends every process of its VMs",
  async (signal) => {
    expect(await endsWithItsServer("", (child) => child.kill(signal))).toMatchObject({ signal });
  },
);

test("process.exit ends every process of the VMs and keeps its exit code", async () => {
  const end = `process.on("SIGUSR2", () => process.exit(7));`;
  expect(await endsWithItsServer(end, (child) => child.kill("SIGUSR2"))).toMatchObject({ code: 7, signal: null });
});

test("an uncaught error ends every process of the VMs", async () => {
  const end = `process.on("SIGUSR2", () => { throw new Error("uncaught"); });`;
  const ended = await endsWithItsServer(end, (child) => child.kill("SIGUSR2"));
  expect(ended).toMatchObject({ code: 1, stderr: expect.stringContaining("uncaught") });
});

test("process.abort ends every process of the VMs", async () => {
  const end = `process.on("SIGUSR2", () => process.abort());`;
  expect(await endsWithItsServer(end, (child) => child.kill("SIGUSR2"))).toMatchObject({ signal: "SIGABRT" });
});

test("killing a server while its VMs boot kills every process of them", async () => {
  for (let i = 0; i < 5; i++) {
    const server = nodeScript(`
      console.log("ready");
      for (;;) await Promise.all([1, 2, 3, 4].map(async () => (await AgentVm.create()).exec("sleep 1000 & sleep 0.01")));`);
    await server.line();
    await until(() => descendants(server.child.pid).length > 2 * i);
    // Stopped, so that nothing starts between the listing and the kill.
    server.child.kill("SIGSTOP");
    const processes = descendants(server.child.pid);
    server.child.kill("SIGKILL");
    await server.ended;
    await until(() => running(processes).length === 0);
  }
});
