"use strict";
const { rejection } = require("./fixture/promises");
const { shellsOf } = require("./fixture/shells");
const { bootForFile } = require("./fixture/vm");

let vm;
let shells;
beforeAll(async () => {
  vm = await bootForFile();
  shells = shellsOf(vm);
});

test.each([
  [{}, "24 80"],
  [{ cols: 132, rows: 43 }, "43 132"],
  [{ cols: 1, rows: 1 }, "1 1"],
  [{ cols: 65535, rows: 65535 }, "65535 65535"],
  [{ cols: 100 }, "24 100"],
])("the size holds from the first moment: %j", async (size, expected) => {
  const shell = await shells.open({ command: "stty", args: ["size"], ...size });
  expect(await shell.wait()).toBe(0);
  expect(shell.text()).toBe(`${expected}\r\n`);
});

test("a resize reaches the program in the foreground as SIGWINCH, with the right size", async () => {
  // Not in a shell's trap: bash loses a signal that arrives while it runs the trap for an earlier one.
  const script = `
import os, signal, time
def show(*_):
    size = os.get_terminal_size()
    os.write(1, f"{size.lines} {size.columns}\\n".encode())
signal.signal(signal.SIGWINCH, show)
print("ready", flush=True)
while True: time.sleep(0.02)`;
  const shell = await shells.open({ command: "python3", args: ["-c", script], cols: 80, rows: 24 });
  await shell.shows("ready");
  for (const [cols, rows] of [
    [120, 40],
    [1, 1],
    [65535, 65535],
    [80, 24],
  ]) {
    await vm.resizeShell(shell.id, cols, rows);
    await shell.shows(`\n${rows} ${cols}\r\n`);
    const listed = (await vm.listShells()).find(({ shellId }) => shellId === shell.id);
    expect({ cols: listed.cols, rows: listed.rows }).toEqual({ cols, rows });
  }
  await shell.close();
});

test("an interactive shell knows its new size for its next command", async () => {
  const shell = await shells.open();
  await shell.shows("$ ");
  await vm.resizeShell(shell.id, 97, 31);
  await shell.write("echo $COLUMNS x $LINES\n");
  await shell.shows("97 x 31");
  await shell.close();
});

test("a size that no terminal has is INVALID_ARGUMENT, at once and later, and changes nothing", async () => {
  const shell = await shells.open({ command: "cat" });
  for (const bad of [0, -1, 70000, 65536, NaN, Infinity, 1.5, "80", null, 80n]) {
    for (const [name, call] of [
      ["cols", vm.openShell({ cols: bad })],
      ["rows", vm.openShell({ rows: bad })],
      ["cols", vm.resizeShell(shell.id, bad, 24)],
      ["rows", vm.resizeShell(shell.id, 80, bad)],
    ]) {
      const { code, message } = await rejection(call);
      expect(code).toBe("INVALID_ARGUMENT");
      expect(message).toMatch(new RegExp(`^${name} must be a whole number from 1 to 65535`));
    }
  }
  expect((await rejection(vm.resizeShell(shell.id))).code).toBe("INVALID_ARGUMENT");
  const listed = (await vm.listShells()).find(({ shellId }) => shellId === shell.id);
  expect(listed).toMatchObject({ running: true, cols: 80, rows: 24 });
  await shell.close();
});
