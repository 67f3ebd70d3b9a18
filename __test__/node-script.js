"use strict";
// Servers of their own, for tests about how a server ends.

const { spawn } = require("node:child_process");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const readline = require("node:readline");

const root = path.join(__dirname, "..");
const children = [];
const folders = [];

afterEach(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
  for (const folder of folders.splice(0)) fs.rmSync(folder, { recursive: true });
});

/**
 * Runs `source` in a Node.js of its own, with `AgentVm` and the like at hand, and await at its top. Returns the child with
 * `line()`, which resolves to the next line it prints, and `ended`, to `{ code, signal, stdout, stderr }`. Where `hosts` are
 * given, the script has an `/etc/hosts` of that content, in a mount namespace of its own. `prefix` is a command that runs it,
 * `from` the folder that the package is in.
 */
function nodeScript(source, { flags = [], env = {}, hosts, prefix = [], from = root } = {}) {
  const whole = `
    const { AgentVm, AgentVmError } = require(${JSON.stringify(from)});
    (async () => { ${source} })();`;
  const wrapper = hosts === undefined ? prefix : [...withHosts(hosts), ...prefix];
  const [command, ...args] = [...wrapper, process.execPath, ...flags, "-e", whole];
  const child = spawn(command, args, {
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  children.push(child);
  const lines = [];
  let stderr = "";
  child.stderr.on("data", (data) => (stderr += data));
  const reader = readline.createInterface({ input: child.stdout });
  const printed = [];
  reader.on("line", (line) => {
    printed.push(line);
    lines.shift()?.(line);
  });
  const ended = new Promise((resolve) => {
    child.on("close", (code, signal) => resolve({ code, signal, stdout: printed.join("\n"), stderr }));
  });
  let read = 0;
  const line = () => {
    const index = read++;
    if (index < printed.length) return Promise.resolve(printed[index]);
    const next = new Promise((resolve) => {
      lines.push(resolve);
    });
    return Promise.race([
      next,
      ended.then(({ code, signal }) => {
        if (index < printed.length) return printed[index];
        throw new Error(`ended before it printed that line: code ${code}, ${signal}: ${stderr}`);
      }),
    ]);
  };
  return { child, line, ended };
}

/** The beginning of a command line: what follows runs with that `/etc/hosts`. */
function withHosts(hosts) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "agent-vm-test-"));
  folders.push(folder);
  const file = path.join(folder, "hosts");
  fs.writeFileSync(file, hosts);
  fs.chmodSync(folder, 0o755);
  // An ordinary user mounts as the root of a user namespace, and is itself again in one below that.
  const user = process.getuid() !== 0;
  const back = user ? `unshare --user --map-user=${process.getuid()} --map-group=${process.getgid()} -- ` : "";
  const script = `mount --bind "$0" /etc/hosts && exec ${back}"$@"`;
  return ["unshare", ...(user ? ["--map-root-user"] : []), "--mount", "sh", "-c", script, file];
}

/**
 * The beginning of a command line: what follows has at most `limit` descriptors, and runs when nothing else with such a limit
 * does. The kernel counts descriptors in flight by user, so one such server can use up what another may have.
 */
function withFewDescriptors(limit) {
  const lock = path.join(os.tmpdir(), "agent-vm-test-few-descriptors");
  return ["flock", "--no-fork", lock, "prlimit", `--nofile=${limit}:${limit}`];
}

/** A copy of what a server loads, where a user without rights can read it; gone when the test is over. */
function readableCopy() {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "agent-vm-test-"));
  folders.push(folder);
  fs.chmodSync(folder, 0o755);
  const files = fs.readdirSync(root).filter((name) => /^(index\.js|lib|package\.json|agent-vm.*)$/.test(name));
  for (const name of files) fs.cpSync(path.join(root, name), path.join(folder, name), { recursive: true });
  return folder;
}

module.exports = { nodeScript, withFewDescriptors, readableCopy, root };
