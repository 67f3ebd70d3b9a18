"use strict";
// `npm run demo`, `npm run demo:server` and `npm run demo:client`, without their set-up.

const { spawn } = require("node:child_process");
const { cpSync, mkdirSync, readdirSync, symlinkSync } = require("node:fs");
const { join } = require("node:path");
const { engine } = require("../../examples/engine");
const { directoryForFile } = require("../fixture/directory");

const root = join(__dirname, "../..");
const done = "Everything documented ran, on a real Linux.";

/**
 * A copy of the checkout with a separate target/, because the demo compiles into it and the real one may belong to
 * another user.
 */
const checkout = directoryForFile();
for (const name of readdirSync(root)) {
  if (name !== "examples" && name !== "target") symlinkSync(join(root, name), join(checkout, name));
}
cpSync(join(root, "examples"), join(checkout, "examples"), { recursive: true });
mkdirSync(join(checkout, "target"));

const started = new Set();
afterAll(() => {
  for (const child of started) child.kill("SIGTERM");
});

/** Starts the demo, or a part of it, and returns functions to read its output. */
function demo(args = [], env = {}) {
  const child = spawn(process.execPath, [join(checkout, "examples/demo/run.mjs"), ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...env },
  });
  started.add(child);
  let printed = "";
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (data) => (printed += data));
  const ended = new Promise((resolve) =>
    child.once("close", (code, signal) => {
      started.delete(child);
      resolve({ code: code ?? signal, printed });
    }),
  );
  const prints = (text) =>
    Promise.race([
      ended.then(() => Promise.reject(new Error(`It ended without "${text}":\n${printed}`))),
      new Promise((resolve) => child.stdout.on("data", () => printed.includes(text) && resolve())),
    ]);
  return { child, ended, prints };
}

test("in one terminal", async () => {
  const { code, printed } = await demo().ended;
  expect(printed).toContain(done);
  expect(code).toBe(0);
});

test("in two terminals, and the client again", async () => {
  const free = await engine();
  await free.stop();
  const { port } = free;
  const env = { DEMO_PORT: String(port) };
  const server = demo(["server"], env);
  await server.prints(`Serving on port ${port}`);
  for (let run = 0; run < 2; run++) {
    const { code, printed } = await demo(["client"], env).ended;
    expect(printed).toContain(done);
    expect(code).toBe(0);
  }
  server.child.kill("SIGINT");
  expect(await server.ended).toMatchObject({ code: 0 });
});
