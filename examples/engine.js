"use strict";
// rivetkit's engine for an example or a test: where it listens, where it keeps its data, and how it is stopped.
const { randomBytes } = require("node:crypto");
const { mkdtempSync, readFileSync, rmSync } = require("node:fs");
const { createServer } = require("node:net");
const { tmpdir } = require("node:os");
const { join } = require("node:path");

/** An engine on the port, with its data in a directory; without them on a free port, with data that goes when it is stopped. */
async function engine(given) {
  const token = randomBytes(32).toString("hex");
  const port = given?.port ?? (await freePort());
  const storage = given?.storage ?? mkdtempSync(join(tmpdir(), "agent-vm-example-"));
  return {
    port,
    endpoint: `http://127.0.0.1:${port}`,
    /**
     * Without a token, everything that reaches the engine, including pages in a browser on this machine, reads and does
     * everything with its API. Clients of actors need none. For `env`, where the engine is not another's to look into.
     */
    guard: { RIVET__AUTH__ADMIN_TOKEN: token, RIVET_TOKEN: token },
    /** rivetkit's own settings, for the server that starts the engine. */
    env: {
      RIVET_RUN_ENGINE: "1",
      RIVET_RUN_ENGINE_PORT: String(port),
      RIVETKIT_STORAGE_PATH: storage,
      // rivetkit's cloud services are no part of this.
      RIVET_RUN_SERVICES: "0",
      RIVET_LOG_LEVEL: "error",
    },
    async stop(signal) {
      await stop(storage, signal);
      if (!given) rmSync(storage, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
    },
  };
}

/** The engine outlives its server on purpose, and says in its storage who it is. Resolves when it is gone. */
async function stop(storage, signal = "SIGTERM") {
  try {
    const { pid } = JSON.parse(readFileSync(join(storage, ".rivetkit/var/engine/runtime.json"), "utf8"));
    process.kill(pid, signal);
    // It takes its time over connections that are still open.
    for (let waited = 0; ; waited += 50) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      process.kill(pid, waited < 2000 ? 0 : "SIGKILL");
    }
  } catch (error) {
    if (error.code !== "ENOENT" && error.code !== "ESRCH") throw error;
  }
}

/** The engine takes the port, the one after it and the tenth after it. */
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

module.exports = { engine };
