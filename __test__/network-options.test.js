"use strict";
const { rejection } = require("./fixture/promises");
const { boot } = require("./fixture/vm");
const { AgentVm, AgentVmError } = require("..");

async function refused(network, ...words) {
  const error = await rejection(AgentVm.create({ network }));
  expect(error).toBeInstanceOf(AgentVmError);
  expect(error.code).toBe("INVALID_ARGUMENT");
  for (const word of words) expect(error.message).toContain(word);
}

test.each([["bridge"], [""], [1], [true], [null], [["none"]], [{}], [{ allow: "example.com" }], [{ allow: null }]])(
  "%j is no network",
  async (network) => {
    await refused(network, "network");
  },
);

test("a list with another member beside it is refused, by its name", async () => {
  await refused({ allow: [], deny: ["example.com"] }, "network", "deny");
});

test.each([
  [""],
  ["*", 'network to "public"'],
  ["*:443", 'network to "public"'],
  ["*."],
  ["."],
  ["a..b"],
  ["-a.test"],
  ["a b.test"],
  ["*.*.test"],
  ["a.*.test"],
  ["*a.test"],
  ["user@a.test"],
  ["a.test?x"],
  ["a.test/path"],
  ["a%2etest"],
  ["a\ntest"],
  ["a\0test"],
  ["https://a.test", "scheme"],
  ["a.test:", ""],
  ["a.test:0", "port"],
  ["a.test:65536", "port"],
  ["a.test:http"],
  ["a.test:80:80"],
  ["1.2.3"],
  ["127.1"],
  ["0x7f.0.0.1"],
  ["256.1.1.1"],
  ["10.0.0.0/33", "/32"],
  ["10.0.0.0/"],
  ["10.0.0.0/a"],
  ["fd00::/129", "/128"],
  ["fe80::1%eth0"],
  ["[fe80::1%25eth0]:80"],
  ["[::1", ""],
  ["[::1]x"],
  ["[10.0.0.1]:80", "IPv6"],
  ["[a.test]:80", "IPv6"],
  [`${"a".repeat(64)}.test`],
  [`${"a.".repeat(130)}test`],
])("%j is no destination", async (entry, ...words) => {
  await refused({ allow: ["example.com", entry] }, "network.allow[1]", "registry.npmjs.org", ...words);
});

test.each([[1], [undefined], [null], [{ host: "a.test" }]])("%j is no destination either", async (entry) => {
  await refused({ allow: [entry] }, "network.allow[0]", "string");
});

test("a list of more than 1,024 destinations is refused", async () => {
  await refused({ allow: Array.from({ length: 1025 }, (_, index) => `host-${index}.test`) }, "1024", "1025");
});

test("every form is taken", async () => {
  const allow = [
    "registry.npmjs.org",
    "registry.npmjs.org:443",
    "*.github.com",
    "*.github.com:443",
    "EXAMPLE.com.",
    "bücher.test",
    "under_score.test",
    "localhost:3000",
    "10.0.0.5",
    "10.0.0.5:5432",
    "10.0.0.0/8",
    "10.0.0.0/8:443",
    "0.0.0.0/0",
    "::1",
    "[::1]",
    "[::1]:80",
    "fd00::/8",
    "[fd00::/8]",
    "[fd00::/8]:443",
    "[fd00::]/8:443",
  ];
  const vm = await boot({ network: { allow } });
  expect((await vm.exec("true")).exitCode).toBe(0);
});

test("letters beyond ASCII are the name's encoded form", async () => {
  const vm = await boot({ network: { allow: ["bücher.invalid"] } });
  // Not refused, but the name does not resolve.
  const { stdout } = await vm.exec("curl -sS http://xn--bcher-kva.invalid/");
  expect(stdout).toContain("xn--bcher-kva.invalid was not resolved");
});
