"use strict";
// The package inside a bundle, and the error where bundling cannot work. docs/bundlers.md describes the other bundlers,
// which `npm run test:bundlers` runs.
const { execFile } = require("node:child_process");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { promisify } = require("node:util");
const esbuild = require("esbuild");

const { root } = require("./fixture/project");

const run = promisify(execFile);

/** Prints the output of a command in a VM. */
const USE = `
  const { AgentVm } = require("agent-vm");
  (async () => {
    const vm = await AgentVm.create();
    process.stdout.write((await vm.exec("id -un")).stdout);
    await vm.dispose();
  })();`;

let app;
let elsewhere;
beforeAll(() => {
  app = fs.mkdtempSync(path.join(os.tmpdir(), "agent-vm-bundled-"));
  elsewhere = fs.mkdtempSync(path.join(os.tmpdir(), "agent-vm-moved-"));
  fs.mkdirSync(path.join(app, "node_modules"));
  for (const name of ["rivetkit", "agent-vm"]) {
    const installed = name === "agent-vm" ? root : path.join(root, "node_modules", name);
    fs.symlinkSync(installed, path.join(app, "node_modules", name));
  }
});
afterAll(() => {
  for (const directory of [app, elsewhere]) fs.rmSync(directory, { recursive: true, force: true });
});

/** Bundles `source` into a file called `name`, and moves it to a directory without packages. */
async function moved(name, source, options) {
  const [built, to] = [app, elsewhere].map((directory) => path.join(directory, name));
  await esbuild.build({
    stdin: { contents: source, resolveDir: app },
    bundle: true,
    platform: "node",
    outfile: built,
    logLevel: "error",
    ...options,
  });
  fs.renameSync(built, to);
  return to;
}

/** The error that loading a file rejects with. */
async function failure(file) {
  const script = `import(${JSON.stringify(file)}).then(
    () => console.log("{}"),
    ({ name, code, path, message }) => console.log(JSON.stringify({ name, code, path, message })))`;
  return JSON.parse((await run(process.execPath, ["--eval", script], { cwd: elsewhere })).stdout);
}

function expectBundled({ name, code, message }) {
  expect({ name, code }).toEqual({ name: "AgentVmError", code: "ISOLATION_UNAVAILABLE" });
  for (const words of [
    "agent-vm has been bundled or moved",
    'serverExternalPackages: ["agent-vm"] in next.config',
    'ssr: { external: ["agent-vm"] }',
    'esbuild: external: ["agent-vm"]',
    'externals: { "agent-vm": "commonjs agent-vm" }',
    "docs/bundlers.md",
  ]) {
    expect(message).toContain(words);
  }
  expect(message).not.toContain("--omit=optional");
}

const banner = { js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);' };
const PATHS = {
  __dirname: '"/ROOT/node_modules/agent-vm/lib"',
  __filename: '"/ROOT/node_modules/agent-vm/lib/bundled.js"',
};

test.each([
  ["a CommonJS bundle", "a.cjs", { format: "cjs" }],
  ["a minified bundle", "b.cjs", { format: "cjs", minify: true }],
  ["an ES module, which has no require", "c.mjs", { format: "esm" }],
  ["an ES module with a require, but without __dirname", "d.mjs", { format: "esm", banner }],
  ["a bundle that keeps the package's own paths", "e.cjs", { format: "cjs", define: PATHS }],
])("%s that has been moved names bundling, and what to do", async (_, name, options) => {
  expectBundled(await failure(await moved(name, USE, options)));
});

test("the error of a bundle names the file that it is in", async () => {
  const file = await moved("named.cjs", USE, { format: "cjs" });
  const { path: named, message } = await failure(file);
  expect(named).toBe(file);
  expect(message).toContain(`agent-vm has been bundled or moved, into ${file}.`);
});

test("a bundle of agent-vm/rivetkit that has been moved says the same", async () => {
  const source = 'import { agentOs } from "agent-vm/rivetkit"; console.log(agentOs);';
  expectBundled(await failure(await moved("actor.cjs", source, { format: "cjs" })));
});

test("a bundle of agent-vm/rivetkit that leaves agent-vm alone out says the same", async () => {
  const source = 'import { agentOs } from "agent-vm/rivetkit"; console.log(agentOs);';
  const leaveOut = {
    name: "leave-out",
    setup: (build) => build.onResolve({ filter: /^agent-vm$/ }, ({ path: id }) => ({ path: id, external: true })),
  };
  const file = await moved("actor-alone.cjs", source, { format: "cjs", plugins: [leaveOut] });
  const back = path.join(app, "dist/actor-alone.cjs");
  fs.mkdirSync(path.dirname(back));
  fs.renameSync(file, back);
  expectBundled(await failure(back));
});

test("the package's files without its package.json name being moved, too", async () => {
  const copy = path.join(elsewhere, "copied");
  fs.mkdirSync(copy);
  for (const name of ["index.js", "lib"]) fs.cpSync(path.join(root, name), path.join(copy, name), { recursive: true });
  expectBundled(await failure(path.join(copy, "index.js")));
});

test("`external`, as the error says, gets a VM from a bundle beside node_modules", async () => {
  const file = await moved("external.cjs", USE, { format: "cjs", external: ["agent-vm"] });
  const back = path.join(app, "external.cjs");
  fs.renameSync(file, back);
  expect((await run(process.execPath, [back])).stdout).toBe("user\n");
});

test("`external` leaves agent-vm/rivetkit out as well", async () => {
  const source = 'import { agentOs } from "agent-vm/rivetkit"; console.log(typeof agentOs);';
  const file = await moved("external-actor.mjs", source, { format: "esm", external: ["agent-vm", "rivetkit"] });
  const back = path.join(app, "external-actor.mjs");
  fs.renameSync(file, back);
  expect((await run(process.execPath, [back])).stdout).toBe("function\n");
});

const libFile = (name) => `lib/${name}.js`;

test("agent-vm/client is bundled for a browser without a module of Node.js, and without the server's side", async () => {
  const { metafile } = await esbuild.build({
    stdin: { contents: 'export { createClient } from "agent-vm/client";', resolveDir: app },
    bundle: true,
    platform: "browser",
    format: "esm",
    write: false,
    metafile: true,
    logLevel: "error",
  });
  const inputs = Object.keys(metafile.inputs).map((name) => path.relative(root, path.resolve(name)));
  expect(inputs).toContain("dist/rivetkit/client.mjs");
  // Handles are the same on both sides of an actor; what calls the addon, and Node.js's streams, stay out.
  const serverSide = [
    "index.js",
    ...["archives", "arguments", "calls", "file-streams", "handles/streams", "local-trees", "native", "wire"].map(
      libFile,
    ),
  ];
  expect(inputs.filter((name) => serverSide.includes(name))).toEqual([]);
  const instead = ["handles/no-streams", "no-archives", "no-file-streams", "no-local-trees"].map(libFile);
  expect(inputs).toEqual(expect.arrayContaining(instead));
  const imported = Object.values(metafile.outputs).flatMap((output) => output.imports);
  expect(imported).toEqual([]);
});
