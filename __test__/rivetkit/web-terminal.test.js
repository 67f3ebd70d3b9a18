"use strict";
// examples/web-terminal in a real browser: Debian's Chromium, without a window.

const { chromium } = require("playwright-core");
const { startServer, temporaryFolder } = require("./fixture");

let browser;
let page;
afterAll(() => browser?.close());

const shown = () => page.locator(".xterm-rows").innerText();
async function until(holds) {
  for (const end = Date.now() + 20_000; !(await holds());) {
    if (Date.now() > end) throw new Error(`Not in 20 s: ${holds}\nThe page shows:\n${await shown()}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
const connected = () => page.getByText("connected", { exact: true }).waitFor({ timeout: 20_000 });
async function type(line) {
  await page.keyboard.type(line);
  await page.keyboard.press("Enter");
}

beforeAll(async () => {
  const server = await startServer({ script: "../../../examples/web-terminal/server.mjs", env: { PORT: "0" } });
  browser = await chromium.launchPersistentContext(temporaryFolder(), {
    executablePath: "/usr/bin/chromium",
    viewport: { width: 1000, height: 600 },
    args: [
      // Its own sandbox needs what a root user's Chromium refuses to do.
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
  page = await browser.newPage();
  const [url] = await server.line(/http:\S+/);
  await page.goto(url);
  await connected();
}, 60_000);

test("what is typed in the page runs in the VM's shell, and its output is shown", async () => {
  await type('echo "I am $(id -un) in $PWD: $((6 * 7))"');
  await until(async () => (await shown()).includes("I am user in /home/user: 42"));
});

test("the shell's terminal has the size of the page's, also when that changes", async () => {
  for (const width of [1000, 700]) {
    await page.setViewportSize({ width, height: 600 });
    const size = page.locator("#size");
    await until(async () => Number((await size.innerText()).split("×")[0]) < width / 8);
    const [cols, rows] = (await size.innerText()).split("×");
    await type("clear; stty size");
    await until(async () => (await shown()).includes(`${rows} ${cols}`));
  }
});

test("a reload shows the same shell with its history, and goes on with it", async () => {
  await type("kept=alive; echo before the $((1)) reload");
  await until(async () => (await shown()).includes("before the 1 reload"));
  const before = await shown();
  await page.reload();
  await connected();
  await until(async () => (await shown()).includes(before.trimEnd()));
  await type("echo $kept after");
  await until(async () => (await shown()).includes("alive after"));
});

test("a shell that its user leaves says so, and Enter opens another", async () => {
  await type("exit 3");
  await until(async () => (await shown()).includes("[exited with 3: press Enter for a new shell]"));
  await page.keyboard.press("Enter");
  await connected();
  await type("echo kept:$kept.");
  await until(async () => (await shown()).includes("kept:."));
});
