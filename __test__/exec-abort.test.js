"use strict";
const { rejection, until } = require("./fixture/promises");
const { boot, output } = require("./fixture/vm");
const { AgentVmError } = require("..");

test("an abort rejects with ABORTED and leaves no process", async () => {
  const vm = await boot();
  const controller = new AbortController();
  const pending = rejection(vm.exec("sleep 1000 & setsid sleep 1000 & sleep 1000", { signal: controller.signal }));
  await until(async () => (await vm.allProcesses()).length >= 3);
  controller.abort();
  const error = await pending;
  expect(error).toBeInstanceOf(AgentVmError);
  expect(error.code).toBe("ABORTED");
  expect(await vm.allProcesses()).toEqual([]);
});

test("an already aborted signal starts nothing", async () => {
  const vm = await boot();
  expect(await rejection(vm.exec("touch started", { signal: AbortSignal.abort() }))).toMatchObject({ code: "ABORTED" });
  expect(await output(vm, "ls")).toBe("");
});

test("an abort right after the call leaves nothing behind either", async () => {
  const vm = await boot();
  for (let i = 0; i < 20; i++) {
    const controller = new AbortController();
    const pending = rejection(vm.exec("sleep 1000", { signal: controller.signal }));
    if (i % 2) await new Promise(setImmediate);
    controller.abort();
    expect((await pending).code).toBe("ABORTED");
  }
  expect(await vm.allProcesses()).toEqual([]);
});

test("an abort after the end does nothing", async () => {
  const vm = await boot();
  const controller = new AbortController();
  expect(await output(vm, "echo done", { signal: controller.signal })).toBe("done\n");
  controller.abort();
  expect(await output(vm, "echo on")).toBe("on\n");
});

test("AbortSignal.timeout aborts too", async () => {
  const vm = await boot();
  expect(await rejection(vm.exec("sleep 1000", { signal: AbortSignal.timeout(50) }))).toMatchObject({
    code: "ABORTED",
  });
});

test("one signal ends many commands, and no listener stays on it", async () => {
  const vm = await boot();
  const { getEventListeners } = require("node:events");
  const controller = new AbortController();
  await output(vm, "true", { signal: controller.signal });
  expect(getEventListeners(controller.signal, "abort")).toHaveLength(0);
  const pending = Array.from({ length: 10 }, () => rejection(vm.exec("sleep 1000", { signal: controller.signal })));
  controller.abort();
  expect((await Promise.all(pending)).map(({ code }) => code)).toEqual(Array(10).fill("ABORTED"));
  expect(await vm.allProcesses()).toEqual([]);
});

test("a command that is aborted at once leaves nothing, however soon it ends by itself", async () => {
  const vm = await boot();
  for (let index = 0; index < 20; index++) {
    const controller = new AbortController();
    const running = rejection(vm.exec("sleep 1000 & exit 0", { signal: controller.signal }));
    controller.abort();
    expect((await running).code).toBe("ABORTED");
  }
  expect((await vm.allProcesses()).filter(({ command }) => command === "sleep")).toEqual([]);
});

test("the cause of ABORTED is the signal's reason", async () => {
  const vm = await boot();
  const reason = new Error("the user has gone");
  expect(await rejection(vm.exec("true", { signal: AbortSignal.abort(reason) }))).toMatchObject({ cause: reason });
  expect(await rejection(vm.spawn("true", [], { signal: AbortSignal.abort(reason) }))).toMatchObject({ cause: reason });
  expect(await rejection(vm.fetch(8000, "/", { signal: AbortSignal.abort(reason) }))).toMatchObject({ cause: reason });
  const controller = new AbortController();
  const running = rejection(vm.exec("sleep 1000", { signal: controller.signal }));
  await until(async () => (await vm.allProcesses()).some(({ command }) => command === "sleep"));
  controller.abort(reason);
  expect(await running).toMatchObject({ code: "ABORTED", cause: reason });
  const expired = await rejection(vm.exec("sleep 1000", { signal: AbortSignal.timeout(50) }));
  expect(expired.cause).toMatchObject({ name: "TimeoutError" });
});
