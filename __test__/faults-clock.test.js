"use strict";
// The wall clock is set forward or back by a day while commands run. libfaketime sets it only for the server: timeouts
// there use the monotonic clock, and so does init, which libfaketime does not reach.

const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { nodeScript } = require("./fixture/server-process");

const libraries = "/usr/lib";
const library = fs
  .readdirSync(libraries)
  .map((name) => path.join(libraries, name, "faketime/libfaketime.so.1"))
  .find((file) => fs.existsSync(file));

test.each(["+1d", "-1d"])("a clock that jumps by %s ends no command early or late", async (jump) => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "agent-vm-clock-"));
  const file = path.join(directory, "time");
  fs.writeFileSync(file, "+0");
  const server = nodeScript(
    `
    const fs = require("node:fs");
    const vm = await AgentVm.create();
    await vm.exec("true");
    const began = { wall: Date.now(), steady: performance.now() };
    const commands = [vm.exec("sleep 0.6; echo whole", { timeout: 20000 }), vm.exec("sleep 1000", { timeout: 900 })];
    const { pid } = await vm.spawn("sleep", ["1000"], { timeout: 900 });
    setTimeout(() => fs.writeFileSync(${JSON.stringify(file)}, ${JSON.stringify(jump)}), 200);
    const [whole, late] = await Promise.all(commands);
    const code = await vm.waitProcess(pid);
    await vm.dispose();
    console.log(JSON.stringify({
      jumped: Math.round((Date.now() - began.wall) / 3600e3), took: performance.now() - began.steady,
      whole: [whole.stdout, whole.reason], late: late.reason, code,
    }));`,
    {
      prefix: [
        "env",
        `LD_PRELOAD=${library}`,
        "FAKETIME_NO_CACHE=1",
        "DONT_FAKE_MONOTONIC=1",
        `FAKETIME_TIMESTAMP_FILE=${file}`,
      ],
    },
  );
  const { stdout, stderr } = await server.ended;
  expect(stderr).toBe("");
  const { took, ...rest } = JSON.parse(stdout);
  expect(rest).toEqual({ jumped: jump === "+1d" ? 24 : -24, whole: ["whole\n", "exited"], late: "timeout", code: 137 });
  expect(took).toBeGreaterThanOrEqual(890);
  expect(took).toBeLessThan(20_000);
  fs.rmSync(directory, { recursive: true });
});
