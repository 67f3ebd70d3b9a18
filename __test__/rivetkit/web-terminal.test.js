"use strict";
// examples/web-terminal in a real browser: Debian's Chromium, headless.

const { createServer, get } = require("node:http");
const { chromium } = require("playwright-core");
const { WebSocket } = require("ws");
const { afterFile } = require("../fixture/cleanup");
const { directoryForFile } = require("../fixture/directory");
const { until } = require("../fixture/promises");
const { startServer } = require("../fixture/rivetkit/servers");

let browser;
let page;
let url;
let server;

const shown = () => page.locator(".xterm-rows").innerText();
/** Polls until `holds`; an error contains what the page showed. */
const eventually = (holds) =>
  until(holds).catch(async (error) => {
    throw new Error(`${error.message}\nThe page shows:\n${await shown()}`);
  });
const connected = () => page.getByText("connected", { exact: true }).waitFor({ timeout: 20_000 });
async function type(line) {
  await page.keyboard.type(line);
  await page.keyboard.press("Enter");
}

beforeAll(async () => {
  server = await startServer({ script: "../../../examples/web-terminal/server.mjs", env: { PORT: "0" } });
  browser = await chromium.launchPersistentContext(directoryForFile(), {
    executablePath: "/usr/bin/chromium",
    viewport: { width: 1000, height: 600 },
    args: [
      // Chromium's own sandbox needs system calls that it refuses to make as root.
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
  // Before its directory is removed, which was asked for earlier.
  afterFile(() => browser.close());
  page = await browser.newPage();
  [url] = await server.line(/http:\S+/);
  await page.goto(url);
  await connected();
});

test("what is typed in the page runs in the VM's shell, and its output is shown", async () => {
  await type('echo "I am $(id -un) in $PWD: $((6 * 7))"');
  await eventually(async () => (await shown()).includes("I am user in /home/user: 42"));
});

test("the shell's terminal has the size of the page's, also when that changes", async () => {
  for (const width of [1000, 700]) {
    await page.setViewportSize({ width, height: 600 });
    const size = page.locator("#size");
    await eventually(async () => Number((await size.innerText()).split("×")[0]) < width / 8);
    const [cols, rows] = (await size.innerText()).split("×");
    await type("clear; stty size");
    await eventually(async () => (await shown()).includes(`${rows} ${cols}`));
  }
});

test("a reload shows the same shell with its history, and the shell still works", async () => {
  await type("kept=alive; echo before the $((1)) reload");
  await eventually(async () => (await shown()).includes("before the 1 reload"));
  const before = await shown();
  await page.reload();
  await connected();
  await eventually(async () => (await shown()).includes(before.trimEnd()));
  await type("echo $kept after");
  await eventually(async () => (await shown()).includes("alive after"));
});

test("after the user exits a shell, the page says so, and Enter opens another", async () => {
  await type("exit 3");
  await eventually(async () => (await shown()).includes("[exited with 3: press Enter for a new shell]"));
  await page.keyboard.press("Enter");
  await connected();
  await type("echo kept:$kept.");
  await eventually(async () => (await shown()).includes("kept:."));
});

/** What a page at that address shows about its connection, and whether it has a shell. */
async function opened(address) {
  const other = await browser.newPage();
  try {
    await other.goto(address);
    const lamp = other.locator(".lamp.good, .lamp.bad");
    await lamp.waitFor({ timeout: 30_000 });
    return await lamp.getAttribute("class");
  } finally {
    await other.close();
  }
}

test("the same page from another origin gets no connection, even with the token", async () => {
  const content = new Map();
  for (const path of ["/", "/page.js", "/page.css"]) {
    const response = await fetch(url + path);
    content.set(path, { type: response.headers.get("content-type"), body: await response.text() });
  }
  expect(content.get("/").body).toMatch(/name="agent-token" content="[0-9a-f]{64}"/);
  const copy = createServer((request, response) => {
    const { type = "text/plain", body = "" } = content.get(request.url) ?? {};
    response.writeHead(200, { "content-type": type }).end(body);
  });
  await new Promise((resolve) => copy.listen(0, "127.0.0.1", resolve));
  try {
    expect(await opened(`http://127.0.0.1:${copy.address().port}/#other-origin`)).toBe("lamp bad");
  } finally {
    copy.closeAllConnections();
    copy.close();
  }
});

test("a connection needs the page's origin and its token, both", async () => {
  const { endpoint } = server.engine;
  const { actors } = await (await fetch(`${endpoint}/actors?namespace=default&name=vm`)).json();
  const [, token] = /name="agent-token" content="([0-9a-f]{64})"/.exec(await (await fetch(url)).text());
  const connect = (origin, given) =>
    new Promise((resolve) => {
      const params = encodeURIComponent(JSON.stringify(given));
      const protocols = ["rivet", "rivet_encoding.json", `rivet_conn_params.${params}`];
      const address = `${endpoint.replace("http", "ws")}/gateway/${actors[0].actor_id}/connect`;
      const socket = new WebSocket(address, protocols, { origin });
      const ended = (answer) => (socket.close(), resolve(answer));
      socket.once("message", (data) => ended(JSON.parse(data).body.tag));
      socket.once("close", () => ended("closed"));
      socket.once("error", () => ended("closed"));
    });
  const post = async (origin, given) => {
    const response = await fetch(`${endpoint}/gateway/${actors[0].actor_id}/action/exec`, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        "x-rivet-encoding": "json",
        "x-rivet-conn-params": JSON.stringify(given),
        ...(origin ? { origin } : {}),
      },
      body: JSON.stringify({ args: ["true"] }),
    });
    return response.status;
  };
  expect(await connect(url, { token })).toBe("Init");
  expect(await post(url, { token })).toBe(200);
  for (const [origin, given] of [
    [url, { token: "0".repeat(64) }],
    [url, { token: "" }],
    [url, { token: [token] }],
    [url, {}],
    [url, null],
    ["http://evil.example", { token }],
    ["null", { token }],
    [undefined, { token }],
  ]) {
    expect([origin, given, await connect(origin, given)]).not.toContain("Init");
    expect([origin, given, await post(origin, given)]).toContain(500);
  }
});

test("a page of another origin cannot read the token, also under a name that leads to this machine", async () => {
  const seen = await server.evaluate(async ({ client, failure }) => {
    const calls = [{}, { token: "" }, { token: 5 }, undefined].map((params) =>
      failure(client.vm.getOrCreate(["no-page"], { params }).exec("true")),
    );
    return Promise.all(calls);
  });
  for (const each of seen) expect(each).not.toHaveProperty("resolved");

  const other = await browser.newPage();
  try {
    await other.goto("about:blank");
    const read = await other.evaluate((address) => fetch(address).then((response) => response.text(), String), url);
    expect(read).toMatch(/Failed to fetch/);
  } finally {
    await other.close();
  }
  const status = await new Promise((resolve, reject) => {
    get(url, { headers: { host: "rebound.example" } }, (response) => {
      response.resume();
      resolve(response.statusCode);
    }).on("error", reject);
  });
  expect(status).toBe(421);
});
