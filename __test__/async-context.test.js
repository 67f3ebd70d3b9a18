"use strict";
const { AsyncLocalStorage } = require("node:async_hooks");
const { boot } = require("./fixture/vm");

const requests = new AsyncLocalStorage();

test("onStdout and onStderr run in the context of the call that they were given to", async () => {
  const vm = await boot();
  const seen = [];
  const callbacks = (call) => ({
    onStdout: () => seen.push(`${call} stdout ${requests.getStore()}`),
    onStderr: () => seen.push(`${call} stderr ${requests.getStore()}`),
  });
  const command = "echo out; echo error >&2";
  await Promise.all(
    ["a", "b"].map((request) =>
      requests.run(request, async () => {
        await vm.exec(command, callbacks(`exec ${request}`));
        const { pid } = await vm.spawn("sh", ["-c", command], callbacks(`spawn ${request}`));
        await vm.waitProcess(pid);
        expect(requests.getStore()).toBe(request);
      }),
    ),
  );
  const expected = ["a", "b"].flatMap((request) =>
    ["exec", "spawn"].flatMap((call) =>
      ["stdout", "stderr"].map((stream) => `${call} ${request} ${stream} ${request}`),
    ),
  );
  expect(seen.sort()).toEqual(expected.sort());
});

test("listeners run in the context of the spawn or openShell that the event is about", async () => {
  const vm = await boot();
  const seen = new Set();
  for (const event of ["processOutput", "processExit", "shellData", "shellExit"]) {
    vm.on(event, ({ pid, shellId }) => seen.add(`${event} ${pid ?? shellId} ${requests.getStore()}`));
  }
  const expected = new Set();
  for (const request of ["a", "b"]) {
    await requests.run(request, async () => {
      const { pid } = await vm.spawn("echo", ["output"]);
      const { shellId } = await vm.openShell({ command: "echo", args: ["output"] });
      await vm.waitProcess(pid);
      await vm.waitShell(shellId);
      for (const event of ["processOutput", "processExit"]) expected.add(`${event} ${pid} ${request}`);
      for (const event of ["shellData", "shellExit"]) expected.add(`${event} ${shellId} ${request}`);
    });
  }
  expect(seen).toEqual(expected);
});
