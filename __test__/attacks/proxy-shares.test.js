"use strict";
// One VM takes as much of the proxy as it can: places for connections, and threads for look-ups. Other VMs are still
// served.

const { httpServer } = require("../fixture/host-servers");
const { resolving } = require("../fixture/resolver");
const { nodeScript, withFewDescriptors: few } = require("../fixture/server-process");
const { boot } = require("../fixture/vm");

/** Opens tunnels to `port` as fast as it can, keeps them, and replaces those that end. */
const hoarder = (port, count) => `
import select, socket, time
tunnels = []
while True:
    while len(tunnels) < ${count}:
        s = socket.create_connection(("127.0.0.1", 1080))
        s.sendall(b"CONNECT 127.0.0.1:${port} HTTP/1.1\\r\\n\\r\\n")
        s.setblocking(False)
        tunnels.append(s)
    for s in select.select(tunnels, [], [], 1)[0]:
        try:
            data = s.recv(4096)
            if b" 200 " in data: print("tunnel", flush=True)
        except OSError: data = b""
        if not data: tunnels.remove(s); s.close()`;

/**
 * A server with `limit` descriptors, 256 or more, with VMs that hoard connections and one VM that asks; resolves to the
 * JSON that it prints.
 */
async function withFewDescriptors(limit, hoarders, ask) {
  const server = nodeScript(
    `
    const http = require("node:http");
    const port = await new Promise((resolve) => {
      const server = http.createServer((request, response) => response.end("here"));
      server.listen(0, "127.0.0.1", () => resolve(server.address().port));
    });
    const network = { allow: ["127.0.0.1:" + port] };
    const all = [];
    for (let index = 0; index < ${hoarders}; index++) {
      const vm = await AgentVm.create({ network });
      all.push(vm);
      let tunnels = 0;
      vm.on("processOutput", ({ data }) => (tunnels += String(data).split("tunnel").length - 1));
      await vm.spawn("python3", ["-c", ${JSON.stringify(hoarder("PORT", 120))}.replace("PORT", port)]);
      // As many as it can get.
      for (let last = -1; last !== tunnels || tunnels === 0; ) {
        last = tunnels;
        await new Promise((resolve) => setTimeout(resolve, 300));
      }
    }
    const vm = await AgentVm.create({ network });
    all.push(vm);
    const answers = [];
    ${ask}
    console.log(JSON.stringify(answers));
    await Promise.all(all.map((one) => one.dispose()));
    process.exit();`,
    { prefix: few(limit) },
  );
  const { stdout, stderr, code } = await server.ended;
  expect({ stderr, code }).toEqual({ stderr: "", code: 0 });
  return JSON.parse(stdout);
}

test("idle tunnels of one VM do not keep another from its connections, however few descriptors there are", async () => {
  const ask = `
    for (let index = 0; index < 5; index++) {
      const { stdout } = await vm.exec("curl -sS --max-time 10 http://127.0.0.1:" + port + "/");
      answers.push(stdout);
    }`;
  expect(await withFewDescriptors(1024, 1, ask)).toEqual(Array(5).fill("here"));
});

test("a VM beside two that hoard holds a third of the places at once", async () => {
  // 32 places; each client holds ten connections at a time.
  const script = `
import socket, sys
tunnels = []
for _ in range(10):
    s = socket.create_connection(("127.0.0.1", 1080), 20)
    s.sendall(b"CONNECT 127.0.0.1:%d HTTP/1.1\\\\r\\\\n\\\\r\\\\n" % int(sys.argv[1]))
    assert b" 200 " in s.recv(4096)
    tunnels.append(s)
for s in tunnels:
    s.sendall(b"GET / HTTP/1.0\\\\r\\\\n\\\\r\\\\n")
    assert b"here" in b"".join(iter(lambda: s.recv(4096), b""))
print("all")`;
  const ask = `answers.push(await vm.execFile("python3", ["-c", \`${script}\`, String(port)]));`;
  const [{ stdout, stderr }] = await withFewDescriptors(256, 2, ask);
  expect({ stdout, stderr }).toEqual({ stdout: "all\n", stderr: "" });
});

test("slow look-ups of some VMs hold up no other's", async () => {
  const { stdout, stderr } = await resolving(
    `
    const server = http.createServer((request, response) => response.end("here")).listen(8000, "127.0.0.1");
    const network = { allow: ["*.slow.test", "quick.test", "127.0.0.1"] };
    const slow = [];
    for (let index = 0; index < 6; index++) {
      const vm = await AgentVm.create({ network });
      slow.push(vm);
      for (let name = 0; name < 8; name++) vm.exec("curl -s http://name-" + name + ".slow.test:8000/").catch(() => {});
    }
    // The maximum number of look-ups is running.
    while (new Set(asked.filter((name) => name.endsWith("slow.test"))).size < 4) await new Promise((go) => setTimeout(go, 10));
    await new Promise((go) => setTimeout(go, 500));
    const vm = await AgentVm.create({ network });
    const { stdout } = await vm.exec("curl -sS --max-time 4 http://quick.test:8000/");
    console.log(JSON.stringify({ stdout }));
    process.exit();`,
    { "quick.test": "127.0.0.1", "*.slow.test": "silence" },
  );
  expect({ stderr, ...JSON.parse(stdout) }).toEqual({ stderr: "", stdout: "here" });
});

test("an idle connection gives its place to one that sends a request", async () => {
  const port = await httpServer((_, response) => response.end("here"));
  const vm = await boot({ network: { allow: [`127.0.0.1:${port}`] } });
  // More connections than the VM may have, none of which sends anything: they end at the deadline for the head.
  const silent = `
import socket, time
held = []
for _ in range(128):
    held.append(socket.create_connection(("127.0.0.1", 1080)))
print("held", flush=True)
time.sleep(1000)`;
  await new Promise((resolve) => {
    vm.spawn("python3", ["-c", silent], { onStdout: resolve });
  });
  const { stdout } = await vm.exec(`curl -sS --max-time 50 http://127.0.0.1:${port}/`);
  expect(stdout).toBe("here");
});
