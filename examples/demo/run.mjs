// Runs the demo: a rivetkit server with its own engine, and a client. `server` or `client` runs only that part, for two
// terminals, on the port DEMO_PORT (default: 6420).
import { spawn, spawnSync } from "node:child_process";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { engine } from "../engine.js";

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, "../..");
const part = process.argv[2];

const tsc = spawnSync(join(root, "node_modules/.bin/tsc"), ["--project", here], { stdio: "inherit" });
if (tsc.status !== 0) process.exit(1);

const { port, endpoint, env, guard, stop } = await engine(
  part ? { port: Number(process.env.DEMO_PORT ?? 6420), storage: join(root, "target/demo-storage") } : undefined,
);

function start(name) {
  return spawn(process.execPath, [join(root, "target/demo", `${name}.mjs`)], {
    stdio: "inherit",
    env: { ...process.env, ...env, ...(name === "server" ? guard : {}), DEMO_ENDPOINT: endpoint },
  });
}
const ended = (child) => new Promise((resolve) => child.once("exit", (code, signal) => resolve(signal ? 1 : code)));

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
  await stop();
}
