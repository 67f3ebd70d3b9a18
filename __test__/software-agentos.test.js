"use strict";
// The real packages of agentOS, installed by npm when the tests run, because they are half a gigabyte.

const { execFile } = require("node:child_process");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { promisify } = require("node:util");

const { blocks, read } = require("./fixture/markdown");
const { root } = require("./fixture/project");
const { startServer } = require("./fixture/rivetkit/servers");

const run = promisify(execFile);
// One of them needs Node.js 22, which npm installs too.
const NODE = `node-linux-${process.arch}`;
const PACKAGES = ["@rivet-dev/agent-os-common@0.0.260331072558", "@rivet-dev/agent-os-pi@0.1.1", `${NODE}@22`];

let directory;
beforeAll(async () => {
  directory = fs.mkdtempSync(path.join(os.tmpdir(), "agent-vm-agentos-"));
  fs.writeFileSync(path.join(directory, "package.json"), '{ "private": true }');
  // Their install scripts would build files that a VM does not need.
  const flags = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"];
  await run("npm", ["install", ...flags, ...PACKAGES], { cwd: directory });
}, 300_000);
afterAll(() => fs.rmSync(directory, { recursive: true, force: true, maxRetries: 10 }));

/** Runs an ES module beside the packages, like a server that has them installed; returns the JSON that it prints. */
async function server(node, source) {
  const file = path.join(directory, `server-${Math.random().toString(36).slice(2)}.mjs`);
  const require = `import { createRequire } from "node:module";
    const { AgentVm } = createRequire(import.meta.url)(${JSON.stringify(root)});`;
  fs.writeFileSync(file, require + source);
  const { stdout } = await run(node, [file], { cwd: directory });
  return JSON.parse(stdout);
}

test("agent-os-common needs only what a usual Debian has", async () => {
  const printed = await server(
    process.execPath,
    `import common from "@rivet-dev/agent-os-common";
    const vm = await AgentVm.create({ software: [common] });
    const { stdout } = await vm.exec("printf 'b\\\\na\\\\n' | sort | tr a-z A-Z | tar --version | head -n 1; gzip --version | head -n 1");
    const names = common.flatMap((set) => set.commands.map((command) => command.name));
    await vm.dispose();
    console.log(JSON.stringify({ stdout, names }));`,
  );
  // The native programs: the WebAssembly tar is not GNU tar.
  expect(printed.stdout).toMatch(/^tar \(GNU tar\).*\ngzip /);
  expect(printed.names).toEqual(expect.arrayContaining(["sh", "cat", "awk", "find", "_stubs"]));
});

test("the recipe of docs/recipes.md runs, and prints what is shown", async () => {
  const recipes = blocks(read("docs/recipes.md")).filter(
    ({ language, code }) => language === "js" && code.includes("@rivet-dev/"),
  );
  expect(recipes).toHaveLength(1);
  const [{ code, output }] = recipes;
  fs.symlinkSync(root, path.join(directory, "node_modules/agent-vm"));
  fs.writeFileSync(path.join(directory, "recipe.mjs"), code);
  const node = path.join(directory, "node_modules", NODE, "bin/node");
  const { stdout } = await run(node, ["recipe.mjs"], { cwd: directory });
  expect(stdout.trimEnd()).toBe(output.trimEnd());
}, 60_000);

test("agent-os-pi runs in the VM with all its dependencies, and is in the process tree", async () => {
  const printed = await server(
    path.join(directory, "node_modules", NODE, "bin/node"),
    `import common from "@rivet-dev/agent-os-common";
    import pi from "@rivet-dev/agent-os-pi";
    const vm = await AgentVm.create({ software: [common, pi] });
    const version = vm.exec("pi --version");
    const seen = [];
    const look = (nodes, depth) => {
      for (const { command, args, driver, children } of nodes) {
        // Before node itself, the env of the script's first line has these arguments.
        if (command === "node" && args.some((arg) => arg.endsWith("/pi"))) seen.push({ command, driver, depth });
        look(children, depth + 1);
      }
    };
    let over = false;
    version.finally(() => (over = true));
    while (!over && seen.length === 0) look(await vm.processTree(), 0);
    const { exitCode, stdout, stderr } = await version;
    const adapter = (await vm.exec("command -v pi-sdk-acp")).stdout;
    const mounts = (await vm.exec("grep -c agent-vm /proc/self/mounts")).stdout;
    await vm.dispose();
    console.log(JSON.stringify({ exitCode, stdout, stderr, seen, adapter, mounts }));`,
  );
  const { version } = JSON.parse(
    fs.readFileSync(path.join(directory, "node_modules/@mariozechner/pi-coding-agent/package.json"), "utf8"),
  );
  expect(printed).toMatchObject({ exitCode: 0, adapter: "/opt/agent-vm/bin/pi-sdk-acp\n", mounts: "1\n" });
  expect(printed.stdout + printed.stderr).toContain(version);
  expect(printed.seen).toEqual([{ command: "node", driver: "node", depth: 1 }]);
}, 120_000);

test.each([
  ["common, pi", "Node 22", "pi --version", () => path.join(directory, "node_modules", NODE, "bin/node")],
  ["common", "the Node that runs this", "echo b a | tr ' ' '\\n' | sort", () => process.execPath],
])(
  "the documented rivetkit server with software: [%s] runs on %s",
  async (software, _name, command, node) => {
    const app = path.join(directory, software.replace(/\W+/g, "-"));
    fs.mkdirSync(path.join(app, "node_modules"), { recursive: true });
    fs.symlinkSync(root, path.join(app, "node_modules/agent-vm"));
    for (const name of ["rivetkit", "ws"]) {
      fs.symlinkSync(path.join(root, "node_modules", name), path.join(app, "node_modules", name));
    }
    const imports = software.split(", ").map((name) => `import ${name} from "@rivet-dev/agent-os-${name}";`);
    const script = path.join(app, "server.mjs");
    fs.writeFileSync(
      script,
      `import { agentOs } from "agent-vm/rivetkit";
    import { setup } from "rivetkit";
    ${imports.join("\n")}
    const vm = agentOs({ options: { software: [${software}] } });
    export const registry = setup({ use: { vm } });
    registry.start();`,
    );
    const started = await startServer({ script, node: node() });
    const result = await started.evaluate(({ agent, arg }) => agent.exec(arg), command);
    expect(result).toMatchObject({ exitCode: 0 });
    expect(result.stdout + result.stderr).toMatch(software === "common" ? /^a\nb\n$/ : /\d+\.\d+\.\d+/);
  },
  120_000,
);
