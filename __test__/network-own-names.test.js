"use strict";
// The names of the VM's own servers: every client reaches them, by any name and with or without the proxy.

const { fetchingNode } = require("./fixture/fetching-node");
const { httpServer } = require("./fixture/host-servers");
const { until } = require("./fixture/promises");
const { boot, output } = require("./fixture/vm");

const NAMES = ["localhost", "127.0.0.1", "127.0.0.2", "0.0.0.0", "[::1]", "agent-vm", "ip6-localhost"];

const FETCH = `(async () => { for (const url of process.argv.slice(1)) console.log(await (await fetch(url)).text()); })()`;
const REQUESTS = `/usr/bin/python3 -c 'import sys; from pip._vendor import requests
for url in sys.argv[1:]: print(requests.get(url).text)' "$@"`;

/**
 * Commands that print the content of each URL in "$@", one line each. Those called "asked" use the proxy even for
 * NO_PROXY.
 */
const CLIENTS = {
  curl: `curl -sS -w '\n' "$@"`,
  "curl, asked": `curl -sS -w '\n' --noproxy '' "$@"`,
  "curl, asked for tunnels": `curl -sS -w '\n' --noproxy '' --proxytunnel "$@"`,
  "curl, asked by SOCKS": `curl -sS -w '\n' --noproxy '' --proxy socks5h://127.0.0.1:1080 "$@"`,
  wget: `for url; do wget -q -t 1 -O - $url; echo; done`,
  "wget, asked": `for url; do no_proxy= wget -q -t 1 -O - $url; echo; done`,
  urllib: `python3 -c 'import sys, urllib.request
for url in sys.argv[1:]: print(urllib.request.urlopen(url).read().decode())' "$@"`,
  requests: REQUESTS,
  "requests, asked": `export NO_PROXY= no_proxy=; ${REQUESTS}`,
  "fetch of Node.js": `node -e '${FETCH}' "$@"`,
  "fetch of Node.js that obeys the environment": `/opt/fetching-node --no-warnings -e '${FETCH}' "$@"`,
  "fetch of Node.js, asked": `NO_PROXY= no_proxy= /opt/fetching-node --no-warnings -e '${FETCH}' "$@"`,
};

const SERVER = `require("http").createServer((_, response) => response.end("of the VM")).listen(+process.argv[1], "::", () => console.log("up"))`;

/** A VM with a server that listens on `port`. */
async function serving(network, port, options) {
  const vm = await boot({ network, ...options });
  let printed = "";
  await vm.spawn("node", ["-e", SERVER, String(port)], { onStdout: (data) => (printed += data) });
  await until(() => printed.includes("up"));
  return vm;
}

async function reachesAll(network, command) {
  const vm = await serving(network, 8000, { mounts: [fetchingNode()] });
  const denied = [];
  vm.on("networkDenied", ({ host }) => denied.push(host));
  const urls = NAMES.map((name) => `http://${name}:8000/`);
  const { stdout, stderr } = await vm.exec(`set -- ${urls.map((url) => `'${url}'`).join(" ")}\n${command}`);
  expect({ stdout, stderr, denied }).toEqual({ stdout: "of the VM\n".repeat(NAMES.length), stderr: "", denied: [] });
}

test.each(Object.entries(CLIENTS))("%s reaches a server in the VM by each of its names", async (_, command) => {
  await reachesAll({ allow: ["registry.npmjs.org"] }, command);
});

test.each(["curl", "curl, asked"])('%s does so with network "public"', async (client) => {
  await reachesAll("public", CLIENTS[client]);
});

test("the proxy also serves subdomains of localhost, and addresses that contain the loopback's", async () => {
  const vm = await serving({ allow: [] }, 8000, { hostname: "Worker-1.example" });
  for (const name of [
    "app.localhost",
    "LOCALHOST.",
    "worker-1.example",
    "[::]",
    "[::ffff:127.0.0.1]",
    "ip6-loopback",
  ]) {
    const options = `--noproxy '' --proxy socks5h://127.0.0.1:1080`;
    expect([name, await output(vm, `curl -sS ${options} http://${name}:8000/`)]).toEqual([name, "of the VM"]);
  }
});

test("a server that listens on one address of the loopback is reached by that address", async () => {
  const vm = await boot({ network: { allow: [] } });
  const server = SERVER.replace('"::"', '"127.0.0.2"');
  let printed = "";
  await vm.spawn("node", ["-e", server, "8000"], { onStdout: (data) => (printed += data) });
  await until(() => printed.includes("up"));
  const ask = (name) => vm.exec(`curl -sS -w ' %{http_code}' --noproxy '' http://${name}:8000/`);
  expect((await ask("127.0.0.2")).stdout).toBe("of the VM 200");
  for (const name of ["127.0.0.1", "[::1]", "localhost"]) {
    expect((await ask(name)).stdout).toMatch(/no server in this VM was reached at .*refused.* 502$/s);
  }
});

test.each(["localhost", "127.0.0.1"])(
  "a listed %s is the host's at that port, and the VM's at others",
  async (name) => {
    const port = await httpServer((_, response) => response.end("of the host"));
    const vm = await serving({ allow: [`${name}:${port}`] }, 8000);
    expect(await output(vm, `curl -sS http://${name}:${port}/`)).toBe("of the host");
    expect(await output(vm, `curl -sS http://${name}:8000/`)).toBe("of the VM");
    expect(await output(vm, "curl -sS http://127.0.0.2:8000/")).toBe("of the VM");
  },
);

test.each(["localhost", "127.0.0.1"])("a %s that is listed without a port is the host's alone", async (name) => {
  const port = await httpServer((_, response) => response.end("of the host"));
  const vm = await serving({ allow: [name] }, port);
  expect(await output(vm, `curl -sS http://${name}:${port}/`)).toBe("of the host");
});

test("a port without a listener in the VM is a bad gateway, or a refusal where the list names the host's loopback", async () => {
  const [listed, other] = [await httpServer((_, response) => response.end("of the host")), 9999];
  const ask = "curl -sS -i --noproxy '' http://0.0.0.0:9999/";
  const without = await boot({ network: { allow: ["example.com"] } });
  expect(await output(without, ask)).toMatch(/^HTTP\/1.1 502 not reached \(connection refused\): 0.0.0.0:9999\r\n/);
  const vm = await boot({ network: { allow: [`localhost:${listed}`] } });
  const denied = [];
  vm.on("networkDenied", (event) => denied.push(event));
  expect(await output(vm, ask)).toMatch(/^HTTP\/1.1 403 not in network.allow: 0.0.0.0:9999\r\n/);
  expect(denied).toEqual([{ host: "0.0.0.0", port: other, reason: "it is not in the list of allowed destinations" }]);
});

test("a host name that is a suffix of other names does not exclude those from the proxy", async () => {
  const vm = await serving({ allow: ["example.com"] }, 8000, { hostname: "com" });
  expect(await output(vm, "echo $NO_PROXY")).toBe("localhost,127.0.0.1,::1,0.0.0.0,127.0.0.0/8\n");
  // The proxy was asked, and has looked the name up or tried to.
  expect((await vm.exec("curl -sS -v http://example.com:1/")).stderr).toContain("127.0.0.1 (127.0.0.1) port 1080");
  expect(await output(vm, "curl -sS http://com:8000/")).toBe("of the VM");
});
