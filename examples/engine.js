"use strict";
// rivetkit's engine for an example or a test: chooses its port and its data directory, and stops it.
const { randomBytes } = require("node:crypto");
const { mkdtempSync, readFileSync, rmSync } = require("node:fs");
const { createServer } = require("node:net");
const { tmpdir } = require("node:os");
const { join } = require("node:path");

/**
 * An engine on the given port, with its data in the given directory. By default the port is a free one, and the data is
 * removed when the engine stops.
 */
async function engine(given) {
  const token = randomBytes(32).toString("hex");
  const port = given?.port ?? (await freePort());
  const storage = given?.storage ?? mkdtempSync(join(tmpdir(), "agent-vm-example-"));
  return {
    port,
    endpoint: `http://127.0.0.1:${port}`,
    /**
     * Without a token, every client that reaches the engine, including web pages in a browser on this machine, may use
     * its whole API. Clients of actors need no token.
     */
    guard: { RIVET__AUTH__ADMIN_TOKEN: token, RIVET_TOKEN: token },
    /** rivetkit's settings for the server that starts the engine. */
    env: {
      RIVET_RUN_ENGINE: "1",
      RIVET_RUN_ENGINE_PORT: String(port),
      RIVETKIT_STORAGE_PATH: storage,
      // Disables rivetkit's cloud services.
      RIVET_RUN_SERVICES: "0",
      RIVET_LOG_LEVEL: "error",
    },
    async stop(signal) {
      await stop(storage, signal);
      if (!given) rmSync(storage, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
    },
  };
}

/** The engine outlives its server on purpose, and writes its pid to its storage. Resolves when it has ended. */
async function stop(storage, signal = "SIGTERM") {
  try {
    const { pid } = JSON.parse(readFileSync(join(storage, ".rivetkit/var/engine/runtime.json"), "utf8"));
    process.kill(pid, signal);
    // It ends slowly while connections are open.
    for (let waited = 0; ; waited += 50) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      process.kill(pid, waited < 2000 ? 0 : "SIGKILL");
    }
  } catch (error) {
    if (error.code !== "ENOENT" && error.code !== "ESRCH") throw error;
  }
}

/** The engine uses this port, the next one, and the tenth after it. */
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
