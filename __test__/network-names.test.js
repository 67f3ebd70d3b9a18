"use strict";
// The host resolves names, here from the test's own /etc/hosts; the resolved addresses are checked too.

const { httpServer } = require("./fixture/host-servers");
const { nodeScript } = require("./fixture/server-process");

const HOSTS = `
127.0.0.1 localhost
127.0.0.1 loopback.test sub.domain.test deep.sub.domain.test domain.test evildomain.test
0.0.0.0 unspecified.test
10.1.2.3 private.test
100.64.0.1 provider.test
169.254.169.254 metadata.test
169.254.1.1 link-local.test
224.0.0.1 multicast.test
255.255.255.255 broadcast.test
::1 loopback6.test
fd00::1 private6.test
fe80::1 link-local6.test
ff02::1 multicast6.test
::ffff:127.0.0.1 mapped.test
64:ff9b::7f00:1 nat64.test
2002:7f00:1:: 6to4.test
127.0.0.1 mixed.test
10.1.2.3 mixed.test
`;

/** Requests each URL from a VM of a server with that /etc/hosts; resolves to the answers and the events. */
async function ask(allow, urls) {
  const script = nodeScript(
    `
    const vm = await AgentVm.create({ network: { allow: ${JSON.stringify(allow)} } });
    const denied = [];
    vm.on("networkDenied", (event) => denied.push(event));
    const answers = [];
    for (const url of ${JSON.stringify(urls)}) answers.push((await vm.exec("curl -sS --max-time 20 " + url)).stdout);
    console.log(JSON.stringify({ answers, denied }));
    await vm.dispose();`,
    { hosts: HOSTS },
  );
  const { stdout, stderr } = await script.ended;
  if (stdout === "") throw new Error(stderr);
  return JSON.parse(stdout);
}

let port;
beforeEach(async () => {
  port = await httpServer((request, response) => response.end(request.headers.host));
});

test("a listed name at a listed address is reached", async () => {
  const { answers, denied } = await ask(
    ["loopback.test", `*.domain.test:${port}`, `127.0.0.1:${port}`],
    [`http://loopback.test:${port}/`, `http://LOOPBACK.test.:${port}/`, `http://deep.sub.domain.test:${port}/`],
  );
  expect(answers.map((answer) => answer.toLowerCase().replace("test.:", "test:"))).toEqual([
    `loopback.test:${port}`,
    `loopback.test:${port}`,
    `deep.sub.domain.test:${port}`,
  ]);
  expect(denied).toEqual([]);
});

test("a listed *.domain allows its subdomains, but not the domain itself or names that merely end alike", async () => {
  const urls = ["domain.test", "evildomain.test", "loopback.test"].map((name) => `http://${name}:${port}/`);
  const { answers, denied } = await ask(["*.domain.test", "127.0.0.1"], urls);
  for (const answer of answers) expect(answer).toContain("not in the list");
  expect(denied.map(({ host }) => host)).toEqual(["domain.test", "evildomain.test", "loopback.test"]);
});

test("a name that is listed does not lead to an address that is not public and not listed", async () => {
  const kinds = {
    "loopback.test": "127.0.0.1 is a loopback address",
    "unspecified.test": "0.0.0.0 is an unspecified address",
    "private.test": "10.1.2.3 is a private address",
    "provider.test": "100.64.0.1 is a provider's private address",
    "metadata.test": "169.254.169.254 is a cloud's metadata service",
    "link-local.test": "169.254.1.1 is a link-local address",
    "multicast.test": "224.0.0.1 is a multicast address",
    "broadcast.test": "255.255.255.255 is a reserved address",
    "loopback6.test": "::1 is a loopback address",
    "private6.test": "fd00::1 is a private address",
    "link-local6.test": "fe80::1 is a link-local address",
    "multicast6.test": "ff02::1 is a multicast address",
    "mapped.test": "127.0.0.1 is a", // in either form that the resolver returns
    "nat64.test": "64:ff9b::7f00:1 is an IPv4 address inside an IPv6 address",
    "6to4.test": "2002:7f00:1:: is an IPv4 address inside an IPv6 address",
  };
  const names = Object.keys(kinds);
  // The addresses are listed, although for another port.
  const allow = ["*.test", "127.0.0.1:1", "169.254.169.254:1"];
  const { answers, denied } = await ask(
    allow,
    names.map((name) => `http://${name}:${port}/`),
  );
  expect(denied.map(({ host, port: to }) => `${host}:${to}`)).toEqual(names.map((name) => `${name}:${port}`));
  names.forEach((name, index) => {
    expect(denied[index].reason).toContain(kinds[name]);
    expect(answers[index]).toContain(denied[index].reason);
  });
});

test("of a name's addresses only those are used that may be", async () => {
  const { answers } = await ask(["mixed.test", `127.0.0.1:${port}`], [`http://mixed.test:${port}/`]);
  expect(answers).toEqual([`mixed.test:${port}`]);
});

test("a name that is not listed is not even looked up", async () => {
  const { answers, denied } = await ask(["loopback.test"], ["http://secret.of.the.guest.invalid/"]);
  expect(answers[0]).toContain("not in the list");
  expect(denied).toHaveLength(1);
});

test("a listed name that does not exist is a bad gateway", async () => {
  const { answers, denied } = await ask(["nobody.invalid"], ["http://nobody.invalid/"]);
  expect(answers[0]).toContain("the name nobody.invalid was not resolved");
  expect(denied).toEqual([]);
});
