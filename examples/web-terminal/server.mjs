// A terminal in the browser, on a shell in an actor's VM. This file serves the actors, and the page with its script.
import { randomBytes, timingSafeEqual } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";
import { agentOs } from "agent-vm/rivetkit";
import { build } from "esbuild";
import { setup } from "rivetkit";

// The page contains this token, so that only the page can use the actors: pages of any site can reach the engine's port
// from a browser on this machine, but they cannot read this page.
const token = randomBytes(32).toString("hex");
/**
 * The page's two possible origins.
 * @type {Set<string>}
 */
const origins = new Set();

/** @type {import("agent-vm/rivetkit").AgentOsDefinition<{ token: string }>} */
const vm = agentOs({
  onBeforeConnect: (c, params) => {
    if (!origins.has(c.request?.headers.get("origin") ?? "")) throw new Error("This is not the page's origin");
    if (!isToken(params?.token)) throw new Error("This is not the page's token");
  },
});

/** @param {unknown} given */
function isToken(given) {
  const bytes = Buffer.from(typeof given === "string" ? given : "");
  return bytes.length === token.length && timingSafeEqual(bytes, Buffer.from(token));
}

export const registry = setup({ use: { vm }, noWelcome: true });
registry.start();

// The page connects to rivetkit's engine directly, like any client.
const endpoint = `http://127.0.0.1:${process.env.RIVET_RUN_ENGINE_PORT ?? 6420}`;
const beside = (/** @type {string} */ name) => fileURLToPath(new URL(name, import.meta.url));

const { outputFiles } = await build({
  entryPoints: [beside("page.ts")],
  bundle: true,
  minify: true,
  format: "esm",
  platform: "browser",
  target: "es2023",
  outdir: "/",
  write: false,
  logLevel: "warning",
});
/** @type {Map<string, { type: string, content: string | Uint8Array }>} */
const files = new Map();
files.set("/", {
  type: "text/html",
  content: readFileSync(beside("page.html"), "utf8").replace("{endpoint}", endpoint).replace("{token}", token),
});
for (const { path, contents } of outputFiles) {
  files.set(path, { type: path.endsWith(".css") ? "text/css" : "text/javascript", content: contents });
}
// xterm.js creates style elements.
const policy = `default-src 'self'; frame-ancestors 'none'; img-src data:; style-src 'self' 'unsafe-inline'; connect-src ${endpoint} ${endpoint.replace("http", "ws")}`;

const server = createServer((request, response) => {
  // If another site's name resolved to this server, that site's pages would have our origin.
  if (!origins.has(`http://${request.headers.host}`)) {
    response.writeHead(421).end();
    return;
  }
  const file = files.get(request.url ?? "");
  if (!file) {
    response.writeHead(404).end();
    return;
  }
  response.writeHead(200, {
    "content-type": `${file.type}; charset=utf-8`,
    "content-security-policy": policy,
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
  });
  response.end(file.content);
});
// Only on this machine: everyone who reaches the page has a shell in the VM.
server.listen(Number(process.env.PORT ?? 3000), "127.0.0.1", () => {
  const address = server.address();
  if (typeof address !== "object" || address === null) return;
  for (const host of ["127.0.0.1", "localhost"]) origins.add(`http://${host}:${address.port}`);
  console.log(`A terminal is at http://127.0.0.1:${address.port}`);
});
