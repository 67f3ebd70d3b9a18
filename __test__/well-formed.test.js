"use strict";
// Half a surrogate pair has no form in UTF-8. Where a string becomes a path or a word, it is refused: U+FFFD in its place would
// be another name.

const { AgentVm } = require("..");
const { rejection } = require("./fixture/promises");
const { bootForFile } = require("./fixture/vm");

const HALF = "x\ud800y";
const PATH = `/tmp/${HALF}`;
const refused = { code: "INVALID_ARGUMENT", message: expect.stringContaining("well-formed Unicode") };

let vm;
beforeAll(async () => {
  vm = await bootForFile();
});

const run = [{ cwd: PATH }, { env: { A: HALF } }, { env: { [HALF]: "a" } }];
const program = [...run, { argv0: HALF }];
const exclude = { exclude: ["a", HALF] };
/** For each call, the arguments with such a text in each place where they have text. */
const withText = {
  exec: [[HALF], ...program.map((options) => ["true", options]), ["true", { contextId: HALF }]],
  execFile: [[HALF], ["true", ["a", HALF]], ...program.map((options) => ["true", [], options])],
  spawn: [[HALF], ["true", ["a", HALF]], ...program.map((options) => ["true", [], options])],
  createContext: [...run, { shell: HALF }].map((options) => [options]),
  openShell: [...run, { command: HALF }, { args: [HALF] }].map((options) => [options]),
  getHandle: [[HALF]],
  waitForOutput: [
    [1, HALF],
    [HALF, "a"],
  ],
  waitForScreen: [
    ["shell-1", HALF],
    [HALF, "a"],
  ],
  readFiles: [[["/etc/hostname", PATH]]],
  writeFiles: [
    [
      [
        { path: "/tmp/a", content: "" },
        { path: PATH, content: "" },
      ],
    ],
  ],
  symlink: [
    [HALF, "/tmp/a"],
    ["a", PATH],
  ],
  copy: [
    [PATH, "/tmp/a"],
    ["/tmp", PATH],
  ],
  move: [
    [PATH, "/tmp/a"],
    ["/tmp", PATH],
  ],
  readdirRecursive: [[PATH], ["/tmp", exclude]],
  uploadDirectory: [
    [PATH, "/tmp"],
    [__dirname, PATH],
    [__dirname, "/tmp/a", exclude],
  ],
  downloadDirectory: [
    [PATH, "/tmp"],
    ["/tmp", HALF],
    ["/tmp", "/tmp/never", exclude],
  ],
  readArchive: [[PATH], ["/tmp", exclude]],
  writeArchive: [
    [PATH, (async function* () {})()],
    ["/tmp", (async function* () {})(), exclude],
  ],
  watch: [[PATH], ["/tmp", { recursive: true, ...exclude }]],
  ...Object.fromEntries(["getContext", "resetContext", "deleteContext"].map((name) => [name, [[HALF]]])),
  ...Object.fromEntries(
    [
      "writeShell",
      "resizeShell",
      "closeShell",
      "waitShell",
      "waitShellExit",
      "readShell",
      "readScreen",
      "waitForIdle",
    ].map((name) => [name, [[HALF, ...(name === "writeShell" ? ["a"] : name === "resizeShell" ? [80, 24] : [])]]]),
  ),
  ...Object.fromEntries(
    [
      ...[
        "readFile",
        "truncate",
        "mkdtemp",
        "readlink",
        "realpath",
        "mkdir",
        "readdir",
        "readdirEntries",
        "stat",
        "lstat",
      ],
      ...["exists", "delete", "createReadStream", "createWriteStream"],
    ].map((name) => [name, [[PATH]]]),
  ),
  snapshot: [[{ name: HALF }]],
  rollback: [[HALF]],
  writeFile: [[PATH, ""]],
  appendFile: [[PATH, ""]],
  chmod: [[PATH, 0o600]],
  utimes: [[PATH, 1, 1]],
};
/** Calls whose arguments are numbers, data, or what `fetch` takes, which has the standard's own rule. */
const WITHOUT_TEXT = new Set([
  ...[
    "writeProcessStdin",
    "closeProcessStdin",
    "waitProcess",
    "waitProcessExit",
    "listProcesses",
    "getProcess",
    "stopProcess",
  ],
  ...[
    "killProcess",
    "signalProcess",
    "readProcessOutput",
    "pauseProcessOutput",
    "resumeProcessOutput",
    "closeProcessOutput",
  ],
  ...[
    "allProcesses",
    "processTree",
    "stats",
    "watchStats",
    "listShells",
    "listContexts",
    "listPorts",
    "waitForPort",
    "connect",
  ],
  ...[
    "fetch",
    "pause",
    "resume",
    "fork",
    "dispose",
    "on",
    "off",
    "once",
    "addListener",
    "removeListener",
    "removeAllListeners",
  ],
  ...["prependListener", "prependOnceListener", "constructor"],
]);

test("each call that takes text is among those below", () => {
  const methods = Object.getOwnPropertyNames(AgentVm.prototype).filter(
    (name) => typeof Object.getOwnPropertyDescriptor(AgentVm.prototype, name).value === "function",
  );
  expect(methods.filter((name) => !WITHOUT_TEXT.has(name) && !(name in withText))).toEqual([]);
});

test.each(Object.entries(withText))("%s refuses half a surrogate pair in its text", async (name, calls) => {
  for (const args of calls) expect(await rejection((async () => vm[name](...args))())).toMatchObject(refused);
});

const mount = { path: "/srv/a", hostPath: "/tmp", readOnly: false };
test.each([
  [{ rootfs: PATH }],
  [{ home: PATH }],
  [{ env: { A: HALF } }],
  [{ env: { [HALF]: "a" } }],
  [{ mounts: [{ ...mount, path: PATH }] }],
  [{ mounts: [{ ...mount, hostPath: PATH }] }],
  [{ mounts: [{ ...mount, protect: [".git", HALF] }] }],
  [{ directories: [`/${HALF}`] }],
  [{ host: { etc: [HALF] } }],
  [{ host: { hide: [`/usr/share/${HALF}`] } }],
  [{ hostname: HALF }],
  [{ from: HALF }],
])("create refuses half a surrogate pair in %j", async (options) => {
  expect(await rejection(AgentVm.create(options))).toMatchObject(refused);
});

test.each([
  [{ network: { allow: [HALF] } }],
  [{ software: [{ packageDir: PATH, requires: [] }] }],
  [{ software: [{ packageDir: "/tmp", requires: [HALF] }] }],
  [{ software: [{ packageDir: "/tmp", requires: [], allowLinks: [PATH] }] }],
  [{ software: [{ packageDir: "/tmp", requires: [], bins: { a: HALF } }] }],
  [{ software: [{ commandDir: PATH }] }],
  [{ software: [{ commands: [HALF] }] }],
])("create refuses it in its own words in %j", async (options) => {
  expect(await rejection(AgentVm.create(options))).toMatchObject({ code: "INVALID_ARGUMENT" });
});

test("in data it becomes U+FFFD, as in Node.js, and a whole pair stays", async () => {
  const { stdout } = await vm.exec("cat; printf 😀; printf %s $A", { stdin: HALF, env: { A: "😀" } });
  expect(stdout).toBe("x\ufffdy😀😀");
});
