// Runs the web terminal: its server, with its own engine.
import { spawn } from "node:child_process";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { engine } from "../engine.js";

const here = dirname(fileURLToPath(import.meta.url));
const { env, guard, stop } = await engine({ port: 6420, storage: join(here, "../../target/web-terminal-storage") });
const server = spawn(process.execPath, [join(here, "server.mjs")], {
  stdio: "inherit",
  env: { ...process.env, ...env, ...guard },
});
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => server.kill("SIGTERM"));
process.exitCode = await new Promise((resolve) => server.once("exit", (code) => resolve(code ?? 0)));
await stop();
