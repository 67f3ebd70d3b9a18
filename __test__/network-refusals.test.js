"use strict";
// What agents' tools print when the network refuses a request, and that they do not retry without end.

const { boot } = require("./fixture/vm");

/** The exit code of a command, and its output on both streams. */
async function run(vm, command, options) {
  const { stdout, stderr, exitCode } = await vm.exec(command, options);
  return { said: `${stdout}${stderr}`, exitCode };
}

const NPM = "npm install --no-audit --no-fund --no-update-notifier left-pad";
const PIP = "/usr/bin/python3 -m pip install --disable-pip-version-check left-pad";

describe("without a network", () => {
  test("npm fails at its first attempt, instead of retrying for 71 seconds", async () => {
    const vm = await boot();
    const { said, exitCode } = await run(vm, `${NPM} --loglevel http`);
    expect(exitCode).not.toBe(0);
    expect(said).toMatch(/EAI_AGAIN|ENOTFOUND/);
    expect(said.match(/attempt \d+ failed/g)).toEqual(["attempt 1 failed"]);
  }, 120_000);

  test("pip fails after one retry, instead of retrying for 8 seconds", async () => {
    const vm = await boot();
    const { said, exitCode } = await run(vm, PIP);
    expect(exitCode).not.toBe(0);
    expect(said).toContain("No matching distribution found for left-pad");
    // It retries once, immediately, and only then prints what went wrong.
    expect(said.match(/Retrying/g)).toHaveLength(1);
    expect(said).toContain("name resolution");
  });

  test("the environment that the caller gives decides, for the VM and for one command", async () => {
    const vm = await boot({ env: { PIP_RETRIES: "2" } });
    expect((await run(vm, PIP)).said.match(/Retrying/g)).toHaveLength(2);
    const once = await run(vm, PIP, { env: { PIP_RETRIES: "0" } });
    expect(once.said).not.toContain("Retrying");
  });

  const VARIABLES = "npm_config_fetch_retries|PIP_RETRIES|UV_HTTP_RETRIES|YARN_HTTP_RETRY|CARGO_NET_RETRY";

  test("with a network, nothing keeps them from trying again", async () => {
    for (const network of ["public", { allow: ["example.com"] }, "host"]) {
      const vm = await boot({ network });
      expect((await vm.exec(`env | grep -E '^(${VARIABLES})='`)).stdout).toBe("");
    }
    expect((await (await boot()).exec(`env | grep -cE '^(${VARIABLES})=[01]$'`)).stdout).toBe("5\n");
  });
});

describe("a refused destination", () => {
  let vm;
  const reason = "not in network.allow: registry.example.com";
  beforeEach(async () => {
    vm = await boot({ network: { allow: ["example.com"] } });
  });

  test("npm prints why", async () => {
    const { said, exitCode } = await run(vm, `${NPM} --registry https://registry.example.com/`);
    expect(exitCode).not.toBe(0);
    expect(said).toContain(`403 ${reason}`);
  });

  test("pip prints why", async () => {
    const { said, exitCode } = await run(vm, `${PIP} --retries 1 --index-url https://registry.example.com/simple/`);
    expect(exitCode).not.toBe(0);
    expect(said).toContain(`Tunnel connection failed: 403 ${reason}:443`);
  });

  test.each(["http", "https"])("wget prints why, for %s", async (scheme) => {
    const { said, exitCode } = await run(vm, `wget -t 1 -O - ${scheme}://registry.example.com/`);
    expect(exitCode).not.toBe(0);
    expect(said).toContain(reason);
  });

  test("curl prints why where it prints status lines, and the body of what it did not tunnel", async () => {
    const tunnel = await run(vm, "curl -sSv https://registry.example.com/");
    expect(tunnel.exitCode).toBe(56);
    expect(tunnel.said).toContain(`< HTTP/1.1 403 ${reason}:443`);
    const plain = await run(vm, "curl -sSi http://registry.example.com/");
    expect(plain.said).toMatch(new RegExp(`^HTTP/1.1 403 ${reason}:80\\r\\n`));
    expect(plain.said).toContain("agent-vm: the VM's network option refuses registry.example.com:80: it is not in");
  });

  test("Python's urllib, and a Node.js program by its response, have it too", async () => {
    const python = `
import urllib.request
try: urllib.request.urlopen("https://registry.example.com/")
except OSError as error: print(error)`;
    expect((await vm.execFile("python3", ["-c", python])).stdout).toContain(`403 ${reason}:443`);
    const node = `require("http").request({ host: "127.0.0.1", port: 1080, method: "CONNECT", path: "registry.example.com:443" })
      .on("connect", (answer) => console.log(answer.statusCode, answer.statusMessage)).end()`;
    expect((await vm.execFile("node", ["-e", node])).stdout).toBe(`403 ${reason}:443\n`);
  });

  test("a name cannot add a line, or make a line longer than any name", async () => {
    const asked = `
import socket, sys
for name in [b"a\\r\\nSet-Cookie: b", b"a\\x1b[31m", b"\\xc3\\xa9.test", b"a" * 64 + b".test", b"a." * 200 + b"test", b".".join([b"a" * 60] * 4)]:
    s = socket.create_connection(("127.0.0.1", 1080))
    s.sendall(b"CONNECT " + name + b":443 HTTP/1.1\\r\\n\\r\\n")
    head = b"".join(iter(lambda: s.recv(4096), b"")).split(b"\\r\\n\\r\\n")[0].split(b"\\r\\n")
    assert len(head[0]) < 420 and all(32 <= byte < 127 for byte in head[0]), head
    assert [line.split(b":")[0] for line in head[1:]] == [b"Content-Type", b"Content-Length", b"Connection"], head
    print(head[0].decode()[:40])`;
    const { stdout, stderr } = await vm.execFile("python3", ["-c", asked]);
    expect(stderr).toBe("");
    expect(stdout.trim().split("\n")).toEqual([
      ...Array(5).fill("HTTP/1.1 400 Bad Request"),
      "HTTP/1.1 403 not in network.allow: aaaaa",
    ]);
  });
});
