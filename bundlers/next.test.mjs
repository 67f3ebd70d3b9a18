// Next.js with both of its bundlers: with the documented configuration, and without it.
import assert from "node:assert/strict";
import { copyFileSync, cpSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { assertBundled, elsewhere, failureOf, serving, tool } from "./fixture.mjs";

const NEXT = "node_modules/next/dist/bin/next";
const CONFIG = "next.config.mjs";
const PRINTED = "next.config.printed.mjs";
copyFileSync(CONFIG, PRINTED);

const answersFromVm = async (get) => {
  assert.deepEqual(await get("/run"), { status: 200, text: "user\n" });
  assert.deepEqual(await get("/actor"), { status: 200, text: "function" });
};

for (const [name, ...flags] of [["Turbopack"], ["webpack", "--webpack"]]) {
  describe(name, () => {
    // Files of an earlier build make the next one faster.
    before(() => rmSync(".next", { recursive: true, force: true }));

    test("without the configuration, next build fails and names bundling", async () => {
      writeFileSync(CONFIG, "export default {};\n");
      assertBundled(await failureOf(tool("next", "build", ...flags)));
    });

    test("with the documented configuration, next build and next start: a route runs a command in a VM", async () => {
      copyFileSync(PRINTED, CONFIG);
      await tool("next", "build", ...flags);
      await serving([NEXT, "start"], {}, async (get) => {
        await answersFromVm(get);
        const { status, text } = await get("/");
        assert.equal(status, 200);
        assert.match(text, /<button>function<\/button>/);
      });
    });
  });
}

describe("standalone output", () => {
  let copy;
  before(async () => {
    copyFileSync("next.config.standalone.mjs", CONFIG);
    await tool("next", "build");
    copy = join(elsewhere(), "standalone");
    cpSync(".next/standalone", copy, { recursive: true, verbatimSymlinks: true });
    renameSync("node_modules", "node_modules-away");
  });
  after(() => {
    renameSync("node_modules-away", "node_modules");
    rmSync(copy, { recursive: true });
  });

  test("of the documented configuration runs where nothing else is", async () => {
    await serving(["server.js"], { cwd: copy }, answersFromVm);
  });

  test("without the package for the platform says what is missing", async () => {
    const [platform] = readdirSync(join(copy, "node_modules")).filter((name) => name.startsWith("agent-vm-linux-"));
    rmSync(join(copy, "node_modules", platform), { recursive: true });
    const failed = serving(["server.js"], { cwd: copy }, async (get) => {
      assert.equal((await get("/run")).status, 200);
    });
    const text = await failureOf(failed);
    assert.match(text, new RegExp(`agent-vm has no binary .* must copy ${platform} as well`));
  });
});

test("next dev with the documented configuration: a route runs a command in a VM", async () => {
  copyFileSync(PRINTED, CONFIG);
  await serving([NEXT, "dev"], {}, answersFromVm);
});
