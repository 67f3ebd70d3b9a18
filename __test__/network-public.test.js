"use strict";
// The network "public": the internet, here a separate one made by the test, and nothing of the host's networks.

const { NOT_PUBLIC, NOT_PUBLIC6, PUBLIC, PUBLIC6, online } = require("./fixture/internet");
const { rejection } = require("./fixture/promises");
const { boot, output } = require("./fixture/vm");
const { AgentVm } = require("..");

const HOSTS = `
127.0.0.1 localhost loopback.example.com
${PUBLIC} registry.npmjs.org www.example.com mixed.example.com intranet db.internal printer.local router.home.arpa
10.1.2.3 private.example.com mixed.example.com
169.254.169.254 metadata.google.internal metadata.example.com
fd00:ec2::254 metadata6.example.com
${PUBLIC6} six.example.com
64:ff9b::10.1.2.3 nat64-private.example.com
64:ff9b::${PUBLIC} nat64.example.com
::ffff:10.1.2.3 mapped.example.com
2002:a01:203:: 6to4.example.com
2001:0:1::1 teredo.example.com
`;

/** The JSON that a script prints in a server with a VM, on a host that is connected to that internet. */
async function on(source, records) {
  const whole = `
    const vm = await AgentVm.create({ network: "public" });
    const denied = [];
    vm.on("networkDenied", (event) => denied.push(event));
    const get = async (url) => (await vm.exec("curl -sS --max-time 20 " + url)).stdout;
    ${source}
    process.exit();`;
  const { stdout, stderr } = await online(whole, records, { hosts: HOSTS });
  if (stdout === "") throw new Error(stderr);
  return JSON.parse(stdout);
}

test("public names and addresses are reached, on every port, over HTTP, by tunnels and by SOCKS", async () => {
  const { answers, denied } = await on(
    `
    const answers = [
      await get("http://www.example.com/"),
      await get("http://${PUBLIC}/"),
      await get("http://six.example.com/"),
      await get("http://[${PUBLIC6}]/"),
      await get("http://dns.example.org/"),
      await get("--proxytunnel http://www.example.com/"),
      await get("--proxy socks5h://127.0.0.1:1080 http://www.example.com/"),
      await get("-o /dev/null -w '%{http_code}' http://www.example.com:81/"),
    ];
    console.log(JSON.stringify({ answers, denied }));`,
    { "dns.example.org": PUBLIC },
  );
  expect(answers).toEqual([
    `at ${PUBLIC}`,
    `at ${PUBLIC}`,
    `at ${PUBLIC6}`,
    `at ${PUBLIC6}`,
    `at ${PUBLIC}`,
    `at ${PUBLIC}`,
    `at ${PUBLIC}`,
    "502",
  ]);
  expect(denied).toEqual([]);
});

test("npm installs from its registry, without an option but the network's", async () => {
  const { result, denied } = await on(`
    const script = "npm config set registry http://registry.npmjs.org && npm install --no-audit tiny-package && node -p 'require(\`tiny-package\`)'";
    const result = await vm.exec(script);
    console.log(JSON.stringify({ result, denied }));`);
  expect(result).toMatchObject({ exitCode: 0 });
  expect(result.stdout).toMatch(/installed\n$/);
  expect(denied).toEqual([]);
});

test("addresses that are not public are refused, directly and by name, although the host reaches them", async () => {
  const names = {
    "loopback.example.com": "127.0.0.1 is a loopback address",
    "private.example.com": "10.1.2.3 is a private address",
    "metadata.example.com": "169.254.169.254 is a cloud's metadata service",
    "metadata6.example.com": "fd00:ec2::254 is a cloud's metadata service",
    "nat64-private.example.com": "64:ff9b::a01:203 is an IPv4 address inside an IPv6 address",
    "mapped.example.com": "10.1.2.3 is ", // in either form that the resolver returns
    "6to4.example.com": "2002:a01:203:: is an IPv4 address inside an IPv6 address",
    "teredo.example.com": "2001:0:1::1 is an IPv4 address inside an IPv6 address",
    "dns.example.org": "192.168.0.1 is a private address",
    "rebound.example.org": "10.1.2.3 is a private address",
    intranet: "not a public name",
    "db.internal": "not a public name",
    "metadata.google.internal": "not a public name",
    "printer.local": "not a public name",
    "router.home.arpa": "not a public name",
  };
  const addresses = [...NOT_PUBLIC, ...NOT_PUBLIC6.map((address) => `[${address}]`)];
  const forms = [
    "[::ffff:10.1.2.3]",
    "[64:ff9b::10.1.2.3]",
    "[2002:a01:203::]",
    "[2001:0:1::1]",
    "224.0.0.1",
    "255.255.255.255",
  ];
  const hosts = [...addresses, ...forms, ...Object.keys(names)];
  const { reached, answers, denied } = await on(
    `
    // The host itself reaches all of them.
    const reached = [];
    for (const address of ${JSON.stringify(addresses)}) reached.push(await (await fetch("http://" + address + "/")).text());
    const answers = [];
    for (const host of ${JSON.stringify(hosts)}) answers.push(await get("-i http://" + host + "/"));
    console.log(JSON.stringify({ reached, answers, denied }));`,
    { "dns.example.org": "192.168.0.1", "rebound.example.org": "10.1.2.3" },
  );
  expect(reached).toEqual([...NOT_PUBLIC, ...NOT_PUBLIC6].map((address) => `at ${address}`));
  expect(answers.map((answer) => answer.slice(0, 13))).toEqual(hosts.map(() => "HTTP/1.1 403 "));
  expect(denied.map(({ host }) => host)).toEqual(
    hosts
      .map((host) => host.replace(/[[\]]/g, ""))
      .map((host) => ({ "::ffff:10.1.2.3": "::ffff:10.1.2.3", "64:ff9b::10.1.2.3": "64:ff9b::a01:203" })[host] ?? host),
  );
  Object.entries(names).forEach(([, reason], index) => {
    expect(denied[addresses.length + forms.length + index].reason).toContain(reason);
  });
  // The program does not learn addresses in private networks.
  expect(answers[hosts.indexOf("private.example.com")]).toMatch(
    /^HTTP\/1.1 403 leads to a private address, not to a public one: private.example.com:80\r\n/,
  );
  for (const answer of answers.slice(addresses.length + forms.length)) {
    expect(answer).not.toMatch(/10\.1\.2\.3|192\.168|169\.254/);
  }
});

test("of a name's addresses the public ones are used, and the one that was checked is the one that is connected to", async () => {
  const { mixed, first, later, visits, asked } = await on(
    `
    let visits = 0;
    http.createServer((request, response) => (visits++, response.end("of the host"))).listen(80, "127.0.0.1");
    const mixed = await get("http://mixed.example.com/");
    const first = await get("http://rebinding.example.org/");
    const questions = asked.length;
    const later = await get("-i http://rebinding.example.org/");
    console.log(JSON.stringify({ mixed, first, later, visits, asked: asked.slice(0, questions) }));`,
    // The first question gets a public address, all others the loopback.
    { "rebinding.example.org": [PUBLIC, "127.0.0.1"] },
  );
  expect({ mixed, first, visits }).toEqual({ mixed: `at ${PUBLIC}`, first: `at ${PUBLIC}`, visits: 0 });
  // Once for IPv4 and once for IPv6.
  expect(asked).toEqual(["rebinding.example.org", "rebinding.example.org"]);
  expect(later).toMatch(/^HTTP\/1.1 403 leads to a loopback address/);
});

test("a public address that the host itself has, or that its routes deliver to itself, is refused", async () => {
  const { answers, visits } = await on(
    `
    let visits = 0;
    http.createServer((request, response) => (visits++, response.end("of the host"))).listen(80, "0.0.0.0");
    const answers = [];
    for (const host of ["own.example.org", "delivered.example.org", "93.184.216.40", "93.184.216.41"]) answers.push(await get("-i http://" + host + "/"));
    console.log(JSON.stringify({ answers, visits }));`,
    { "own.example.org": "93.184.216.40", "delivered.example.org": "93.184.216.41" },
  );
  expect(answers.map((answer) => answer.split("\r\n")[0])).toEqual([
    "HTTP/1.1 403 leads to an address of the host itself, not to a public one: own.example.org:80",
    "HTTP/1.1 403 leads to an address of the host itself, not to a public one: delivered.example.org:80",
    "HTTP/1.1 403 not public but an address of the host itself: 93.184.216.40:80",
    "HTTP/1.1 403 not public but an address of the host itself: 93.184.216.41:80",
  ]);
  expect(visits).toBe(0);
});

test("a name that a network without IPv4 has at NAT64's prefix is public if the address behind it is", async () => {
  // This network has no NAT64: the address is tried and not refused.
  const { answer, denied } = await on(`
    const answer = await get("-i http://nat64.example.com/");
    console.log(JSON.stringify({ answer, denied }));`);
  expect(answer).toMatch(/^HTTP\/1.1 502 not reached \(host unreachable\): nat64.example.com:80\r\n/);
  expect(denied).toEqual([]);
});

test("there is no other way out, and nothing else reads the host's names", async () => {
  const vm = await boot({ network: "public" });
  const script = `
import socket
for address in ("1.1.1.1", "127.0.0.53"):
    try: socket.create_connection((address, 53), 5); print("connected")
    except OSError as error: print(error.strerror)
try: socket.getaddrinfo("example.com", 443); print("resolved")
except OSError: print("no name")`;
  expect((await vm.execFile("python3", ["-c", script])).stdout).toBe(
    "Network is unreachable\nConnection refused\nno name\n",
  );
  expect(await output(vm, "cat /etc/resolv.conf")).toBe("");
});

test.each(["landlock", "none"])('isolation %s has no network "public", and says so', async (isolation) => {
  const error = await rejection(AgentVm.create({ isolation, network: "public" }));
  expect(error).toMatchObject({ code: "INVALID_ARGUMENT" });
  expect(error.message).toMatch(/network .*isolation/);
});
