"use strict";
// Contexts where the VM shares the host's processes and files.
const { context } = require("../fixture/contexts");
const { atLevel, boot } = require("../fixture/vm");

atLevel("landlock");

test("a context keeps its state, its jobs and its ends", async () => {
  const vm = await boot();
  const run = await context(vm, { env: { EXPORTED: "x" } });
  await run("mkdir deep; cd deep; plain=1");
  expect(await run("basename $PWD; echo $EXPORTED $plain; printf '\\0S7\\0' >&10; sleep 0.2; echo late")).toMatchObject(
    {
      stdout: "deep\nx 1\nlate\n",
      exitCode: 0,
    },
  );
  expect((await run("(sleep 0.1; echo late) & sleep 1001 & echo now")).stdout).toBe("now\n");
  expect((await run("sleep 0.3; echo next")).stdout).toBe("next\n");
  const ended = await run("setsid sleep 1002 & sleep 1003; echo never", { timeout: 500 });
  expect(ended).toMatchObject({ timedOut: true, stdout: "", contextRestarted: false });
  const left = (await vm.allProcesses()).filter(({ command }) => command === "sleep");
  expect(left.map(({ args }) => args)).toEqual([["1001"]]);
  expect(await run("exit 3")).toMatchObject({ exitCode: 3, contextRestarted: true });
  expect((await run("basename $PWD; echo $EXPORTED [$plain]")).stdout).toBe("deep\nx []\n");
  await vm.deleteContext(run.id);
  expect(await vm.allProcesses()).toEqual([]);
});
