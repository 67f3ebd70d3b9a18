"use strict";
// The programs in examples/ do what they show. The web terminal and the demo are tested with rivetkit.
const { execFile } = require("node:child_process");
const path = require("node:path");

const { root } = require("./fixture/project");

/** Runs a program of the checkout; resolves to `{ code, stdout, stderr }`. */
function run(...args) {
  return new Promise((resolve) => {
    execFile(process.execPath, args, { cwd: root, timeout: 100_000 }, (error, stdout, stderr) => {
      resolve({ code: error ? (error.code ?? error.signal) : 0, stdout, stderr });
    });
  });
}
const example = (name) => run(path.join("examples", name, "main.mjs"));

jest.setTimeout(120_000);

test("exec shows output, failure, input, a timeout, streaming and files", async () => {
  const { code, stdout, stderr } = await example("exec");
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout).toBe(
    [
      "0 hello from user@agent-vm",
      "2 ls: cannot access '/root/.ssh': No such file or directory",
      "words: 3",
      "{ timedOut: true, exitCode: 137, stdout: 'begun\\n' }",
      "line 1\nline 2\nline 3",
      "sum: 42\n",
    ].join("\n"),
  );
});

test("dev-server shows a server's output, its pages and its end", async () => {
  const { code, stdout, stderr } = await example("dev-server");
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout).toMatch(/^\[\d+ stdout\] listening on 3000\n/);
  expect(stdout).toContain("200 <h1>first</h1>\n");
  expect(stdout).toMatch(/^\[\d+ stdout\] GET \/\?edited\n/m);
  expect(stdout).toContain("200 <h1>second</h1>\n");
  expect(stdout).toContain("stopped, with exit code 143\nit had printed 3 lines\n");
});

test("agent-loop finds a bug, stops an endless loop, and fixes the bug", async () => {
  const { code, stdout, stderr } = await example("agent-loop");
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout.match(/^ {2}run: .*/gm)).toEqual([
    "  run: exit code 0",
    "  run: exit code 1",
    "  run: exit code 0",
    "  run: took too long, and was killed after 2 s",
    "  run: exit code 0",
    "  run: exit code 0",
  ]);
  expect(stdout).toContain("model: It sorts numbers as text.");
  expect(stdout).toContain("model: Fixed: all checks pass.\n");
  expect(stdout).toContain("numbers.toSorted(");
});

test("jest shows tests that each have a machine of their own", async () => {
  const { code, stderr } = await run("node_modules/jest/bin/jest.js", "--config", "examples/jest/jest.config.js");
  expect(stderr).toContain("Tests:       4 passed, 4 total");
  expect(code).toBe(0);
});
