"use strict";
const fs = require("node:fs");
const path = require("node:path");
const { temporaryDirectory } = require("../fixture/directory");
const { pythonJson, systemCallNumbers } = require("../fixture/guest-programs");
const { hostProgram } = require("../fixture/host-program");
const { rejection } = require("../fixture/promises");
const { boot, output } = require("../fixture/vm");

const landlock = { isolation: "landlock" };

test("no socket of the host is reached: TCP, UDP, abstract, or one with a path", async () => {
  const file = path.join(temporaryDirectory(), "socket");
  const { line } = await hostProgram(`
import os, socket, threading
tcp = socket.create_server(("127.0.0.1", 0))
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(("127.0.0.1", 0))
abstract = socket.socket(socket.AF_UNIX)
abstract.bind("\\0agent-vm-test-%d" % os.getpid())
abstract.listen()
named = socket.socket(socket.AF_UNIX)
named.bind(${JSON.stringify(file)})
os.chmod(${JSON.stringify(file)}, 0o777)
os.chmod(os.path.dirname(${JSON.stringify(file)}), 0o777)
named.listen()
print(tcp.getsockname()[1], udp.getsockname()[1], os.getpid(), flush=True)
threading.Event().wait()`);
  const [tcp, udp, pid] = line.split(" ").map(Number);
  expect(fs.existsSync(file)).toBe(true);
  const vm = await boot(landlock);
  const results = await pythonJson(
    vm,
    { tcp, udp, pid, file },
    `
print(json.dumps([
    attempt(lambda: socket.create_connection(("127.0.0.1", tcp))),
    attempt(lambda: socket.socket(socket.AF_INET6).connect(("::1", tcp))),
    attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)),
    attempt(lambda: socket.socket(socket.AF_INET).sendto(b"x", 0x20000000, ("127.0.0.1", tcp))),
    attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", udp))),
    attempt(lambda: socket.socket(socket.AF_UNIX).connect("\\0agent-vm-test-%d" % pid)),
    attempt(lambda: socket.socket(socket.AF_UNIX).connect(file)),
    attempt(lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)),
    attempt(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)),
    attempt(lambda: socket.socket(socket.AF_INET).listen()),
]))`,
  );
  const refused = results.map((result) => /^(EAFNOSUPPORT|EPROTONOSUPPORT)$/.test(result));
  expect({ results, refused }).toEqual({ results, refused: Array(10).fill(true) });
});

test("pairs of sockets between parent and child work", async () => {
  const vm = await boot(landlock);
  expect(
    await pythonJson(
      vm,
      {},
      `
one, other = socket.socketpair()
if os.fork() == 0:
    other.sendall(b"hello")
    os._exit(0)
print(json.dumps(one.recv(5).decode()))`,
    ),
  ).toBe("hello");
  const fork = `const { fork } = require("child_process");
    if (process.send) process.send("from the child");
    else fork(__filename).on("message", (message) => { console.log(message); process.exit(); });`;
  const home = (await output(vm, "pwd")).trim();
  await vm.writeFile(`${home}/fork.js`, fork);
  expect(await output(vm, "node fork.js")).toBe("from the child\n");
});

test("shared memory and message queues of the host do not exist inside", async () => {
  const vm = await boot(landlock);
  const calls = systemCallNumbers({
    shmget: [29, 194],
    semget: [64, 190],
    msgget: [68, 186],
    mq_open: [240, 180],
    inotify_init1: [294, 26],
  });
  expect(
    await pythonJson(
      vm,
      { calls },
      "print(json.dumps({ name: call(number, 0, 0, 0, 0) for name, number in calls.items() }))",
    ),
  ).toEqual(Object.fromEntries(Object.keys(calls).map((name) => [name, "ENOSYS"])));
  expect((await vm.exec("echo x > /dev/shm/agent-vm-test")).exitCode).not.toBe(0);
});

test("a connection into it is refused, and says why", async () => {
  const error = await rejection((await boot(landlock)).connect(8080));
  expect(error.code).toBe("ISOLATION_UNAVAILABLE");
  expect(error.message).toMatch(/no network.*namespaces/s);
});
