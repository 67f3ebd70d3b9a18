// Does what a server does, under another runtime. Prints its results as JSON.
import { readdirSync } from "node:fs";
import { once } from "node:events";
import { setTimeout } from "node:timers/promises";
import { AgentVm } from "agent-vm";

const SERVER = `
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self, status, body, **headers):
        self.send_response(status)
        for name, value in headers.items(): self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        if self.path == "/redirect": self.answer(302, b"", location="/there")
        elif self.path == "/large": self.answer(200, b"x" * 3000000)
        else: self.answer(200, self.path.encode())
    def do_POST(self):
        self.answer(200, b"%d" % len(self.rfile.read(int(self.headers["content-length"]))))
    def log_message(self, *args): pass
http.server.ThreadingHTTPServer(("127.0.0.1", 8000), Handler).serve_forever()
`;

const isolation = process.argv[2];
const vm = await AgentVm.create({ isolation });
const found = {};
const { stdout, stderr, exitCode } = await vm.exec(
  `node --print 'process.versions.bun ?? process.versions.deno ?? process.version'`,
);
found.node = { stdout, stderr, exitCode };
const { shellId } = await vm.openShell();
await vm.writeShell(shellId, "exit 3\n");
found.shell = await vm.waitShell(shellId);
if (isolation === "namespaces") {
  await vm.writeFile("/home/user/server.py", SERVER);
  await vm.spawn("python3", ["server.py"]);
  await vm.exec("until curl --silent localhost:8000 >/dev/null; do sleep 0.05; done");
  const text = async (...args) => (await vm.fetch(8000, ...args)).text();
  found.get = await text("/some?query");
  found.redirected = await text("/redirect");
  found.large = (await text("/large")).length;
  found.posted = await text("/", { method: "POST", body: "y".repeat(2_000_000) });
  found.refused = await vm.connect(8001).then(
    () => "connected",
    ({ code }) => code,
  );
  const talk = async () => {
    const socket = await vm.connect(8000);
    let answer = "";
    socket.on("data", (data) => (answer += data));
    socket.write("GET /by-hand HTTP/1.0\r\n\r\n");
    await once(socket, "end");
    socket.destroy();
    await once(socket, "close");
    return answer.split("\r\n\r\n")[1];
  };
  found.connected = await talk();
  const descriptors = () => readdirSync("/proc/self/fd").length;
  const before = descriptors();
  for (let round = 0; round < 20; round++) await talk();
  // A runtime may close a socket's descriptor after the socket's event.
  for (let look = 0; look < 100 && descriptors() > before; look++) await setTimeout(100);
  found.leaked = Math.max(0, descriptors() - before);
  const open = await vm.connect(8000);
  const closed = once(open, "close");
  await vm.dispose();
  await closed;
  found.disposed = true;
} else {
  await vm.dispose();
}
console.log(JSON.stringify(found));
