"use strict";
const { rejection, until } = require("./fixture/promises");
const { shellsOf } = require("./fixture/shells");
const { bootForFile } = require("./fixture/vm");

let vm;
let shells;
beforeAll(async () => {
  vm = await bootForFile();
  shells = shellsOf(vm);
});

test("a shell that ends by itself emits shellExit and counts as active no more", async () => {
  const active = vm.activeCount;
  const shell = await shells.open();
  expect(vm.activeCount).toBe(active + 1);
  let atExit;
  vm.once("shellExit", () => (atExit = vm.activeCount));
  await shell.write("exit 7\n");
  expect(await shell.wait()).toBe(7);
  expect(shell.exit).toEqual({
    exitCode: 7,
    signal: null,
    reason: "exited",
    usage: {
      userMs: expect.any(Number),
      systemMs: expect.any(Number),
      maxRssBytes: expect.any(Number),
    },
  });
  expect(shell.exit.usage.maxRssBytes).toBeGreaterThan(500_000);
  expect(atExit).toBe(active);
  expect(vm.activeCount).toBe(active);
});

test("waitShellExit resolves to the exit status of the event", async () => {
  const shell = await shells.open({ command: "sh", args: ["-c", "kill -TERM $$"] });
  const status = await vm.waitShellExit(shell.id);
  expect(status).toEqual(shell.exit);
  expect(status).toMatchObject({ exitCode: 143, signal: "SIGTERM", reason: "signal" });
  expect(await rejection(vm.waitShellExit("shell-999999"))).toMatchObject({ code: "SHELL_NOT_FOUND" });
});

test("the exit event has the shell's usage", async () => {
  const shell = await shells.open({
    command: "python3",
    args: [
      "-c",
      "import time; b = bytearray(50_000_000); t = time.process_time()\nwhile time.process_time() < t + 0.2: pass",
    ],
  });
  await shell.wait();
  const { userMs, systemMs, maxRssBytes } = shell.exit.usage;
  expect(userMs + systemMs).toBeGreaterThan(190);
  expect(maxRssBytes).toBeGreaterThan(50_000_000);
  expect(maxRssBytes).toBeLessThan(200_000_000);
});

test.each([
  ["SIGTERM", 143],
  ["SIGKILL", 137],
  ["SIGSEGV", 139],
  ["SIGABRT", 134],
])("the exit event of a shell that %s ends has that signal", async (signal, exitCode) => {
  const shell = await shells.open({ command: "sh", args: ["-c", `kill -${signal.slice(3)} $$`] });
  expect(await shell.wait()).toBe(exitCode);
  expect(shell.exit).toMatchObject({ exitCode, signal, reason: "signal" });
});

test("a shell that is gone still answers wait, read, list and close; writing and resizing find it no more", async () => {
  const shell = await shells.open({ command: "sh", args: ["-c", "echo so long; exit 5"], cols: 70, rows: 20 });
  await shell.wait();
  for (let round = 0; round < 2; round++) {
    expect(await vm.waitShell(shell.id)).toBe(5);
    const { data, exited } = await vm.readShell(shell.id);
    expect(Buffer.from(data).toString()).toBe("so long\r\n");
    expect(exited).toEqual(shell.exit);
    expect((await vm.listShells()).find(({ shellId }) => shellId === shell.id)).toEqual({
      shellId: shell.id,
      pid: expect.any(Number),
      command: "sh",
      args: ["-c", "echo so long; exit 5"],
      cols: 70,
      rows: 20,
      running: false,
      exitCode: 5,
    });
    expect(await vm.closeShell(shell.id)).toBeUndefined();
    const gone = { code: "SHELL_NOT_FOUND", message: `Shell not found: ${shell.id}` };
    expect(await rejection(vm.writeShell(shell.id, "x"))).toMatchObject(gone);
    expect(await rejection(vm.writeShell(shell.id, ""))).toMatchObject(gone);
    expect(await rejection(vm.resizeShell(shell.id, 80, 24))).toMatchObject(gone);
  }
});

test.each(["shell-999999", "shell-", "shell-1x", "", "bash", "shell--1", "shell-01e1"])(
  "a shell that never was is not found: %j",
  async (id) => {
    const calls = [
      vm.writeShell(id, "x"),
      vm.resizeShell(id, 80, 24),
      vm.closeShell(id),
      vm.waitShell(id),
      vm.readShell(id),
    ];
    for (const error of await Promise.all(calls.map(rejection))) {
      expect(error).toMatchObject({ code: "SHELL_NOT_FOUND", message: `Shell not found: ${id}` });
    }
  },
);

test("ids have one spelling", async () => {
  const shell = await shells.open({ command: "cat" });
  const number = shell.id.slice("shell-".length);
  for (const other of [`shell-0${number}`, `shell-+${number}`, ` ${shell.id}`]) {
    expect(await rejection(vm.writeShell(other, "x"))).toMatchObject({ code: "SHELL_NOT_FOUND" });
  }
  await shell.close();
});

test("wrong arguments are named before anything is looked up", async () => {
  for (const [call, name] of [
    [vm.writeShell(5, "x"), "shellId"],
    [vm.writeShell("shell-999999", 5), "data"],
    [vm.writeShell("shell-999999"), "data"],
    [vm.readShell("shell-999999", { after: -1 }), "after"],
    [vm.closeShell(null), "shellId"],
    [vm.waitShell(), "shellId"],
    [vm.openShell({ command: "" }), "command"],
    [vm.openShell({ args: "ls" }), "args"],
    [vm.openShell({ stdin: "x" }), "stdin"],
    [vm.openShell("bash"), "options"],
    [vm.openShell({ cwd: "relative" }), "cwd"],
  ]) {
    const { code, message } = await rejection(call);
    expect([code, message]).toEqual(["INVALID_ARGUMENT", expect.stringContaining(name)]);
  }
});

test("a job that holds the terminal does not hold up the shell's exit; what it prints later still comes", async () => {
  const shell = await shells.open();
  await shell.write("(while [ ! -e /tmp/go ]; do sleep 0.02; done; seq 5000; echo late) & echo early; exit 6\n");
  expect(await shell.wait()).toBe(6);
  expect(shell.text()).toMatch(/early\r\n[^]*exit\r\n$/);
  const before = await vm.readShell(shell.id);
  expect(Buffer.from(before.data).equals(shell.bytes())).toBe(true);
  await vm.exec("touch /tmp/go");
  await shell.shows("late\r\n");
  expect(shell.gapless).toBe(true);
  const later = await vm.readShell(shell.id, { after: before.nextSeq });
  const expected = `${Array.from({ length: 5000 }, (_, i) => `${i + 1}\r\n`).join("")}late\r\n`;
  expect(Buffer.from(later.data).toString()).toBe(expected);
  expect(shell.events.indexOf("exit")).toBeLessThan(shell.events.lastIndexOf("data"));
  await until(async () => (await vm.allProcesses()).length === 0);
});

test("a job that prints without end does not hold up the exit either", async () => {
  const shell = await shells.open({ command: "sh", args: ["-c", "trap '' HUP; yes & echo $!; exit 2"] });
  expect(await shell.wait()).toBe(2);
  await until(() => shell.length > 500_000);
  const pid = Number(/^\d+/m.exec(shell.text())[0]);
  await vm.killProcess(pid);
  await until(async () => (await vm.allProcesses()).length === 0);
  expect(shell.gapless).toBe(true);
});

test("a program may close its terminal and open it again: it still runs, and nothing it prints is lost", async () => {
  const script =
    "tty=$(tty); exec <&- >&- 2>&-; sleep 0.2; exec <>$tty >&0 2>&0; echo back; read line; echo got $line; exit 4";
  const shell = await shells.open({ command: "bash", args: ["-c", script] });
  await shell.shows("back");
  await shell.write("it\n");
  expect(await shell.wait()).toBe(4);
  expect(shell.text()).toBe("back\r\nit\r\ngot it\r\n");
});

test("a program that closes the terminal while input waits delays no other process", async () => {
  const script = "stty raw; echo ready; exec <&- >&- 2>&-; sleep 1000";
  const shell = await shells.open({ command: "sh", args: ["-c", script] });
  await shell.shows("ready");
  const waiting = shell.write(Buffer.alloc(1_000_000)).catch((error) => error);
  for (let i = 0; i < 10; i++) expect((await vm.exec(`echo ${i}`)).stdout).toBe(`${i}\n`);
  await shell.close();
  expect(await waiting).toMatchObject({ code: "SHELL_NOT_FOUND" });
});

test("a process that an exited shell left, and that closes and opens its terminal again and again, delays no other process", async () => {
  const script = `
import os, time
tty = os.ttyname(0)
if os.fork(): os._exit(0)
os.setsid()
end = time.monotonic() + 2
while time.monotonic() < end:
    os.closerange(0, 3)
    fd = os.open(tty, os.O_RDWR | os.O_NOCTTY)`;
  const opened = await Promise.all([1, 2, 3].map(() => shells.open({ command: "python3", args: ["-c", script] })));
  await Promise.all(opened.map((shell) => shell.wait()));
  for (let i = 0; i < 20; i++) {
    const process = await vm.spawn("echo", [String(i)]);
    expect(await vm.waitProcess(process.pid)).toBe(0);
  }
  await until(async () => (await vm.allProcesses()).length === 0);
  // The thread that serves all terminals is idle: it does not spin on closed descriptors.
  const before = process.cpuUsage();
  await new Promise((resolve) => setTimeout(resolve, 500));
  const { user, system } = process.cpuUsage(before);
  expect((user + system) / 1000).toBeLessThan(300);
});

test("when the VM goes, open shells end with it, and calls that were pending say so", async () => {
  const other = await bootForFile();
  const own = shellsOf(other);
  const [shell, stuck, deaf, ended] = await Promise.all([
    own.open(),
    own.open({ command: "sh", args: ["-c", "stty raw; echo ready; exec sleep 1000"] }),
    own.open({ command: "sh", args: ["-c", "trap '' HUP; echo ready; sleep 1000"] }),
    own.open({ command: "sh", args: ["-c", "exit 3"] }),
  ]);
  await Promise.all([stuck.shows("ready"), deaf.shows("ready")]);
  await ended.wait();
  const order = [];
  other.on("shellExit", ({ shellId }) => order.push(shellId));
  other.on("exit", ({ reason }) => order.push(reason));
  const pending = [shell.wait(), stuck.write(Buffer.alloc(1_000_000)), deaf.close()].map(rejection);
  await other.dispose();
  for (const error of await Promise.all(pending)) expect(error).toMatchObject({ code: "VM_DISPOSED" });
  const gone = {
    exitCode: 137,
    signal: "SIGKILL",
    reason: "disposed",
    usage: { userMs: 0, systemMs: 0, maxRssBytes: 0 },
  };
  expect(shell.exit).toEqual(gone);
  expect(stuck.exit).toEqual(gone);
  expect(ended.exit).toMatchObject({ exitCode: 3, reason: "exited" });
  expect(order.slice(0, 3)).toEqual(expect.arrayContaining([shell.id, stuck.id]));
  expect(order.at(-1)).toBe("disposed");
  expect(order.length).toBe(4);
  expect(other.activeCount).toBe(0);
  const later = [
    other.openShell(),
    other.writeShell(shell.id, "x"),
    other.resizeShell(shell.id, 80, 24),
    other.closeShell(shell.id),
    other.waitShell(shell.id),
    other.listShells(),
    other.readShell(shell.id),
    other.readShell("shell-999"),
  ];
  for (const error of await Promise.all(later.map(rejection))) expect(error.code).toBe("VM_DISPOSED");
});
