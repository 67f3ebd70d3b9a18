"use strict";
// An argument that a call does not have is refused, and never ignored.

const { AgentVm } = require("..");
const { rejection } = require("./fixture/promises");
const { bootForFile } = require("./fixture/vm");

let vm;
beforeAll(async () => {
  vm = await bootForFile();
});

const methods = Object.entries(Object.getOwnPropertyDescriptors(AgentVm.prototype))
  .filter(([name, { value }]) => typeof value === "function" && !["constructor", "dispose"].includes(name))
  .map(([name]) => name);

test.each([...methods, "create", "doctor"])("%s refuses one argument more than it has", async (name) => {
  const call = name === "create" || name === "doctor" ? AgentVm[name].bind(AgentVm) : vm[name].bind(vm);
  const extra = Array(call.length).fill(undefined);
  for (const argument of [{ withFileTypes: true }, "utf8", null, 0, () => {}]) {
    const error = await rejection((async () => call(...extra, argument))());
    expect(error).toMatchObject({ name: "AgentVmError", code: "INVALID_ARGUMENT" });
    expect(error.message).toContain(`${name} takes `);
    expect(error.message).toContain(`argument ${call.length + 1} must be absent`);
  }
});

test("further arguments that are undefined count as absent", async () => {
  expect(await vm.exists("/etc", undefined, undefined)).toBe(true);
});

test("the calls of handles refuse such arguments too", async () => {
  const process = await vm.spawn("sleep", ["100"]);
  await expect(process.kill("SIGTERM", 1)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  expect(() => process.lines({})).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
  await process.kill();
  const shell = await vm.openShell();
  await expect(shell.resize(80, 24, 1)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  await expect(shell.close(true)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  await shell.close();
});

const unknown = { nonsense: 1 };
test.each([
  ["readFile", "/etc/hostname", unknown],
  ["readFiles", ["/etc/hostname"], unknown],
  ["writeFile", "/tmp/x", "", unknown],
  ["writeFile", "/tmp/x", "", { flag: "a" }],
  ["writeFile", "/tmp/x", "", "utf8"],
  ["appendFile", "/tmp/x", "", { mtime: 1 }],
  ["writeFiles", [{ path: "/tmp/x", content: "", nonsense: 1 }]],
  ["mkdir", "/tmp/x", unknown],
  ["delete", "/tmp/x", unknown],
  ["readdirRecursive", "/tmp", unknown],
  ["exec", "true", unknown],
  ["execFile", "true", [], unknown],
  ["spawn", "true", [], unknown],
  ["openShell", unknown],
  ["createContext", unknown],
  ["readProcessOutput", 1, unknown],
  ["readShell", "shell-1", unknown],
])("%s refuses an option that it does not have: %j %j %j", async (name, ...args) => {
  await expect(vm[name](...args)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
});

test.each([
  ["readFile", "/x", { offset: -1 }],
  ["readFile", "/x", { length: 1.5 }],
  ["readFile", "/x", { offset: "1" }],
  ["readFile", "/x", "utf9"],
  ["readFile", "/x", { encoding: null }],
  ["chmod", "/x"],
  ["chmod", "/x", -1],
  ["chmod", "/x", 0o200000],
  ["chmod", "/x", "789"],
  ["chmod", "/x", "u+x"],
  ["chmod", "/x", 1.5],
  ["utimes", "/x", 1],
  ["utimes", "/x", 1, "2"],
  ["utimes", "/x", NaN, 1],
  ["utimes", "/x", Infinity, 1],
  ["utimes", "/x", new Date(NaN), 1],
  ["utimes", "/x", 1, null],
  ["truncate", "/x", -1],
  ["truncate", "/x", 1.5],
  ["truncate", "/x", 2 ** 53],
  ["truncate", "x", 1],
  ["symlink", "a\0b", "/x"],
  ["symlink", "a", "x"],
  ["symlink", "a"],
  ["mkdtemp", "x"],
  ["mkdtemp"],
  ["readlink", "x"],
  ["realpath", "x"],
  ["lstat", "x"],
  ["readdirEntries", "x"],
  ["writeFiles", [{ path: "/x", content: "", mode: "rwx" }]],
  ["writeFiles", [{ path: "/x", content: "", mtime: "now" }]],
  ["appendFile", "/x", 1],
  ["appendFile", "/x", "", { mode: 0o4755 }],
])("%s refuses %j %j %j", async (name, ...args) => {
  await expect(vm[name](...args)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
});
