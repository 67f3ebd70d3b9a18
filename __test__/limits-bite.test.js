"use strict";
// The limits of every VM: a program that exceeds one gets the errno of its kind, and the VM continues.

const { boot, output } = require("./fixture/vm");
const { AgentVm } = require("..");

const MiB = 2 ** 20;

test("diskBytes: ENOSPC inside, over all private directories together, and space that is freed is there again", async () => {
  const vm = await boot({ limits: { diskBytes: 8 * MiB } });
  await output(vm, "dd if=/dev/zero of=/tmp/a bs=1M count=6 status=none");
  const full = await vm.exec("dd if=/dev/zero of=/home/user/b bs=1M count=6 status=none");
  expect(full).toMatchObject({ exitCode: 1, stderr: expect.stringContaining("No space left on device") });
  // The server's own file calls meet the same limit.
  await expect(vm.writeFile("/var/tmp/c", new Uint8Array(4 * MiB))).rejects.toMatchObject({ code: "ENOSPC" });
  expect(await output(vm, "rm /tmp/a; echo on > /tmp/d; cat /tmp/d")).toBe("on\n");
});

test("files without content are bounded as well: ENOSPC", async () => {
  const vm = await boot({ limits: { diskBytes: 4 * MiB } });
  const made = await vm.execFile("python3", [
    "-c",
    `
import errno, os
count = 0
try:
    while True:
        open(f"/tmp/{count}", "w").close()
        count += 1
except OSError as error:
    print(errno.errorcode[error.errno], count)`,
  ]);
  const [name, count] = made.stdout.trim().split(" ");
  expect(name).toBe("ENOSPC");
  expect(Number(count)).toBeLessThanOrEqual(1024);
  expect(await output(vm, "rm -r /tmp/*; echo on > /tmp/d; cat /tmp/d")).toBe("on\n");
});

test("openFiles: EMFILE inside, which only its own process meets, and which it cannot raise", async () => {
  const vm = await boot({ limits: { openFiles: 64 } });
  const made = await vm.execFile("python3", [
    "-c",
    `
import errno, os, resource
try:
    resource.setrlimit(resource.RLIMIT_NOFILE, (65, 65))
    print("raised")
except ValueError:
    pass
fds = []
try:
    while True:
        fds.append(os.open("/dev/null", os.O_RDONLY))
except OSError as error:
    print(errno.errorcode[error.errno], max(fds))`,
  ]);
  expect(made.stdout).toBe("EMFILE 63\n");
  expect(await output(vm, "ulimit -n; ulimit -Hn")).toBe("64\n64\n");
});

test("pids: EAGAIN inside for processes and threads, for this VM alone", async () => {
  const [vm, other] = await Promise.all([boot({ limits: { pids: 40 } }), boot()]);
  const script = `
import errno, os, threading, time
children = []
try:
    while True:
        pid = os.fork()
        if pid == 0:
            time.sleep(1000)
        children.append(pid)
except OSError as error:
    print(errno.errorcode[error.errno], len(children), flush=True)
try:
    threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
    print("a thread more", flush=True)
except RuntimeError:
    print("no thread either", flush=True)
for pid in children:
    os.kill(pid, 9)`;
  const made = await vm.execFile("python3", ["-c", script]);
  const [, name, count, threads] = /^(\w+) (\d+)\n(.*)\n$/.exec(made.stdout);
  expect([name, threads]).toEqual(["EAGAIN", "no thread either"]);
  expect(Number(count)).toBeGreaterThan(30);
  expect(Number(count)).toBeLessThan(40);
  // While the first VM is at its limit, another VM (with the same uid on the host if the server is an ordinary user) is
  // not.
  const { pid } = await vm.spawn("sh", ["-c", "for i in $(seq 100); do sleep 1000 & done; wait"]);
  expect(await output(other, "for i in $(seq 100); do sleep 0.2 & done; wait; echo on")).toBe("on\n");
  await vm.killProcess(pid);
  expect(await output(vm, "echo on")).toBe("on\n");
});

test("a start without room for a process rejects with EAGAIN, and later ones work", async () => {
  const vm = await boot({ limits: { pids: 10 } });
  const running = [];
  let refused;
  while (refused === undefined && running.length < 20) {
    await vm.spawn("sleep", ["1000"]).then(
      ({ pid }) => running.push(pid),
      (error) => (refused = error),
    );
  }
  expect(refused).toMatchObject({ code: "EAGAIN", syscall: "clone" });
  await expect(vm.exec("true")).rejects.toMatchObject({ code: "EAGAIN" });
  await vm.killProcess(running[0]);
  expect(await output(vm, "echo on")).toBe("on\n");
});

test("every limit at its smallest still makes a VM that works", async () => {
  const vm = await AgentVm.create({
    limits: { pids: 8, openFiles: 16, diskBytes: MiB, replayBytes: 0 },
  });
  expect(await output(vm, "echo on | cat > /tmp/x; cat /tmp/x")).toBe("on\n");
  await vm.dispose();
});
