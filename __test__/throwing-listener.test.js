"use strict";
const { nodeScript } = require("./fixture/server-process");

// In a separate Node.js, because jest would treat the uncaught error as the test's.
test("an error in a callback or listener is uncaught, as any emitter's, and nothing that follows is lost", async () => {
  const script = nodeScript(`
    const errors = [];
    process.on("uncaughtException", (error) => errors.push(error.message));
    const vm = await AgentVm.create();
    let told = 0;
    const result = await vm.exec("seq 100000", { onStdout: (data) => { told += data.length; throw new Error("callback"); } });
    let heard = 0;
    vm.on("processOutput", ({ data }) => { heard += data.length; throw new Error("listener"); });
    vm.on("processExit", () => { throw new Error("exit listener"); });
    const { pid } = await vm.spawn("seq", ["100000"]);
    const code = await vm.waitProcess(pid);
    vm.on("exit", () => { throw new Error("last"); });
    await vm.dispose();
    await new Promise(setImmediate);
    console.log(JSON.stringify({ kept: result.stdout.length, told, heard, code, errors: [...new Set(errors)] }));`);
  const { stdout, stderr, code } = await script.ended;
  expect({ stderr, code }).toEqual({ stderr: "", code: 0 });
  const bytes = 588895;
  expect(JSON.parse(stdout)).toEqual({
    kept: bytes,
    told: bytes,
    heard: bytes,
    code: 0,
    errors: ["callback", "listener", "exit listener", "last"],
  });
});

test("a listener of portOpened that throws does not lose the other ports", async () => {
  const script = nodeScript(`
    let errors = 0;
    process.on("uncaughtException", () => errors++);
    const vm = await AgentVm.create();
    const server = "import socket; held = [socket.create_server(('', 3000 + n)) for n in range(20)]; print('up', flush=True); input()";
    const { pid } = await vm.spawn("python3", ["-c", server]);
    await vm.waitForOutput(pid, "up");
    const opened = [];
    const closed = [];
    vm.on("portOpened", ({ port }) => { opened.push(port); throw new Error("opened"); });
    vm.on("portClosed", ({ port }) => { closed.push(port); throw new Error("closed"); });
    while (opened.length < 20) await new Promise(setImmediate);
    await vm.killProcess(pid);
    while (closed.length < 20) await new Promise(setImmediate);
    await vm.dispose();
    console.log(JSON.stringify([new Set(opened).size, new Set(closed).size, errors]));`);
  const { stdout, code } = await script.ended;
  expect({ stdout, code }).toEqual({ stdout: "[20,20,40]", code: 0 });
});

test("without a handler it ends Node.js, with the error's message", async () => {
  const { ended } = nodeScript(`
    const vm = await AgentVm.create();
    await vm.exec("echo x; sleep 1000", { onStdout: () => { throw new Error("of the callback"); } });`);
  expect(await ended).toMatchObject({ code: 1, stderr: expect.stringContaining("of the callback") });
});
