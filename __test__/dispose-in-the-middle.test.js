"use strict";
const { descendants, running, withInit } = require("./fixture/processes");
const { until } = require("./fixture/promises");
const { boot } = require("./fixture/vm");

/** Starts every kind of call, each of which is still running when the VM ends. */
async function everything(vm) {
  const { pid } = await vm.spawn("cat");
  const { pid: sleeper } = await vm.spawn("sh", ["-c", "sleep 1000 & sleep 1000"]);
  const { shellId } = await vm.openShell();
  await vm.writeFile("/tmp/tree/a/b", "x");
  const large = new Uint8Array(8 * 2 ** 20);
  return [
    vm.exec("yes"),
    vm.exec("sleep 1000", { timeout: 5 }),
    vm.exec("cat", { stdin: large }),
    vm.spawn("sleep", ["1000"]),
    vm.waitProcess(pid),
    vm.writeProcessStdin(pid, large),
    vm.writeProcessStdin(sleeper, large),
    vm.killProcess(sleeper),
    vm.signalProcess(pid, "SIGCONT"),
    vm.allProcesses(),
    vm.openShell({ command: "cat" }),
    vm.writeShell(shellId, "yes\n"),
    vm.closeShell(shellId),
    vm.waitShell(shellId),
    vm.writeFile("/tmp/large", large),
    vm.readFile("/tmp/tree/a/b"),
    vm.readdirRecursive("/usr/share"),
    vm.move("/tmp/tree", "/tmp/moved"),
    vm.delete("/tmp/moved", { recursive: true }),
    vm.connect(1),
  ];
}

test("a VM that ends in the middle of all kinds of calls settles every call once, and leaves no process", async () => {
  for (let round = 0; round < 12; round++) {
    const { vm, init } = await withInit(boot);
    const exits = [];
    vm.on("exit", ({ reason }) => exits.push(reason));
    const calls = await everything(vm);
    const settled = Promise.all(
      calls.map((call) =>
        call.then(
          () => "done",
          ({ code }) => code,
        ),
      ),
    );
    await new Promise((resolve) => {
      setTimeout(resolve, round * 3);
    });
    const processes = [init, ...descendants(init.pid)];
    await vm.dispose();
    // ENOENT and ECONNREFUSED are results from before the end; STDIN_CLOSED is for a process that its own call has
    // killed.
    const answers = new Set(["done", "VM_DISPOSED", "ENOENT", "ECONNREFUSED", "STDIN_CLOSED", "SHELL_NOT_FOUND"]);
    expect((await settled).filter((answer) => !answers.has(answer))).toEqual([]);
    expect(exits).toEqual(["disposed"]);
    expect(vm.activeCount).toBe(0);
    await until(() => running(processes).length === 0);
  }
});
