// Bun and Deno: what works under them, and that a VM never shows one of them as `node`.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync, mkdirSync, realpathSync, rmSync, symlinkSync } from "node:fs";
import { delimiter, dirname, join, resolve } from "node:path";
import process from "node:process";
import { after, describe, test } from "node:test";
import { promisify } from "node:util";
import { elsewhere } from "./fixture.mjs";

const run = promisify(execFile);
const arm = process.arch === "arm64";
const RUNTIMES = {
  Bun: [resolve(`node_modules/@oven/bun-linux-${arm ? "aarch64" : "x64"}/bin/bun`), "run"],
  Deno: [resolve(`node_modules/@deno/linux-${process.arch}-glibc/deno`), "run", "--allow-all"],
};

const scratch = elsewhere();
after(() => rmSync(scratch, { recursive: true }));

/** A directory in which `node` is another runtime. */
function pretending(name) {
  const directory = join(scratch, name);
  mkdirSync(directory);
  symlinkSync(RUNTIMES[name][0], join(directory, "node"));
  return directory;
}
const pretenders = Object.keys(RUNTIMES).map(pretending);

/** The result of runtime.mjs under a runtime, with that PATH; `prefix` is a command that runs it. */
async function found(runtime, level, path, prefix = []) {
  const [command, ...args] = [...prefix, ...RUNTIMES[runtime], "runtime.mjs", level];
  const env = { ...process.env, PATH: path.join(delimiter) };
  const { stdout } = await run(command, args, { env, timeout: 120_000 });
  return JSON.parse(stdout);
}

/** A command that replaces every Node.js of the system's directories by `file` for the command after it. */
function without(file) {
  const nodes = ["/usr/local/bin/node", "/usr/bin/node"]
    .filter((name) => existsSync(name))
    .map((name) => realpathSync(name));
  const user = process.getuid() !== 0;
  // An ordinary user mounts as root of a user namespace, and gets its own id back in a second one below that.
  const back = user ? `unshare --user --map-user=${process.getuid()} --map-group=${process.getgid()} -- ` : "";
  const mounts = nodes.map((name) => `/bin/mount --bind '${file}' '${name}' && `).join("");
  const script = `PATH=/usr/sbin:/usr/bin:/sbin:/bin; ${mounts}exec ${back}/usr/bin/env PATH='${pretenders.join(":")}' "$@"`;
  return ["/usr/bin/unshare", ...(user ? ["--map-root-user"] : []), "--mount", "/bin/sh", "-c", script, "sh"];
}

for (const runtime of Object.keys(RUNTIMES)) {
  describe(runtime, () => {
    const usual = [...pretenders, dirname(process.execPath), "/usr/bin", "/bin"];

    test("node inside is the first real Node.js of the PATH, and connect and fetch work", async () => {
      const { node, ...rest } = await found(runtime, "namespaces", usual);
      assert.deepEqual(node, { stdout: `${process.version}\n`, stderr: "", exitCode: 0 });
      assert.deepEqual(rest, {
        shell: 3,
        get: "/some?query",
        redirected: "/there",
        large: 3_000_000,
        posted: "2000000",
        refused: "ECONNREFUSED",
        connected: "/by-hand",
        leaked: 0,
        disposed: true,
      });
    });

    test('node is a real one at the level "landlock", too', async () => {
      const { node } = await found(runtime, "landlock", usual);
      assert.deepEqual(node, { stdout: `${process.version}\n`, stderr: "", exitCode: 0 });
    });

    for (const level of ["namespaces", "landlock"]) {
      test(`without a real Node.js, node at the level "${level}" says so`, async () => {
        const prefix = without(RUNTIMES[runtime][0]);
        const { node } = await found(runtime, level, pretenders, prefix);
        assert.deepEqual({ ...node, stderr: "" }, { stdout: "", stderr: "", exitCode: 127 });
        assert.match(
          node.stderr,
          /^node: there is no Node\.js: this is an agent-vm machine, .* found no Node\.js on its PATH\..*\n$/,
        );
      });
    }
  });
}
