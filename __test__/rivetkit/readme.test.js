"use strict";
// The TypeScript of README and docs/: type-checked, and run against the server that they show.
const { execFile } = require("node:child_process");
const { mkdirSync, symlinkSync, writeFileSync } = require("node:fs");
const { join } = require("node:path");
const { promisify } = require("node:util");
const { blocks, documents, read } = require("../fixture/markdown");
const { directoryForFile } = require("../fixture/directory");
const { startServer } = require("../fixture/rivetkit/servers");

const root = join(__dirname, "../..");
const run = promisify(execFile);
const app = directoryForFile();

const found = documents()
  .flatMap((name) => blocks(read(name)))
  .filter(({ language }) => language === "ts")
  .map(({ code }) => code);
const named = (name) => found.filter((code) => code.startsWith(`// ${name}`));
const rest = found.filter((code) => !code.startsWith("// "));

/** The variables of the client's block are available to the blocks that follow it. */
const client = `import { createClient } from "agent-vm/client";
import type { registry } from "./server.js";
const client = createClient<typeof registry>("http://localhost:6420");
`;

let server;
beforeAll(async () => {
  server = await startServer({ script: join(app, "out/server.js") }, { start: false });
  mkdirSync(join(app, "node_modules/@types"), { recursive: true });
  symlinkSync(root, join(app, "node_modules/agent-vm"));
  for (const name of ["rivetkit", "ws", "@types/node"]) {
    symlinkSync(join(root, "node_modules", name), join(app, "node_modules", name));
  }
  writeFileSync(join(app, "package.json"), JSON.stringify({ name: "app", private: true, type: "module" }));
  const compilerOptions = {
    target: "es2023",
    module: "nodenext",
    types: ["node"],
    strict: true,
    skipLibCheck: true,
    outDir: "out",
    rootDir: ".",
  };
  writeFileSync(join(app, "tsconfig.json"), JSON.stringify({ compilerOptions, include: ["*.ts"] }));
  const here = (code) =>
    code.replace("http://localhost:6420", server.engine.endpoint).replace('"./server"', '"./server.js"');
  writeFileSync(join(app, "server.ts"), named("server.ts")[0]);
  named("client.ts").forEach((code, index) => writeFileSync(join(app, `client-${index}.ts`), here(code)));
  rest.forEach((code, index) =>
    writeFileSync(join(app, `rest-${index}.ts`), `${here(client)}${code}\nprocess.exit();\n`),
  );
  await run(process.execPath, [join(root, "node_modules/typescript/bin/tsc"), "--project", app]).catch((error) => {
    throw new Error(error.stdout);
  });
  server.start();
}, 120_000);

const env = { ...process.env, RIVET_LOG_LEVEL: "error" };
const printed = async (name) =>
  (await run(process.execPath, [join(app, `out/${name}.js`)], { cwd: app, env, timeout: 80_000 })).stdout;

test("there is one server, and there are two clients", () => {
  expect(named("server.ts")).toHaveLength(1);
  expect(named("client.ts")).toHaveLength(2);
});

test("README's client prints its command's output, and ends", async () => {
  expect(await printed("client-0")).toBe("hello from inside\n\n");
});

test("the client prints its process's output and exit code, and ends", async () => {
  expect(await printed("client-1")).toMatch(/^(\d+) hello from inside\n\n\1 exited with 0\n$/);
});

test("the other examples run", async () => {
  const printing = [
    "exit code: 0\n",
    "5000000\n",
    "files: 2,",
    "created /home/user/note.txt\n",
    "stdout apple\nstdout pear\n0\n",
    "root\n/root\n",
  ];
  expect(rest).toHaveLength(printing.length);
  for (const [index, text] of printing.entries()) expect(await printed(`rest-${index}`)).toContain(text);
});
