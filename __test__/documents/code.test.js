"use strict";
// The code in README and docs/ runs as printed, and prints what the following `text` block shows. TypeScript, which
// requires an actor, is tested in __test__/rivetkit; code that requires agentOS packages in
// __test__/software-agentos.test.js.
const { execFile } = require("node:child_process");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { promisify } = require("node:util");

const { blocks, documents, parseShell, read } = require("../fixture/markdown");
const { root } = require("../fixture/project");

const run = promisify(execFile);
const { scripts } = require("../../package.json");

const found = documents().flatMap((name) => blocks(read(name)).map((block) => ({ name, ...block })));
const of = (language) =>
  found
    .filter((block) => block.language === language && !/ from "@rivet-dev\//.test(block.code))
    .map((block) => [`${block.name}:${block.line}`, block.code, block.output]);

let directory;
beforeAll(() => {
  directory = fs.mkdtempSync(path.join(os.tmpdir(), "agent-vm-readme-"));
  fs.mkdirSync(path.join(directory, "node_modules"));
  fs.symlinkSync(root, path.join(directory, "node_modules/agent-vm"));
  // Code about OpenTelemetry uses the SDK of the reader's server.
  fs.symlinkSync(path.join(root, "node_modules/@opentelemetry"), path.join(directory, "node_modules/@opentelemetry"));
});
afterAll(() => fs.rmSync(directory, { recursive: true }));

/** The complete program of a block: it has a VM, as if earlier blocks had run. */
function whole(code) {
  if (code.includes("import ")) return code;
  const vm = code.includes("AgentVm.create") ? "" : "const vm = await AgentVm.create();";
  return `import { AgentVm } from "agent-vm"; ${vm}\n${code}\nawait vm.dispose();`;
}

test("there are blocks of both kinds", () => {
  expect(of("js").length).toBeGreaterThan(2);
  expect(of("sh").length).toBeGreaterThan(2);
});

test("every block of output follows the code that prints it", () => {
  const after = found.filter(({ output }) => output !== undefined);
  expect(after.length).toBeGreaterThan(5);
  expect(after.filter(({ language }) => language !== "js")).toEqual([]);
  expect(found.filter(({ language }) => language === "text")).toHaveLength(after.length);
});

/** Runs a block to its end; resolves to its output. */
async function printed(place, code) {
  const file = path.join(directory, `${place.replaceAll(/\W/g, "-")}.mjs`);
  fs.writeFileSync(file, whole(code));
  const { stdout, stderr } = await run(process.execPath, [file], { cwd: directory, timeout: 60_000 });
  expect(stderr).toBe("");
  return stdout.trimEnd();
}

const shown = of("js").filter(([, , output]) => output !== undefined);
const silent = of("js").filter(([, , output]) => output === undefined);

test.each(shown)(
  "the JavaScript of %s prints what is shown below it, and ends",
  async (place, code, output) => expect(await printed(place, code)).toBe(output.trimEnd()),
  70_000,
);

test.each(silent)(
  "the JavaScript of %s runs, and ends",
  async (place, code) => void (await printed(place, code)),
  70_000,
);

test.each(of("sh"))("the commands of %s are a shell's, and there are such scripts", (_place, code) => {
  parseShell(code);
  for (const [, name] of code.matchAll(/\bnpm run (\S+)/g)) expect(Object.keys(scripts)).toContain(name);
  for (const [, file] of code.matchAll(/\bnode ((?:examples|scripts|bench)\/\S+)/g)) {
    expect(fs.existsSync(path.join(root, file))).toBe(true);
  }
});

const commands = of("sh").flatMap(([, code]) =>
  code.split("\n").filter((line) => /^npx agent-vm (doctor|run)/.test(line)),
);

test("the documents' examples of the command run as shown", () => {
  expect(commands.length).toBeGreaterThan(1);
});

test.each(commands)(
  "%s",
  async (line) => {
    const command = line.replace(/^npx agent-vm/, '"$node" "$agent_vm"');
    const env = { ...process.env, node: process.execPath, agent_vm: path.join(root, "bin/agent-vm.js") };
    await run("sh", ["-c", command], { cwd: directory, env, timeout: 60_000 });
  },
  70_000,
);
