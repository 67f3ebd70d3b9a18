"use strict";
// Waiting until the program in a shell's foreground waits for input.

const { rejection, until } = require("./fixture/promises");
const { atLevel, boot } = require("./fixture/vm");

atLevel("namespaces");

/** A shell of a new VM, with what it has shown so far. */
async function open(options, vmOptions) {
  const vm = await boot(vmOptions);
  let shown = "";
  vm.on("shellData", ({ data }) => (shown += Buffer.from(data)));
  const { shellId } = await vm.openShell(options);
  const type = (text) => vm.writeShell(shellId, text);
  return { vm, shellId, type, shown: () => shown };
}

/** What programs print when they have done something: no echo of what was typed contains it. */
const done = "$((6 * 7))";

test.each([["bash"], ["sh"]])("%s waits when its command has ended, and not before", async (command) => {
  const { vm, shellId, type, shown } = await open({ command });
  await vm.waitForIdle(shellId);
  await type(`sleep 0.5; echo done ${done}\n`);
  await vm.waitForIdle(shellId, { timeout: 60_000 });
  expect(shown()).toContain("done 42");
  await type("sleep 1000\n");
  expect(await rejection(vm.waitForIdle(shellId, { timeout: 500 }))).toMatchObject({ code: "ETIMEDOUT" });
  await type("\x03");
  await vm.waitForIdle(shellId);
});

test.each([
  ["a builtin that reads", "read -p 'name? ' name", "name? "],
  ["cat", "echo in cat; cat", "in cat"],
  ["python", "python3 -q", ">>> "],
  ["python's input()", "python3 -c 'input(\"sure? \")'", "sure? "],
  ["node", "node -i", "> "],
  ["less", "seq 1000 | less", "23"],
  ["vim", "vi -u NONE", "~"],
])("%s waits for what a person types", async (_name, command, prompt) => {
  const { vm, shellId, type, shown } = await open({ command: "bash" });
  await vm.waitForIdle(shellId);
  const before = shown().length;
  await type(`${command}\n`);
  await until(() =>
    shown()
      .slice(before + command.length)
      .includes(prompt),
  );
  await vm.waitForIdle(shellId, { timeout: 60_000 });
  const table = await vm.allProcesses();
  expect(table.length).toBeGreaterThan(0);
});

test.each([
  ["a sleep", "sleep 1000"],
  ["a pipe's reader", "sleep 1000 | cat"],
  ["a loop", "while :; do :; done"],
  ["a server", "python3 -m http.server 8000"],
  ["node with a timer", "node -e 'setInterval(() => {}, 1e6)'"],
  ["a wait for a process", "sleep 1000 & wait"],
  [
    "select on a socket",
    `python3 -c 'import select, socket; select.select([socket.create_server(("", 8001))], [], [])'`,
  ],
  ["poll on a socket", "curl -s http://127.0.0.1:8002/"],
])("%s does not count as waiting", async (_name, command) => {
  const { vm, shellId, type } = await open({ command: "bash" });
  // Answers nothing.
  await vm.spawn("python3", [
    "-c",
    "import socket, time; s = socket.create_server(('127.0.0.1', 8002)); time.sleep(1000)",
  ]);
  await vm.waitForPort(8002);
  await vm.waitForIdle(shellId);
  await type(`${command}\n`);
  expect(await rejection(vm.waitForIdle(shellId, { timeout: 500 }))).toMatchObject({ code: "ETIMEDOUT" });
});

test("the event is emitted once for each time that a shell waits", async () => {
  const { vm, shellId, type } = await open({ command: "bash" });
  const events = [];
  vm.on("shellWaiting", (event) => events.push(event.shellId));
  await until(() => events.length === 1);
  await type("sleep 0.3\n");
  await until(() => events.length === 2);
  await type("read name\n");
  await until(() => events.length === 3);
  await type("me\n");
  await until(() => events.length === 4);
  await vm.waitForIdle(shellId);
  await vm.waitForIdle(shellId);
  const { shellId: second } = await vm.openShell({ command: "sh" });
  await until(() => events.length === 5);
  expect(events).toEqual([shellId, shellId, shellId, shellId, second]);
});

test("a wait ends with its time, its signal, its shell, or its VM", async () => {
  const { vm, shellId, type } = await open({ command: "bash" });
  await vm.waitForIdle(shellId);
  await type("sleep 1000\n");
  const late = await rejection(vm.waitForIdle(shellId, { timeout: 300 }));
  expect(late).toMatchObject({ code: "ETIMEDOUT", message: `${shellId} does not wait for input after 300 ms` });
  const controller = new AbortController();
  const aborted = rejection(vm.waitForIdle(shellId, { signal: controller.signal }));
  controller.abort();
  expect(await aborted).toMatchObject({ code: "ABORTED" });
  const closed = rejection(vm.waitForIdle(shellId));
  await vm.closeShell(shellId);
  expect(await closed).toMatchObject({ code: "SHELL_NOT_FOUND" });
  expect(await rejection(vm.waitForIdle(shellId))).toMatchObject({ code: "SHELL_NOT_FOUND" });
  const { shellId: second } = await vm.openShell({ command: "sleep", args: ["1000"] });
  const last = rejection(vm.waitForIdle(second));
  await vm.dispose();
  expect(await last).toMatchObject({ code: "VM_DISPOSED" });
  for (const wrong of [[1], ["shell-1", { after: 1 }]]) {
    expect(await rejection(vm.waitForIdle(...wrong))).toMatchObject({ code: "INVALID_ARGUMENT" });
  }
});

test("a shell that is opened while others are followed is found at once", async () => {
  const { vm, shellId } = await open({ command: "sh" });
  vm.on("shellWaiting", () => {});
  for (let turn = 0; turn < 10; turn++) {
    const waiting = vm.waitForIdle(shellId);
    const { shellId: another } = await vm.openShell({ command: "sh" });
    await Promise.all([vm.waitForIdle(another), waiting]);
    await vm.closeShell(another);
  }
});

test("shells of isolation landlock are seen too", async () => {
  const { vm, shellId, type, shown } = await open({ command: "bash" }, { isolation: "landlock" });
  await vm.waitForIdle(shellId);
  await type(`sleep 0.3; echo done ${done}\n`);
  await vm.waitForIdle(shellId);
  expect(shown()).toContain("done 42");
});
