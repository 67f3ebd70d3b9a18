"use strict";
// The attacks run as `user`, and as root with `npm run test:root-attacks`. Whom they attack as, they learn here.

const { boot, output } = require("../fixture/vm");

const { AGENT_VM_TEST_USER: user = "user", AGENT_VM_TEST_IDS: ids = null } = process.env;

test("programs are the user's, with the ids, that this run of the attacks names", async () => {
  const vm = await boot();
  expect(vm.enforcement.ids).toBe(ids);
  expect(await output(vm, "id -un")).toBe(`${user}\n`);
});
