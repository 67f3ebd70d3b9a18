"use strict";
const { Worker } = require("node:worker_threads");
const { descendants, running } = require("./fixture/processes");
const { root } = require("./fixture/project");
const { until } = require("./fixture/promises");
const { boot } = require("./fixture/vm");

function worker(source) {
  const whole = `
    const { parentPort } = require("node:worker_threads");
    const { AgentVm } = require(${JSON.stringify(root)});
    (async () => { ${source} })();`;
  const thread = new Worker(whole, { eval: true });
  const message = new Promise((resolve, reject) => {
    thread.once("message", resolve).once("error", reject);
  });
  const exited = new Promise((resolve) => {
    thread.once("exit", resolve);
  });
  return { thread, message, exited };
}

test("each thread has VMs of its own, beside the main thread's", async () => {
  const vm = await boot();
  const threads = [1, 2, 3, 4].map((n) =>
    worker(`
      const vm = await AgentVm.create({ hostname: "thread-${n}" });
      const { stdout } = await vm.exec("hostname; echo \\$(ps -e | wc -l)");
      await vm.dispose();
      parentPort.postMessage(stdout);`),
  );
  const printed = await Promise.all(threads.map(({ message }) => message));
  expect(printed.map((text) => text.split("\n")[0])).toEqual(["thread-1", "thread-2", "thread-3", "thread-4"]);
  expect(await Promise.all(threads.map(({ exited }) => exited))).toEqual([0, 0, 0, 0]);
  expect((await vm.exec("echo on")).stdout).toBe("on\n");
});

test("a terminated thread leaves no process of its VMs, and other threads' VMs continue", async () => {
  const vm = await boot();
  // Init has the name by which it is counted only after the first call.
  await vm.exists("/");
  const others = new Set(descendants(process.pid).map(({ pid }) => pid));
  for (const state of [
    "await vm.exec('sleep 1000 &');",
    "vm.exec('sleep 1000').catch(() => {});",
    "vm.exec('yes', { onStdout() {} });",
  ]) {
    const { thread, message } = worker(`
      globalThis.vm = await AgentVm.create();
      ${state}
      parentPort.postMessage("ready");
      setInterval(() => {}, 1000);`);
    await message;
    // Init, and a program.
    const left = await until(() => {
      const started = descendants(process.pid).filter(({ pid }) => !others.has(pid));
      return started.length >= 2 && started;
    });
    await thread.terminate();
    await until(() => running(left).length === 0);
  }
  expect((await vm.exec("echo on")).stdout).toBe("on\n");
});

test("a thread that ends by itself leaves no process", async () => {
  const others = new Set(descendants(process.pid).map(({ pid }) => pid));
  const { message, exited } = worker(`
    const vm = await AgentVm.create();
    await vm.exec("sleep 1000 &");
    parentPort.postMessage("ready");`);
  await message;
  const left = descendants(process.pid).filter(({ pid }) => !others.has(pid));
  expect(await exited).toBe(0);
  await until(() => running(left).length === 0);
});
