"use strict";
const { nodeScript } = require("./fixture/server-process");
const { AgentVm } = require("..");

test("doctor tells the level and every probe, with a remedy where one is missing", async () => {
  const { level, checks } = await AgentVm.doctor();
  // If this fails, nothing else can be tested; the checks say why.
  expect({ level, checks }).toMatchObject({ level: "namespaces" });
  expect(checks.length).toBeGreaterThan(2);
  for (const { name, ok, detail, remedy, ...rest } of checks) {
    expect(rest).toEqual({});
    expect([typeof name, typeof ok, typeof detail]).toEqual(["string", "boolean", "string"]);
    expect(detail.length).toBeGreaterThan(5);
    expect(ok ? "none needed" : remedy).toEqual(expect.stringMatching(/.{10}/));
  }
  expect(new Set(checks.map(({ name }) => name)).size).toBe(checks.length);
});

test("doctor leaves no process and no VM behind", async () => {
  const { stdout } = await nodeScript(`
    const { descendants } = require(${JSON.stringify(require.resolve("./fixture/processes"))});
    await AgentVm.doctor();
    await Promise.all([AgentVm.doctor(), AgentVm.doctor()]);
    console.log(descendants(process.pid).length);`).ended;
  expect(stdout).toBe("0");
});

test("a directory for temporary files that cannot be written to is named, and doctor says what to do", async () => {
  const { stdout } = await nodeScript(
    `
    const refused = await AgentVm.create({ isolation: "landlock" }).catch(({ code, path }) => ({ code, path }));
    const { checks } = await AgentVm.doctor();
    console.log(JSON.stringify({ refused, landlock: checks.find(({ name }) => name === "landlock") }));`,
    { env: { TMPDIR: "/usr/none" } },
  ).ended;
  expect(JSON.parse(stdout)).toMatchObject({
    refused: { code: "ENOENT", path: "/usr/none" },
    landlock: { ok: false, remedy: expect.stringContaining("TMPDIR") },
  });
});

if (process.getuid() === 0) {
  test("doctor knows the kernel even where /proc shows only processes, as with a unit's ProcSubset=pid", async () => {
    const { stdout } = await nodeScript(
      `
      const { level, checks } = await AgentVm.doctor();
      console.log(JSON.stringify({ level, kernel: checks.find(({ name }) => name === "kernel") }));`,
      { prefix: ["unshare", "--mount", "sh", "-c", 'mount -t proc -o subset=pid proc /proc && exec "$@"', "sh"] },
    ).ended;
    expect(JSON.parse(stdout)).toMatchObject({
      level: "namespaces",
      kernel: { ok: true, detail: expect.stringMatching(/^Linux \d/) },
    });
  });
}
