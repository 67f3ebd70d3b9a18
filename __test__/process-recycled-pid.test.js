"use strict";
const { execFileSync } = require("node:child_process");
const os = require("node:os");
const { withInit } = require("./fixture/processes");
const { until } = require("./fixture/promises");
const { record } = require("./fixture/record");
const { bootForFile } = require("./fixture/vm");

/**
 * A pid namespace has millions of pids, and reuses the first one only after all of them. From Linux 6.14 on, a
 * namespace can have fewer, which the host's root can set; before that, the setting is for the whole machine.
 */
function fewNumbers(init) {
  execFileSync("nsenter", ["--target", String(init), "--pid", "sh", "-c", "echo 340 > /proc/sys/kernel/pid_max"]);
}

const [major, minor] = os.release().split(".").map(Number);
const rootMay = process.getuid() === 0 && (major > 6 || (major === 6 && minor >= 14));

test("pids of exited processes are not used again soon", async () => {
  const vm = await bootForFile();
  const seen = new Set();
  for (let i = 0; i < 200; i++) {
    const { pid } = await vm.spawn("true");
    await vm.waitProcess(pid);
    seen.add(pid);
  }
  expect(seen.size).toBe(200);
});

if (rootMay) {
  test("a pid that is used again names the newest spawned process with it; calls on the old record affect no other process", async () => {
    const { vm, init } = await withInit(bootForFile);
    fewNumbers(init.pid);
    // The first 300 pids are used only once.
    await vm.exec("i=0; while [ $i -lt 340 ]; do /bin/true & wait; i=$((i+1)); done");
    const left =
      "while [ ! -e /tmp/go ]; do sleep 0.05; done; echo of the old one; touch /tmp/written; exec sleep 1002";
    const old = await vm.spawn("sh", ["-c", `setsid sh -c '${left}' & exit 3`]);
    expect(await vm.waitProcess(old.pid)).toBe(3);
    const running = async (seconds) =>
      (await vm.allProcesses()).find(({ command, args }) => command === "sleep" && args[0] === String(seconds));

    // A process that spawn did not start now has the pid.
    await vm.exec(`while :; do sleep 1001 & [ $! = ${old.pid} ] && exit; kill $!; wait $!; done; echo never`);
    expect((await running(1001)).pid).toBe(old.pid);
    await vm.stopProcess(old.pid);
    await vm.signalProcess(old.pid, "SIGKILL");
    expect(await vm.getProcess(old.pid)).toMatchObject({ command: "sh", running: false, exitCode: 3 });
    expect(await vm.waitProcess(old.pid)).toBe(3);
    expect((await running(1001)).pid).toBe(old.pid);
    await vm.exec(`kill ${old.pid}`);
    await until(async () => (await running(1001)) === undefined);

    // And then a process that spawn started.
    const recorded = record(vm);
    let newest;
    for (let i = 0; newest?.pid !== old.pid; i++) {
      expect(i).toBeLessThan(200);
      if (newest) await vm.killProcess(newest.pid);
      newest = await vm.spawn("cat");
    }
    recorded.events.length = 0;
    expect(await vm.getProcess(old.pid)).toMatchObject({ command: "cat", running: true, exitCode: null });
    await vm.writeProcessStdin(newest.pid, "of the new one\n");
    await vm.exec("touch /tmp/go; until [ -e /tmp/written ]; do sleep 0.02; done");
    await until(() => recorded.text(newest.pid) === "of the new one\n");
    await until(async () => running(1002));
    // The old process's later output was read, but not emitted under a pid that another process has.
    await vm.exec("true");
    expect(recorded.text(newest.pid)).toBe("of the new one\n");
    const { chunks } = await vm.readProcessOutput(newest.pid);
    expect(String(Buffer.concat(chunks.map(({ data }) => data)))).toBe("of the new one\n");
    // A handle stays that of its own process.
    await old.kill("SIGKILL");
    expect((await old.exited).exitCode).toBe(3);
    expect(await vm.getProcess(newest.pid)).toMatchObject({ command: "cat", running: true });
    (await vm.getHandle(newest.pid)).stdin.write("and more\n");
    await until(() => recorded.text(newest.pid).endsWith("and more\n"));
    await vm.killProcess(newest.pid);
    expect(await vm.waitProcess(newest.pid)).toBe(137);
    expect(await running(1002)).toBeDefined();
    await old.kill();
    expect(await running(1002)).toBeUndefined();
  });

  test("a process with the pid of a forgotten process keeps its callbacks", async () => {
    const { vm, init } = await withInit(bootForFile);
    fewNumbers(init.pid);
    await vm.exec("i=0; while [ $i -lt 340 ]; do /bin/true & wait; i=$((i+1)); done");
    const used = new Set();
    const end = async () => {
      const { pid } = await vm.spawn("true");
      used.add(pid);
      await vm.waitProcess(pid);
    };
    while (used.size < 10) await end();
    let received = "";
    let running;
    for (let i = 0; running === undefined; i++) {
      expect(i).toBeLessThan(200);
      const { pid } = await vm.spawn("cat", [], { onStdout: (data) => (received += data) });
      if (used.has(pid)) running = pid;
      else await vm.killProcess(pid);
    }
    // As many as are remembered, and the earlier ones.
    for (let i = 0; i < 1300; i++) await end();
    await vm.writeProcessStdin(running, "received");
    await until(() => received === "received");
  });
}
