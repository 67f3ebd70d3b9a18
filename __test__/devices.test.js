"use strict";
const { boot, output } = require("./fixture/vm");

test("/dev holds the devices that every program expects, and no other", async () => {
  const vm = await boot();
  expect((await output(vm, "ls -A /dev")).trim().split("\n")).toEqual([
    "fd",
    "full",
    "null",
    "ptmx",
    "pts",
    "random",
    "shm",
    "stderr",
    "stdin",
    "stdout",
    "tty",
    "urandom",
    "zero",
  ]);
});

test("the devices work", async () => {
  const vm = await boot();
  expect(
    await output(vm, "echo gone > /dev/null; head -c 3 /dev/zero | od -An -tx1; head -c 9 /dev/urandom | wc -c"),
  ).toBe(" 00 00 00\n9\n");
  expect((await vm.exec("cat /etc/passwd > /dev/full")).stderr).toContain("No space left");
  expect(
    await vm.exec("echo out > /dev/stdout; echo err > /dev/stderr; cat /dev/stdin", { stdin: "in" }),
  ).toMatchObject({ stdout: "out\nin", stderr: "err\n" });
});

test("terminals are the VM's own", async () => {
  const vm = await boot();
  const script = "import os, pty, time; m, s = pty.openpty(); print(os.ttyname(s), flush=True)";
  expect(await output(vm, "ls /dev/pts")).toBe("ptmx\n");
  expect((await vm.execFile("python3", ["-c", script])).stdout).toBe("/dev/pts/0\n");
  const other = await boot();
  await vm.spawn("python3", ["-c", `${script}; time.sleep(100)`]);
  expect(await output(other, "ls /dev/pts")).toBe("ptmx\n");
});

test("no device can be made", async () => {
  const vm = await boot();
  for (const node of ["c 1 3", "b 254 0", "c 10 200"]) {
    expect((await vm.exec(`mknod made ${node}`)).stderr).toContain("Operation not permitted");
  }
  expect(await output(vm, "mkfifo pipe && stat -c %F pipe")).toBe("fifo\n");
});

test("a program cannot type into its own terminal (TIOCSTI)", async () => {
  const vm = await boot();
  const script = `
import fcntl, os, termios
master, slave = os.openpty()
try:
    fcntl.ioctl(slave, termios.TIOCSTI, b"x")
except OSError as error:
    print(error.strerror)`;
  expect((await vm.execFile("python3", ["-c", script])).stdout).toBe("Operation not permitted\n");
});
