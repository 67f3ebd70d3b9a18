"use strict";
const { AgentVm } = require("../..");
const { python } = require("../fixture/guest-programs");
const { until } = require("../fixture/promises");
const { victim } = require("../fixture/victim");

const attacked = victim();

/** Writes random bytes to every descriptor that it has, and to those of every process in /proc. */
const WRITE_EVERYWHERE = `
import fcntl, glob, os, signal, socket
signal.signal(signal.SIGPIPE, signal.SIG_IGN)
noise = os.urandom(512)
for fd in range(4096):
    try:
        fcntl.fcntl(fd, fcntl.F_SETFL, os.O_NONBLOCK)
        os.write(fd, noise)
    except OSError: pass
    try: socket.socket(fileno=os.dup(fd)).send(noise)
    except (OSError, ValueError): pass
for path in glob.glob("/proc/[0-9]*/fd/*") + glob.glob("/proc/[0-9]*/task/*/fd/*"):
    for flags in (os.O_WRONLY, os.O_RDWR):
        try:
            fd = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)
            os.write(fd, noise); os.close(fd)
        except OSError: pass
os._exit(9)`;

test("a program that writes to every descriptor it finds spoils only its own output", async () => {
  const onlooker = await attacked.vm.spawn("sh", ["-c", "sleep 0.2; echo first; read line; echo second"]);
  const shell = await attacked.vm.openShell({ command: "cat", args: [] });
  const [exec, spawned] = await Promise.all([
    attacked.vm.execFile("python3", ["-c", WRITE_EVERYWHERE]),
    attacked.vm.spawn("python3", ["-c", WRITE_EVERYWHERE]),
  ]);
  expect(exec.exitCode).toBe(9);
  expect(await attacked.vm.waitProcess(spawned.pid)).toBe(9);
  await attacked.vm.writeShell(shell.shellId, "echoed\n");
  await until(async () => Buffer.from((await attacked.vm.readShell(shell.shellId)).data).includes("echoed"));
  await attacked.vm.closeShell(shell.shellId);
  // A user may write to the pipes of its own processes through /proc; that reaches only those processes.
  await attacked.vm.writeProcessStdin(onlooker.pid, "\n").catch(() => {});
  expect(await attacked.vm.waitProcess(onlooker.pid)).toBe(0);
  expect((await attacked.vm.exec("echo clean")).stdout).toBe("clean\n");
});

test("no process has a descriptor but its own three, however it was started", async () => {
  const expected = [/^(pipe|\/dev\/null)/, /^pipe/, /^pipe/, /^\/proc\/\d+\/fd$/];
  const check = (text, kinds) => {
    const names = text.trim().split(/\r?\n/);
    expect(names).toHaveLength(kinds.length);
    names.forEach((name, index) => expect(name).toMatch(kinds[index]));
  };
  // Through a file, since a pipeline would replace standard output. The fourth descriptor is the directory that ls
  // reads.
  const ask = "ls -l /proc/self/fd > /tmp/fds; tail -n +2 /tmp/fds | sed 's/.* -> //'";
  check((await attacked.vm.exec(ask)).stdout, [expected[0], /^\/tmp\/fds$/, expected[2], expected[3]]);
  let printed = "";
  const { pid } = await attacked.vm.spawn("sh", ["-c", ask], { onStdout: (data) => (printed += data) });
  await attacked.vm.waitProcess(pid);
  check(printed, [/^pipe/, /^\/tmp\/fds$/, expected[2], expected[3]]);
  const { shellId } = await attacked.vm.openShell({ command: "sh", args: ["-c", ask] });
  await attacked.vm.waitShell(shellId);
  const shown = Buffer.from((await attacked.vm.readShell(shellId)).data).toString();
  check(shown, [/^\/dev\/pts\/\d+$/, /^\/tmp\/fds$/, /^\/dev\/pts\/\d+$/, expected[3]]);
});

test("what the server has open is not passed in, close-on-exec or not", async () => {
  // A descriptor that Node.js would leave open in a child.
  const { spawn } = require("node:child_process");
  const fs = require("node:fs");
  const root = require("node:path").join(__dirname, "../..");
  const script = `
    const { AgentVm } = require(${JSON.stringify(root)});
    (async () => {
      const vm = await AgentVm.create();
      console.log((await vm.exec("ls /proc/self/fd | wc -l; cat <&7")).stdout);
      await vm.dispose();
    })();`;
  const secret = fs.openSync("/etc/hostname", "r");
  try {
    const stdio = ["ignore", "pipe", "inherit", ...Array(8).fill(secret)];
    const child = spawn(process.execPath, ["-e", script], { stdio });
    let printed = "";
    child.stdout.on("data", (data) => (printed += data));
    await new Promise((resolve) => child.on("close", resolve));
    expect(printed.trim()).toBe("4");
  } finally {
    fs.closeSync(secret);
  }
});

test("nothing is typed into a terminal: not into one's own, not into a shell's, by no spelling of the request", async () => {
  const shell = await attacked.vm.openShell({ command: "sh", args: ["-c", "stty -echo; sleep 5; echo over"] });
  const lines = await python(
    attacked.vm,
    `
import glob, time
time.sleep(0.3)
master, slave = os.openpty()
libc.ioctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_char_p]
terminals = [slave, master] + [os.open(p, os.O_RDWR | os.O_NOCTTY) for p in glob.glob("/dev/pts/[0-9]*")]
print(len(terminals) >= 3)
for fd in terminals:
    for request in (0x5412, 0x541c, 0x5423):
        for high in (0, 1 << 32, 0xffffffff << 32):
            attempt("request", libc.ioctl, fd, request | high, b"x")`,
  );
  expect(lines[0]).toBe("True");
  for (const line of lines.slice(1)) expect(line).toBe("request EPERM");
  await attacked.vm.closeShell(shell.shellId);
});

test("the server's terminal is no terminal of the VM", async () => {
  const vm = await AgentVm.create();
  try {
    const lines = await python(
      vm,
      `attempt("terminal", os.open, "/dev/tty", os.O_RDWR)\nprint(os.listdir("/dev/pts"))`,
    );
    expect(lines).toEqual(["terminal ENXIO", "['ptmx']"]);
  } finally {
    await vm.dispose();
  }
});
