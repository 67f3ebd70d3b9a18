"use strict";
// Ranges that mean the internet must not allow addresses outside it: loopback, private networks, metadata services, and
// addresses of the host itself.

const { tcpServer } = require("../fixture/host-servers");
const { nodeScript } = require("../fixture/server-process");
const { boot, output } = require("../fixture/vm");

/** The status codes with which the proxy answers CONNECT to each host. */
async function connect(vm, hosts, port) {
  const script = `
import socket, sys
for host in sys.argv[2:]:
    s = socket.create_connection(("127.0.0.1", 1080))
    s.sendall(b"CONNECT %s:%s HTTP/1.1\\r\\n\\r\\n" % (host.encode(), sys.argv[1].encode()))
    print(s.recv(100).split()[1].decode())`;
  const { stdout, stderr } = await vm.execFile("python3", ["-c", script, String(port), ...hosts]);
  expect(stderr).toBe("");
  return stdout.trim().split("\n");
}

const SPECIAL = [
  "127.0.0.1",
  "127.1.2.3",
  "0.0.0.0",
  "10.0.0.1",
  "172.16.0.1",
  "192.168.0.1",
  "169.254.1.1",
  "169.254.169.254",
  "100.64.0.1",
  "100.100.100.200",
  "168.63.129.16",
  "192.0.0.192",
  "198.18.0.1",
  "192.0.2.1",
  "224.0.0.1",
  "255.255.255.255",
  "[::1]",
  "[::]",
  "[::ffff:127.0.0.1]",
  "[::ffff:10.0.0.1]",
  "[::ffff:169.254.169.254]",
  "[::127.0.0.1]",
  "[64:ff9b::7f00:1]",
  "[64:ff9b::a9fe:a9fe]",
  "[64:ff9b:1::7f00:1]",
  "[2002:7f00:1::1]",
  "[2002:a00:1::1]",
  "[2001:0:1::1]",
  "[fd00:ec2::254]",
  "[fd00::1]",
  "[fe80::1]",
  "[fec0::1]",
  "[ff02::1]",
];

test("ranges for the whole internet reach nothing that is not public", async () => {
  let visits = 0;
  const reasons = [];
  const port = await tcpServer((socket) => (visits++, socket.end()), "::");
  for (const allow of [
    ["0.0.0.0/0", "::/0"],
    ["0.0.0.0/1", "128.0.0.0/1", "::/1", "8000::/1"],
    [
      "0.0.0.0/4",
      "96.0.0.0/4",
      "160.0.0.0/3",
      "192.0.0.0/3",
      "::/8",
      "::ffff:0:0/96",
      "64:ff9b::/96",
      "2002::/16",
      "2001::/32",
    ],
  ]) {
    const vm = await boot({ network: { allow } });
    const denied = [];
    vm.on("networkDenied", ({ host, reason }) => denied.push([host, reason]));
    expect(await connect(vm, SPECIAL, port)).toEqual(SPECIAL.map(() => "403"));
    expect(denied).toHaveLength(SPECIAL.length);
    reasons.push(denied[0][1]);
  }
  expect(reasons[0]).toBe(
    "it is a loopback address, which only an entry for it or for a range of such addresses allows",
  );
  expect(visits).toBe(0);
});

test("a range around such addresses alone, and the address itself, reach them", async () => {
  const port = await tcpServer((socket) => socket.end("here"), "::");
  const both = ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]"];
  for (const allow of [
    ["127.0.0.0/8", "::1/128", "::ffff:127.0.0.0/104"],
    ["127.0.0.1", "::1", "::ffff:127.0.0.1"],
  ]) {
    const vm = await boot({ network: { allow } });
    expect(await connect(vm, both, port)).toEqual(["200", "200", "200"]);
  }
  const vm = await boot({ network: { allow: ["127.0.0.0/7", "::/127"] } });
  expect(await connect(vm, both, port)).toEqual(["403", "403", "403"]);
});

test("a metadata service is reached by its own address alone", async () => {
  const vm = await boot({ network: { allow: ["169.254.0.0/16", "fd00::/8", "100.64.0.0/10"] } });
  const hosts = ["169.254.169.254", "[fd00:ec2::254]", "100.100.100.200"];
  expect(await connect(vm, hosts, 1)).toEqual(["403", "403", "403"]);
});

test("with a range for the internet, the VM's own loopback still needs no proxy", async () => {
  const vm = await boot({ network: { allow: ["0.0.0.0/0", "::/0"] } });
  expect(await output(vm, "echo $NO_PROXY")).toBe("localhost,127.0.0.1,::1,0.0.0.0,127.0.0.0/8,agent-vm\n");
});

test("a public address of the host is reached only where it is listed itself", async () => {
  // In a network namespace of the server's own, whose loopback has a public address. No other host is contacted.
  const address = "93.184.216.1";
  const source = `
    const net = require("node:net");
    let visits = 0;
    const server = net.createServer((socket) => (visits++, socket.end("here")));
    await new Promise((resolve) => server.listen(0, "0.0.0.0", resolve));
    const { port } = server.address();
    const answers = [];
    for (const allow of [["0.0.0.0/0"], ["93.0.0.0/8"], ["own.test", "0.0.0.0/0"], ["own.test"], ["${address}"], ["own.test", "${address}"]]) {
      const vm = await AgentVm.create({ network: { allow } });
      const host = allow[0] === "own.test" ? "own.test" : "${address}";
      answers.push((await vm.exec("curl -s -o /dev/null -w %{http_connect} --proxytunnel http://" + host + ":" + port + "/")).stdout);
      await vm.dispose();
    }
    console.log(JSON.stringify({ answers, visits }));
    process.exit();`;
  const up = `
import fcntl, socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
fcntl.ioctl(s, 0x8914, struct.pack("16sH14x", b"lo", 0x49))
fcntl.ioctl(s, 0x8916, struct.pack("16sHH4s8x", b"lo:1", socket.AF_INET, 0, socket.inet_aton("${address}")))
fcntl.ioctl(s, 0x8914, struct.pack("16sH14x", b"lo:1", 0x49))`;
  const user = process.getuid() !== 0;
  const back = user ? `unshare --user --map-user=${process.getuid()} --map-group=${process.getgid()} -- ` : "";
  const prefix = [
    "unshare",
    ...(user ? ["--map-root-user"] : []),
    "--net",
    "sh",
    "-c",
    `python3 -c '${up}' && exec ${back}"$@"`,
    "sh",
  ];
  const { stdout, stderr } = await nodeScript(source, { prefix, hosts: `${address} own.test\n` }).ended;
  expect(stderr).toBe("");
  expect(JSON.parse(stdout)).toEqual({ answers: ["403", "403", "403", "403", "200", "200"], visits: 2 });
});
