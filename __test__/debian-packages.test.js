"use strict";
// Set-up checks that a file is what the tests need, not only that it exists.
const { execFileSync } = require("node:child_process");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");

const { root } = require("./fixture/project");

let directory;
beforeAll(() => {
  directory = fs.mkdtempSync(path.join(os.tmpdir(), "agent-vm-packages-"));
  const source = path.join(directory, "main.c");
  fs.writeFileSync(source, "int main(void) { return 0; }\n");
  execFileSync("/usr/bin/gcc", ["-o", path.join(directory, "dynamic"), source]);
  execFileSync("/usr/bin/gcc", ["-static", "-o", path.join(directory, "static"), source]);
  execFileSync("/usr/bin/gcc", ["-static-pie", "-o", path.join(directory, "static-pie"), source]);
  fs.writeFileSync(path.join(directory, "script"), "#!/bin/sh\nexec /usr/bin/busybox sh\n", { mode: 0o755 });
  fs.symlinkSync("static", path.join(directory, "link"));
  fs.writeFileSync(path.join(directory, "cut-off"), fs.readFileSync(path.join(directory, "static")).subarray(0, 70));
  fs.writeFileSync(path.join(directory, "empty"), "");
});
afterAll(() => fs.rmSync(directory, { recursive: true }));

/** The output of set-up for a list, from another process because jest's environment does not support import(). */
function missing(list) {
  const module = path.join(root, "scripts/debian-packages.mjs");
  const script = `import(${JSON.stringify(module)}).then(({ missingPackages }) =>
    console.log(JSON.stringify(missingPackages(${JSON.stringify(list)}))))`;
  return JSON.parse(execFileSync(process.execPath, ["--eval", script], { encoding: "utf8", stdio: "pipe" }));
}
const line = (file, ...needs) => ["busybox-static", path.join(directory, file), ...needs].join("  ");

test.each(["static", "static-pie", "link"])("a static program is what `static` asks for: %s", (file) => {
  expect(missing(`# a comment\n\n${line(file, "static")}\n`)).toEqual([]);
});

test.each(["dynamic", "script", "cut-off", "empty"])("a file that is no static program is missing: %s", (file) => {
  const why = `${path.join(directory, file)} is no static program`;
  expect(missing(line(file, "static"))).toEqual([{ name: "busybox-static", why }]);
  expect(missing(line(file))).toEqual([]);
});

test("a file that is not there is missing, and a check that is not known fails", () => {
  const why = `${path.join(directory, "nothing")} is not there`;
  expect(missing(line("nothing", "static"))).toEqual([{ name: "busybox-static", why }]);
  expect(() => missing(line("static", "stattic"))).toThrow('There is no check for "stattic"');
});

test("the list asks for a BusyBox that runs without libraries, and this machine has it", () => {
  const list = fs.readFileSync(path.join(root, "scripts/debian-packages.txt"), "utf8");
  expect(list).toMatch(/^busybox-static +\/usr\/bin\/busybox +static$/m);
  expect(missing(list)).toEqual([]);
});
