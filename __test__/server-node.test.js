"use strict";
const { execFile } = require("node:child_process");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { promisify } = require("node:util");

const { root } = require("./fixture/project");

const run = promisify(execFile);

test("node inside is the server's own, also where its directory is closed to other users", async () => {
  // As with a version manager, for example below root's home. mkdtemp makes a directory that other users cannot enter.
  const prefix = fs.mkdtempSync(path.join(os.tmpdir(), "agent-vm-node-"));
  try {
    const node = path.join(prefix, "bin/node");
    const npm = path.join(prefix, "lib/node_modules/npm/bin");
    fs.mkdirSync(path.dirname(node));
    fs.copyFileSync(process.execPath, node, fs.constants.COPYFILE_FICLONE);
    fs.mkdirSync(npm, { recursive: true });
    fs.writeFileSync(path.join(npm, "npm-cli.js"), "#!/usr/bin/env node\nconsole.log('its npm');\n", { mode: 0o755 });
    const source = `
      const { AgentVm } = require(${JSON.stringify(root)});
      AgentVm.create().then(async (vm) => {
        const { stdout, stderr } = await vm.exec("command -v node; command -v npm; node -p process.version; npm; touch /opt/node/lib/node_modules/npm/bin/npm-cli.js");
        console.log(stdout + stderr);
        await vm.dispose();
      });`;
    const { stdout } = await run(node, ["-e", source]);
    const [where, ...rest] = stdout.trim().split("\n");
    expect(where).toBe("/opt/node/bin/node");
    expect(rest.slice(0, 3)).toEqual(["/opt/node/bin/npm", process.version, "its npm"]);
    expect(rest[3]).toMatch(/Read-only file system|Permission denied/);
  } finally {
    fs.rmSync(prefix, { recursive: true });
  }
});
