"use strict";
// The 65,536 ids that a VM with users of its own takes: who has them, and what doctor says to those who do not.
const fs = require("node:fs");
const { nodeScript } = require("./fixture/server-process");
const { AgentVm } = require("..");

const uid = process.getuid();
const name = "id range";

/** The check of a server behind `prefix`. */
async function check(prefix) {
  const { stdout, stderr } = await nodeScript(
    `
    const { checks } = await AgentVm.doctor();
    console.log(JSON.stringify(checks.find(({ name }) => name === ${JSON.stringify(name)})));`,
    { prefix },
  ).ended;
  if (stdout === "") throw new Error(stderr);
  return JSON.parse(stdout);
}

const missing = (detail, remedy) => ({
  name,
  ok: false,
  detail: expect.stringMatching(detail),
  remedy: expect.stringMatching(remedy),
});

/** The lines of a table whose first field is one of `owners`. */
function entries(table, owners) {
  const lines = fs.readFileSync(table, "utf8").split("\n");
  return lines.map((line) => line.split(":")).filter(([owner]) => owners.includes(owner));
}

if (uid === 0) {
  test("a root server can lease ids that nobody on the host has", async () => {
    expect(await check([])).toEqual({ name, ok: true, detail: expect.stringContaining("leased") });
  });

  test("the leases of servers that check at the same time do not meet, and are given back", async () => {
    for (let turn = 0; turn < 3; turn++) {
      const reports = await Promise.all([1, 2, 3, 4].map(() => AgentVm.doctor()));
      for (const { checks } of reports) expect(checks).toContainEqual(expect.objectContaining({ name, ok: true }));
    }
  });

  test("root of a user namespace with few ids cannot, and doctor says what to map", async () => {
    const prefix = ["unshare", "--user", "--map-root-user"];
    expect(await check(prefix)).toEqual(missing(/no 65,536 unused ids/, /Map more ids/));
  });
} else {
  const [user] = fs
    .readFileSync("/etc/passwd", "utf8")
    .split("\n")
    .map((line) => line.split(":"))
    .filter(([, , id]) => Number(id) === uid);

  if (user === undefined) {
    test("a user without a name has no ids to give, and doctor says so", async () => {
      expect(await check([])).toEqual(missing(/uid \d+ has no name/, /passwd/));
    });
  } else if (["/etc/subuid", "/etc/subgid"].every((table) => entries(table, [user[0], String(uid)]).length > 0)) {
    test("a user of /etc/subuid and /etc/subgid has ids to give", async () => {
      expect(await check([])).toEqual({ name, ok: true, detail: expect.stringContaining("newuidmap") });
    });

    test("such a user has none under no_new_privs, and doctor says what is in the way", async () => {
      const found = await check(["setpriv", "--no-new-privs"]);
      expect(found).toEqual(missing(/newuidmap failed: ./, /no_new_privs/));
    });
  } else {
    test("a user without subordinate ids has none to give, and doctor says how to get them", async () => {
      expect(await check([])).toEqual(missing(/\/etc\/sub[ug]id gives .* no range/, /usermod --add-subuids/));
    });
  }
}
