// Checks the built site in a real browser, on a wide and on a narrow screen: every page opens without an error and fits
// the screen, every link and anchor has a target, and the search finds guide and reference. Pictures of the pages go to
// target/site/screenshots. Needs Chromium, as the tests do.
import { mkdirSync, readFileSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join } from "node:path";
import { chromium } from "playwright-core";
import { out } from "./places.mjs";

const screens = { wide: { width: 1280, height: 900 }, narrow: { width: 390, height: 844 } };
const types = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".css": "text/css",
  ".json": "application/json",
  ".svg": "image/svg+xml",
  ".png": "image/png",
  ".woff2": "font/woff2",
};

/** The file for an address, as GitHub Pages finds it: `/guide` is guide.html, `/reference/` is reference/index.html. */
function fileOf(pathname) {
  const path = join(out, decodeURIComponent(pathname));
  for (const file of [path, `${path}.html`, join(path, "index.html")]) {
    if (statSync(file, { throwIfNoEntry: false })?.isFile()) return file;
  }
  return undefined;
}

const server = createServer(({ url }, response) => {
  const file = fileOf(new URL(url, "http://localhost").pathname);
  if (file === undefined) return response.writeHead(404).end();
  response.writeHead(200, { "content-type": types[extname(file)] ?? "application/octet-stream" });
  response.end(readFileSync(file));
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const origin = `http://127.0.0.1:${server.address().port}`;

const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });
const faults = [];

/** Returns the errors of each page on a screen; fills `anchors` and `links` for each page. */
async function visitAll(screen, viewport) {
  const page = await browser.newPage({ viewport });
  let at = "/";
  const fault = (what) => faults.push(`${at} (${screen}): ${what}`);
  page.on("pageerror", (error) => fault(error.message));
  page.on("console", (message) => message.type() === "error" && fault(message.text()));
  page.on("requestfailed", (request) => fault(`${request.url()} did not load`));
  page.on("response", (response) => response.status() >= 400 && fault(`${response.url()}: ${response.status()}`));

  const anchors = new Map();
  const links = new Map([["/", new Set(["start"])]]);
  for (const path of links.keys()) {
    at = path;
    await page.goto(origin + path, { waitUntil: "networkidle" });
    const found = await page.evaluate(() => ({
      width: document.documentElement.scrollWidth,
      heading: document.querySelector("main h1")?.textContent ?? "",
      ids: [...document.querySelectorAll("[id]")].map(({ id }) => id),
      hrefs: [...document.querySelectorAll("a[href]")].map(({ href }) => href),
      broken: [...document.images].filter(({ naturalWidth }) => naturalWidth === 0).map(({ src }) => src),
    }));
    if (found.width > viewport.width) fault(`${found.width} pixels wide`);
    if (found.heading === "") fault("no heading");
    for (const source of found.broken) fault(`no picture at ${source}`);
    anchors.set(path, new Set(found.ids));
    for (const href of found.hrefs) {
      const url = new URL(href);
      if (url.origin !== origin) continue;
      const target = url.pathname.replace(/\.html$/, "");
      if (!links.has(target)) links.set(target, new Set());
      if (url.hash) links.get(target).add(decodeURIComponent(url.hash.slice(1)));
    }
    await page.screenshot({
      path: join(out, `../screenshots/${screen}${path.replaceAll("/", "_")}.png`),
      fullPage: true,
    });
  }
  at = "links";
  links.get("/").delete("start");
  for (const [path, names] of links) {
    for (const name of names) if (!anchors.get(path).has(name)) fault(`${path}#${name} leads nowhere`);
  }
  for (const [query, title] of [
    ["metadata service", "Network"],
    ["openShell", "AgentVm"],
  ]) {
    at = `search for ${query}`;
    await page.goto(`${origin}/`, { waitUntil: "networkidle" });
    await page.locator("#local-search button").click();
    await page.locator("#localsearch-input").fill(query);
    const results = page.locator(".results .result");
    await results.first().waitFor();
    const texts = await results.allTextContents();
    if (!texts.some((text) => text.includes(title))) fault(`does not find ${title}, but ${texts.join("; ")}`);
  }
  await page.close();
  return links.size;
}

mkdirSync(join(out, "../screenshots"), { recursive: true });
for (const [screen, viewport] of Object.entries(screens)) {
  const count = await visitAll(screen, viewport);
  console.log(`${screen}: ${count} pages`);
}
await browser.close();
server.close();
if (faults.length > 0) {
  console.error(faults.join("\n"));
  process.exit(1);
}
console.log("No fault found.");
