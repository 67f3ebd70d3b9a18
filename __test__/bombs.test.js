"use strict";
// Programs that take everything they can get. The server and other VMs are not affected, the VM itself usually
// survives, and dispose ends it whatever it is doing.

const { descendants, running, withInit } = require("./fixture/processes");
const { withLimit } = require("./fixture/limits");
const { until } = require("./fixture/promises");
const { boot, output } = require("./fixture/vm");

const MiB = 2 ** 20;

/** What each bomb does, as a Python program that never ends by itself. */
const bombs = {
  "forks without end": `
import os
while True:
    try:
        os.fork()
    except OSError:
        pass`,
  "forks twice and exits, so that init has every process to reap": `
import os
while True:
    try:
        if os.fork() == 0:
            if os.fork() == 0:
                os._exit(0)
            os._exit(0)
        os.wait()
    except OSError:
        pass`,
  "forks twice, leaves the session and its environment, and does it again": `
import os
while True:
    try:
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.execve("/usr/bin/python3", ["python3", "-c", "import time; time.sleep(1)"], {})
            os._exit(0)
    except OSError:
        pass`,
  "fills the disk": `
while True:
    try:
        with open("/tmp/full", "ab") as file:
            while True:
                file.write(b"x" * 1048576)
                file.flush()
    except OSError:
        pass`,
  "makes files without end": `
count = 0
while True:
    try:
        open(f"/tmp/{count}", "w").close()
        count += 1
    except OSError:
        pass`,
  "opens descriptors without end, and pipes that are full": `
import os
fds = []
while True:
    try:
        r, w = os.pipe()
        os.set_blocking(w, False)
        fds += [r, w]
        while True:
            os.write(w, b"x" * 65536)
    except OSError:
        pass`,
  "writes to both streams without end": `
import os, threading
def write(fd):
    while True:
        os.write(fd, b"x" * 65536)
threading.Thread(target=write, args=(2,)).start()
write(1)`,
  "writes to every descriptor that it can find": `
import os
while True:
    for process in os.listdir("/proc"):
        if not process.isdigit():
            continue
        try:
            names = os.listdir(f"/proc/{process}/fd")
        except OSError:
            continue
        for name in names:
            try:
                fd = os.open(f"/proc/{process}/fd/{name}", os.O_WRONLY | os.O_NONBLOCK)
            except OSError:
                continue
            try:
                os.write(fd, b"\\0" * 4096)
            except OSError:
                pass
            os.close(fd)
    for fd in range(64):
        try:
            os.write(fd, b"\\0" * 4096)
        except OSError:
            pass`,
};

test.each(Object.entries(bombs))("a program that %s harms no other VM, and dispose ends it", async (_, program) => {
  // Without a cpu cgroup, which an ordinary user's server does not have, each session of the bomb gets its own share of
  // processor time.
  const pids = process.getuid() === 0 ? 200 : 64;
  const { vm, init } = await withInit(() => boot({ limits: { pids, diskBytes: 32 * MiB } }));
  const bystander = await boot();
  let bytes = 0;
  vm.on("processOutput", ({ data }) => (bytes += data.length));
  const { pid } = await vm.spawn("python3", ["-c", program]);
  // If the first bomb has taken all the room, the others get this error.
  const noRoom = ({ code }) => code;
  const shell = await vm.openShell({ command: "python3", args: ["-c", program] }).catch(noRoom);
  const options = { timeout: 700, maxOutputBytes: 1000 };
  const ended = await vm.execFile("python3", ["-c", program], options).catch(noRoom);
  expect([shell.shellId ?? shell, ended.reason ?? ended]).toEqual([
    expect.stringMatching(/^shell-1$|^EAGAIN$/),
    expect.stringMatching(/^timeout$|^EAGAIN$/),
  ]);
  for (let i = 0; i < 10; i++) expect(await output(bystander, `echo ${i}`)).toBe(`${i}\n`);
  // The output that the server keeps of an endless writer is bounded.
  const { chunks } = await vm.readProcessOutput(pid);
  const kept = chunks.reduce((sum, { data }) => sum + data.length, 0);
  expect(kept).toBeLessThanOrEqual(Math.min(bytes, MiB));
  const processes = [init, ...descendants(init.pid)];
  await vm.dispose();
  await until(() => running(processes).length === 0);
  expect(await output(bystander, "echo on")).toBe("on\n");
});

test("a program that forks without end can be killed, and the VM runs commands afterwards", async () => {
  const vm = await boot({ limits: { pids: 100 } });
  const { pid } = await vm.spawn("python3", ["-c", bombs["forks without end"]]);
  await until(async () => (await vm.allProcesses()).length > 50);
  await vm.killProcess(pid);
  expect(await output(vm, "echo on")).toBe("on\n");
  expect(await vm.allProcesses()).toEqual([]);
});

test(
  "a program that takes all memory is killed, whatever it does to avoid it, and the VM runs commands afterwards",
  withLimit({ memoryBytes: 64 * MiB }, async (vm) => {
    const spared = `
import os
def spare():
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("-1000")
    except OSError:
        pass
spare()
held = []
while True:
    if os.fork() == 0:
        spare()
    held.append(b"x" * 4194304)`;
    expect(await vm.execFile("python3", ["-c", spared], { timeout: 20_000 })).toMatchObject({ exitCode: 137 });
    await until(async () => (await vm.exec("echo on").catch(() => ({}))).stdout === "on\n");
    // Kernel memory counts too: empty files, full pipes.
    for (const name of ["makes files without end", "opens descriptors without end, and pipes that are full"]) {
      await vm.execFile("python3", ["-c", bombs[name]], { timeout: 1000 });
    }
    // Programs may lack the memory for that; file calls need none in the VM.
    const names = await vm.readdir("/tmp");
    for (let at = 0; at < names.length; at += 1000) {
      await Promise.all(names.slice(at, at + 1000).map((name) => vm.delete(`/tmp/${name}`)));
    }
    await until(async () => (await vm.exec("echo on").catch(() => ({}))).stdout === "on\n");
  }),
);
