// Runs the demo: the rivetkit server with an engine of its own, and the client. `server` and `client` run one of them,
// for two terminals.
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, "../..");
const part = process.argv[2];

const tsc = spawnSync(join(root, "node_modules/.bin/tsc"), ["--project", here], { stdio: "inherit" });
if (tsc.status !== 0) process.exit(1);

/** The engine takes three ports for each that it is given. */
async function freePort() {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 20_000);
    const taken = await Promise.all([port, port + 1, port + 10].map((each) => isTaken(each)));
    if (!taken.includes(true)) return port;
  }
}
function isTaken(port) {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(true));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(false)));
  });
}

const port = part ? 6420 : await freePort();
const storage = part ? join(root, "target/demo-storage") : mkdtempSync(join(tmpdir(), "agent-vm-demo-"));

function start(name) {
  return spawn(process.execPath, [join(root, "target/demo", `${name}.mjs`)], {
    stdio: "inherit",
    env: {
      ...process.env,
      DEMO_ENDPOINT: `http://127.0.0.1:${port}`,
      // rivetkit's own settings: an engine here, on this port, with its data there.
      RIVET_RUN_ENGINE: "1",
      RIVET_RUN_ENGINE_PORT: String(port),
      RIVETKIT_STORAGE_PATH: storage,
      // rivetkit's cloud services are no part of this.
      RIVET_RUN_SERVICES: "0",
      RIVET_LOG_LEVEL: "error",
    },
  });
}
const ended = (child) => new Promise((resolve) => child.once("exit", (code, signal) => resolve(signal ? 1 : code)));

/** The engine outlives its server on purpose, and says in its storage who it is. Resolves when it is gone. */
async function stopEngine() {
  let pid;
  try {
    ({ pid } = JSON.parse(readFileSync(join(storage, ".rivetkit/var/engine/runtime.json"), "utf8")));
    process.kill(pid, "SIGTERM");
    // It takes its time over connections that are still open.
    for (let waited = 0; ; waited += 50) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      process.kill(pid, waited < 2000 ? 0 : "SIGKILL");
    }
  } catch (error) {
    if (error.code !== "ENOENT" && error.code !== "ESRCH") throw error;
  }
}

if (part === "client") {
  process.exitCode = await ended(start("client"));
} else {
  const server = start("server");
  for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => server.kill("SIGTERM"));
  if (part === "server") {
    console.log(`Serving on port ${port}: now run \`npm run demo:client\` in another terminal. Ctrl-C ends it.`);
    await ended(server);
  } else {
    const client = start("client");
    process.exitCode = await Promise.race([ended(client), ended(server).then(() => 1)]);
    client.kill();
    server.kill("SIGTERM");
    await ended(server);
  }
  await stopEngine();
  if (!part) rmSync(storage, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
}
