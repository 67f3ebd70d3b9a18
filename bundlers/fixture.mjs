// Commands and servers for the tests, in the directory that run.mjs has made.
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { promisify } from "node:util";

const run = promisify(execFile);

/** Runs Node.js, or a tool of node_modules/.bin with it; resolves to its output, or fails with the output. */
export async function node(args, options) {
  try {
    const { stdout, stderr } = await run(process.execPath, args, { timeout: 300_000, maxBuffer: 2 ** 26, ...options });
    return stdout + stderr;
  } catch (error) {
    throw new Error(`${args.join(" ")} failed with ${error.code}: ${error.stdout}${error.stderr}`, { cause: error });
  }
}
export const tool = (name, ...args) => node([join("node_modules/.bin", name), ...args]);

/** The output of Node.js, or of another command, when it fails. */
export async function failureOf(promise) {
  const error = await promise.then(
    (printed) => assert.fail(`it did not fail, and printed ${printed}`),
    (failure) => failure,
  );
  return error.message;
}

/** Fails unless `text` says that the package was bundled, and what to do. */
export function assertBundled(text) {
  for (const words of ["agent-vm has been bundled or moved", "serverExternalPackages", "docs/bundlers.md"]) {
    assert.ok(text.includes(words), `${JSON.stringify(words)} is not in: ${text}`);
  }
  assert.ok(!text.includes("--omit=optional"), text);
}

/** A new empty directory, without packages. */
export const elsewhere = () => mkdtempSync(join(tmpdir(), "moved-"));

/** A port that nothing listens on. */
async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

/**
 * Starts Node.js with these arguments and a free port in PORT. As soon as the server answers, calls `use` with a
 * function that fetches a path's text. Ends the server and everything that it started.
 */
export async function serving(args, options, use) {
  const port = await freePort();
  const env = { ...process.env, PORT: String(port), HOSTNAME: "127.0.0.1" };
  const server = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"], env, detached: true, ...options });
  let printed = "";
  for (const stream of [server.stdout, server.stderr]) stream.on("data", (data) => (printed += data));
  const ended = once(server, "close");
  const get = async (path) => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`);
    return { status: response.status, text: await response.text() };
  };
  try {
    for (let answered = false; !answered;) {
      answered = await fetch(`http://127.0.0.1:${port}/`).then(
        (response) => response.text().then(() => true),
        () => false,
      );
      if (answered) break;
      assert.equal(server.exitCode, null, `the server has ended: ${printed}`);
      await new Promise((resolve) => {
        setTimeout(resolve, 100);
      });
    }
    await use(get);
  } catch (error) {
    throw new Error(`${error.message}\nThe server printed: ${printed}`, { cause: error });
  } finally {
    process.kill(-server.pid, "SIGKILL");
    await ended;
  }
}
