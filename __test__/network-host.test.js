"use strict";
const { spawn } = require("node:child_process");
const fs = require("node:fs");
const { httpServer } = require("./fixture/host-servers");
const { rejection, until } = require("./fixture/promises");
const { boot, output } = require("./fixture/vm");
const { AgentVm } = require("..");

test("host is the host's network: its ports, its interfaces, both ways", async () => {
  const port = await httpServer((_, response) => response.end("of the host"));
  const vm = await boot({ network: "host" });
  expect(await output(vm, `curl -sS http://127.0.0.1:${port}/`)).toBe("of the host");
  expect(await output(vm, "readlink /proc/self/ns/net")).toBe(`${fs.readlinkSync("/proc/self/ns/net")}\n`);
  expect(await output(vm, "env")).not.toMatch(/proxy/i);
  let printed = "";
  await vm.spawn("python3", ["-u", "-m", "http.server", "0", "--bind", "127.0.0.1"], {
    onStdout: (data) => (printed += data),
  });
  const served = await until(() => /port (\d+)/.exec(printed)?.[1]);
  expect((await fetch(`http://127.0.0.1:${served}/`)).status).toBe(200);
});

test("the host's names are resolved as the host resolves them", async () => {
  const vm = await boot({ network: "host", hostname: "my-agent" });
  expect(await output(vm, "cat /etc/resolv.conf")).toBe(fs.readFileSync("/etc/resolv.conf", "utf8"));
  const hosts = await output(vm, "cat /etc/hosts");
  expect(hosts).toContain(fs.readFileSync("/etc/hosts", "utf8"));
  expect(await output(vm, "getent hosts my-agent | awk '{ print $1 }'")).toMatch(/^(127\.0\.0\.1|::1)\n/);
});

test("everything but the network stays isolated", async () => {
  const vm = await boot({ network: "host" });
  const own = ["cgroup", "ipc", "mnt", "pid", "user", "uts"];
  for (const name of own) {
    expect(await output(vm, `readlink /proc/self/ns/${name}`)).not.toBe(
      `${fs.readlinkSync(`/proc/self/ns/${name}`)}\n`,
    );
  }
  // A setting of the host network, which only root on the host may write.
  expect((await vm.exec("echo 1 > /proc/sys/net/ipv4/ip_forward")).exitCode).not.toBe(0);
  expect(
    (await vm.exec("ip link set lo down || python3 -c 'import socket; socket.if_nameindex(); raise OSError'")).exitCode,
  ).not.toBe(0);
});

test("the host's abstract Unix sockets stay out of reach, and the VM's own work", async () => {
  const name = `agent-vm-test-${process.pid}`;
  const listen = `
import socket
for kind, suffix in ((socket.SOCK_STREAM, "stream"), (socket.SOCK_DGRAM, "datagram")):
    s = socket.socket(socket.AF_UNIX, kind); s.bind("\\0${name}-" + suffix); globals()[suffix] = s
stream.listen()
print("ready", flush=True)
input()`;
  const listener = spawn("python3", ["-c", listen]);
  try {
    await new Promise((resolve, reject) => {
      listener.stdout.once("data", resolve);
      listener.once("exit", () => reject(new Error("no listener")));
    });
    const vm = await boot({ network: "host" });
    const script = `
import socket
for kind, suffix in ((socket.SOCK_STREAM, "stream"), (socket.SOCK_DGRAM, "datagram")):
    s = socket.socket(socket.AF_UNIX, kind)
    try:
        s.connect("\\0${name}-" + suffix); print("connected")
    except OSError as error:
        print(error.strerror)
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
try:
    s.sendto(b"x", "\\0${name}-datagram"); print("sent")
except OSError as error:
    print(error.strerror)
own = socket.socket(socket.AF_UNIX); own.bind("\\0${name}-own"); own.listen()
socket.socket(socket.AF_UNIX).connect("\\0${name}-own"); print("own")`;
    expect((await vm.execFile("python3", ["-c", script])).stdout).toBe("Operation not permitted\n".repeat(3) + "own\n");
  } finally {
    listener.kill();
  }
});

test("isolation none has the host's network by default, and refuses every other network option", async () => {
  const own = fs.readlinkSync("/proc/self/ns/net");
  for (const options of [{}, { network: "host" }]) {
    expect(await output(await boot({ isolation: "none", ...options }), "readlink /proc/self/ns/net")).toBe(`${own}\n`);
  }
  for (const network of ["none", { allow: [] }]) {
    const error = await rejection(AgentVm.create({ isolation: "none", network }));
    expect(error.code).toBe("INVALID_ARGUMENT");
    expect(error.message).toMatch(/network .*isolation/);
  }
});
