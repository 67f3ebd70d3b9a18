"use strict";
const fs = require("node:fs");
const { descendants, isHelper } = require("./fixture/processes");
const { until } = require("./fixture/promises");
const { shellsOf } = require("./fixture/shells");
const { bootForFile } = require("./fixture/vm");

const descriptors = () => fs.readdirSync("/proc/self/fd").length;
const AT_A_TIME = 125;

test("a thousand shells, opened and closed, leave no descriptor and no process", async () => {
  const vm = await bootForFile({ limits: { terminals: 256 } });
  const shells = shellsOf(vm);
  // Descriptors that are opened once and stay open are open from here on.
  await (await shells.open({ command: "sh" })).close();
  await until(async () => (await vm.allProcesses()).length === 0);
  const before = { descriptors: descriptors(), pids: new Set(descendants(process.pid).map(({ pid }) => pid)) };
  const init = await vm.exec("ls /dev/pts");
  for (let opened = 0; opened < 1000; opened += AT_A_TIME) {
    const crowd = await Promise.all(
      Array.from({ length: AT_A_TIME }, (_, i) =>
        shells.open({ command: "sh", args: i % 3 ? [] : ["-c", "sleep 1000 & cat"] }),
      ),
    );
    expect(vm.activeCount).toBe(AT_A_TIME);
    await Promise.all(
      crowd.map(async (shell, i) => {
        // Some are closed while they start, some exit by themselves, some are closed while they run.
        if (i % 3 === 1) return shell.write("exit\n").then(() => shell.wait());
        if (i % 3 === 2) await shell.shows("$ ");
        return shell.close();
      }),
    );
    expect(crowd.every((shell) => shell.exit !== null && shell.events.at(-1) === "exit")).toBe(true);
  }
  expect(vm.activeCount).toBe(0);
  expect(await vm.allProcesses()).toEqual([]);
  const left = () => descendants(process.pid).filter((each) => !before.pids.has(each.pid) && !isHelper(each));
  await until(() => left().length === 0);
  await until(() => descriptors() <= before.descriptors);
  expect((await vm.exec("ls /dev/pts")).stdout).toBe(init.stdout);
  expect((await vm.listShells()).length).toBe(1001);
}, 120_000);

test("the last 1,024 that have exited are remembered", async () => {
  const vm = await bootForFile({ limits: { terminals: 256 } });
  const shells = shellsOf(vm);
  const opened = [];
  for (let round = 0; round < 11; round++) {
    const crowd = await Promise.all(Array.from({ length: 94 }, () => shells.open({ command: "true" })));
    await Promise.all(crowd.map((shell) => shell.wait()));
    opened.push(...crowd);
  }
  const known = new Set((await vm.listShells()).map(({ shellId }) => shellId));
  expect(known.size).toBe(1024);
  expect(opened.slice(-930).every(({ id }) => known.has(id))).toBe(true);
  const [forgotten] = opened.filter(({ id }) => !known.has(id));
  await expect(vm.readShell(forgotten.id)).rejects.toMatchObject({ code: "SHELL_NOT_FOUND" });
  await expect(vm.closeShell(forgotten.id)).rejects.toMatchObject({ code: "SHELL_NOT_FOUND" });
});
