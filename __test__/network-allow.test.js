"use strict";
const { execFileSync } = require("node:child_process");
const crypto = require("node:crypto");
const fs = require("node:fs");
const https = require("node:https");
const os = require("node:os");
const path = require("node:path");
const { freePort, httpServer, started, tcpServer } = require("./fixture/host-servers");
const { until } = require("./fixture/promises");
const { boot, output } = require("./fixture/vm");

/** A VM with these destinations, and a list of what it was refused. */
async function allowed(...allow) {
  const vm = await boot({ network: { allow } });
  const denied = [];
  vm.on("networkDenied", (event) => denied.push(event));
  return { vm, denied };
}

/** Sends all of `input` through a CONNECT tunnel in the VM, ends its side, and prints the answer. */
const tunnel = (port) => `
import socket, sys
s = socket.create_connection(("127.0.0.1", 1080))
s.sendall(b"CONNECT 127.0.0.1:${port} HTTP/1.1\\r\\n\\r\\n")
head = b""
while not head.endswith(b"\\r\\n\\r\\n"): head += s.recv(1)
assert b" 200 " in head, head
s.sendall(sys.stdin.buffer.read())
s.shutdown(socket.SHUT_WR)
while data := s.recv(65536): sys.stdout.buffer.write(data)`;

test("a listed destination is reached, and gets the request unchanged", async () => {
  const requests = [];
  const port = await httpServer((request, response) => {
    const { "proxy-connection": proxy, host } = request.headers;
    requests.push([request.method, request.url, host, proxy]);
    response.end(`answer to ${request.url}`);
  });
  const { vm, denied } = await allowed(`127.0.0.1:${port}`);
  expect(await output(vm, `curl -sS http://127.0.0.1:${port}/a?b=c`)).toBe("answer to /a?b=c");
  expect(await output(vm, `curl -sS -X PUT -d x http://127.0.0.1:${port}/put`)).toBe("answer to /put");
  expect(await output(vm, `curl -sS --proxytunnel http://127.0.0.1:${port}/tunnel`)).toBe("answer to /tunnel");
  expect(await output(vm, `curl -sS --proxy socks5h://127.0.0.1:1080 http://127.0.0.1:${port}/socks`)).toBe(
    "answer to /socks",
  );
  expect(requests).toEqual([
    ["GET", "/a?b=c", `127.0.0.1:${port}`, undefined],
    ["PUT", "/put", `127.0.0.1:${port}`, undefined],
    ["GET", "/tunnel", `127.0.0.1:${port}`, undefined],
    ["GET", "/socks", `127.0.0.1:${port}`, undefined],
  ]);
  expect(denied).toEqual([]);
});

test("a listed localhost is the host's", async () => {
  const port = await httpServer((request, response) => response.end(request.headers.host));
  const { vm } = await allowed(`localhost:${port}`);
  expect(await output(vm, `curl -sS http://localhost:${port}/`)).toBe(`localhost:${port}`);
  // 127.0.0.1 is not listed, so it is still the VM's own.
  expect((await vm.exec(`curl -sS http://127.0.0.1:${port}/`)).stderr).toContain("Failed to connect");
});

test("an entry without a port means every port, and a range all its addresses", async () => {
  const port = await httpServer((request, response) => response.end("here"));
  for (const entry of ["127.0.0.1", "127.0.0.0/8", `127.0.0.0/8:${port}`]) {
    const { vm } = await allowed(entry);
    expect(await output(vm, `curl -sS http://127.0.0.1:${port}/`)).toBe("here");
  }
});

test("https passes through, and the certificate is the server's own", async () => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "agent-vm-test-"));
  try {
    const [key, cert] = ["key.pem", "cert.pem"].map((name) => path.join(directory, name));
    const request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test";
    const files = ["-keyout", key, "-out", cert, "-addext", "subjectAltName=IP:127.0.0.1"];
    execFileSync("openssl", [...request.split(" "), ...files], { stdio: "ignore" });
    const options = { key: fs.readFileSync(key), cert: fs.readFileSync(cert) };
    const port = await started(https.createServer(options, (_, response) => response.end("secret")));
    const { vm } = await allowed(`127.0.0.1:${port}`);
    await vm.writeFile("/home/user/cert.pem", options.cert);
    expect(await output(vm, `curl -sS --cacert cert.pem https://127.0.0.1:${port}/`)).toBe("secret");
    const distrusting = await vm.exec(`curl -sS https://127.0.0.1:${port}/`);
    expect(distrusting).toMatchObject({ exitCode: 60, stdout: "" });
  } finally {
    fs.rmSync(directory, { recursive: true });
  }
});

test("megabytes pass completely in both directions, and the end of one side leaves the other open", async () => {
  const port = await tcpServer((socket) => {
    const hash = crypto.createHash("sha256");
    socket.on("data", (data) => hash.update(data));
    // The server responds only after the VM's side has ended.
    socket.on("end", () => socket.end(`${hash.digest("hex")}${"x".repeat(3_000_000)}`));
  });
  const { vm } = await allowed(`127.0.0.1:${port}`);
  const sent = crypto.randomBytes(5_000_000);
  const { stdout, stderr } = await vm.execFile("python3", ["-c", tunnel(port)], { stdin: sent });
  expect(stderr).toBe("");
  expect(stdout.slice(0, 64)).toBe(crypto.createHash("sha256").update(sent).digest("hex"));
  expect(stdout.length).toBe(64 + 3_000_000);
});

test("a destination that is not listed is refused, with the reason to the program and an event to the server", async () => {
  const [listed, other] = [await httpServer((_, response) => response.end()), await freePort()];
  const { vm, denied } = await allowed(`127.0.0.1:${listed}`, "*.example.com:443");
  const reason = "it is not in the list of allowed destinations";
  const plain = await vm.exec(`curl -sS -w ' %{http_code}' http://127.0.0.1:${other}/`);
  expect(plain.stdout).toBe(`agent-vm: the VM's network option refuses 127.0.0.1:${other}: ${reason}\n 403`);
  expect((await vm.exec("curl -sS https://evil.test/")).stderr).toContain("403");
  expect((await vm.exec("curl -sS http://www.example.com/")).stdout).toContain("refuses www.example.com:80");
  // SOCKS reply 2: not allowed by the rules.
  const socks = await vm.exec("curl -sS --proxy socks5h://127.0.0.1:1080 http://10.0.0.1:99/");
  expect(socks).toMatchObject({ exitCode: 97, stdout: "" });
  expect(socks.stderr).toContain("(2)");
  expect(denied).toEqual([
    { host: "127.0.0.1", port: other, reason },
    { host: "evil.test", port: 443, reason },
    { host: "www.example.com", port: 80, reason },
    { host: "10.0.0.1", port: 99, reason },
  ]);
});

test.each([
  "127.1",
  "2130706433",
  "0x7f000001",
  "0177.0.0.1",
  "[::ffff:127.0.0.1]",
  "[::ffff:7f00:1]",
  "[::1]",
  "0.0.0.0",
])("%s does not lead to a loopback that is not listed by that name", async (spelling) => {
  let visits = 0;
  const port = await tcpServer((socket) => (visits++, socket.end()), "::");
  const { vm, denied } = await allowed(`localhost:${port}`, "1.1.1.1");
  const ask = (request) =>
    `printf '${request} HTTP/1.1\\r\\n\\r\\n' | timeout 20 bash -c 'exec 3<>/dev/tcp/127.0.0.1/1080; cat >&3; cat <&3'`;
  expect(await output(vm, ask(`GET http://${spelling}:${port}/`))).toContain(" 403 ");
  expect(await output(vm, ask(`CONNECT ${spelling}:${port}`))).toContain(" 403 ");
  const socks = await vm.exec(`curl -sS --noproxy '' --proxy socks5h://127.0.0.1:1080 http://${spelling}:${port}/`);
  expect(socks).toMatchObject({ exitCode: 97, stdout: "" });
  expect(denied).toHaveLength(3);
  expect(visits).toBe(0);
});

test("an empty list refuses everything", async () => {
  const { vm, denied } = await allowed();
  expect((await vm.exec("curl -sS https://localhost.test/")).exitCode).toBe(56);
  expect(denied).toMatchObject([{ host: "localhost.test", port: 443 }]);
});

test("without the proxy nothing is reachable: no route, no names, no datagrams", async () => {
  const port = await httpServer((_, response) => response.end("here"));
  const { vm } = await allowed(`127.0.0.1:${port}`, "example.com");
  const script = `
import socket
for kind, address in ((socket.SOCK_STREAM, ("1.1.1.1", 443)), (socket.SOCK_DGRAM, ("1.1.1.1", 53))):
    s = socket.socket(socket.AF_INET, kind)
    try:
        s.connect(address); s.send(b"x"); print("sent")
    except OSError as error:
        print(error.strerror)
try:
    socket.getaddrinfo("example.com", 443); print("resolved")
except OSError as error:
    print("no name")`;
  expect((await vm.execFile("python3", ["-c", script])).stdout).toBe(
    "Network is unreachable\nNetwork is unreachable\nno name\n",
  );
  expect((await vm.exec(`curl -sS --noproxy '*' http://127.0.0.1:${port}/`)).stderr).toContain("Failed to connect");
});

test("environment variables name the proxy, and exclude the VM's own loopback from it", async () => {
  const { vm } = await allowed("example.com");
  const printed = await output(vm, "env | grep -i proxy | sort");
  const proxy = "http://127.0.0.1:1080";
  const variables = ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "all_proxy", "http_proxy", "https_proxy"];
  expect(
    Object.fromEntries(
      printed
        .trim()
        .split("\n")
        .map((line) => line.split("=")),
    ),
  ).toEqual({
    ...Object.fromEntries(variables.map((name) => [name, proxy])),
    NO_PROXY: "localhost,127.0.0.1,::1,0.0.0.0,127.0.0.0/8,agent-vm",
    no_proxy: "localhost,127.0.0.1,::1,0.0.0.0,127.0.0.0/8,agent-vm",
    NODE_USE_ENV_PROXY: "1",
  });
  await vm.spawn("python3", ["-m", "http.server", "8000", "--bind", "127.0.0.1"]);
  await until(async () => (await vm.exec("curl -sS http://localhost:8000/")).exitCode === 0);
});

test("bytes that are no proxy request get an error response, and a head without end is cut off", async () => {
  const { vm, denied } = await allowed("example.com");
  const ask = `timeout 20 bash -c 'exec 3<>/dev/tcp/127.0.0.1/1080; cat >&3; cat <&3'`;
  for (const [request, status] of [
    ["GET / HTTP/1.1\r\nHost: example.com\r\n\r\n", "400"],
    ["GET ftp://example.com/ HTTP/1.1\r\n\r\n", "400"],
    ["CONNECT example.com HTTP/1.1\r\n\r\n", "400"],
    ["\x16\x03\x01nonsense\r\n\r\n", "400"],
    [`GET http://example.com/ HTTP/1.1\r\nA: ${"a".repeat(80_000)}`, "431"],
  ]) {
    const { stdout } = await vm.exec(ask, { stdin: request });
    expect(stdout.slice(0, 13)).toBe(`HTTP/1.1 ${status} `);
  }
  expect(denied).toEqual([]);
});

test("a destination without a listener is a bad gateway, not a refusal", async () => {
  const port = await freePort();
  const { vm, denied } = await allowed(`127.0.0.1:${port}`);
  const { stdout } = await vm.exec(`curl -sS -w ' %{http_code}' http://127.0.0.1:${port}/`);
  expect(stdout).toMatch(/was not reached: .*refused.* 502$/s);
  const socks = await vm.exec(`curl -sS --proxy socks5h://127.0.0.1:1080 http://127.0.0.1:${port}/`);
  expect(socks.stderr).toContain("(5)");
  expect(denied).toEqual([]);
});
