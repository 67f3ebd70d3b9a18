// Vite, esbuild, webpack and Rollup: with the documented configuration, and without it.
import assert from "node:assert/strict";
import { readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, test } from "node:test";
import { assertBundled, elsewhere, failureOf, node, tool } from "./fixture.mjs";

afterEach(() => rmSync("dist", { recursive: true, force: true }));

/**
 * How each bundler is run: with the documented configuration, with one that omits the package, and for a browser. The
 * last two are written into a file, because some bundlers look for a configuration file.
 */
const BUNDLERS = {
  "Vite SSR": {
    build: () => tool("vite", "build"),
    forgotten: () =>
      configured("vite", `export default { build: { ssr: "plain.mjs" }, ssr: { noExternal: true } };`, "build"),
    browser: () =>
      configured(
        "vite",
        `export default { build: { rollupOptions: { input: "browser.mjs", output: { entryFileNames: "browser.mjs" } } } };`,
        "build",
      ),
  },
  esbuild: {
    build: () => node(["esbuild.mjs"]),
    forgotten: () => tool("esbuild", "plain.mjs", "--bundle", "--platform=node", "--outfile=dist/plain.cjs"),
    browser: () => tool("esbuild", "browser.mjs", "--bundle", "--format=esm", "--outfile=dist/browser.mjs"),
  },
  webpack: {
    build: () => tool("webpack", "--config", "webpack.config.cjs"),
    forgotten: () =>
      configured(
        "webpack",
        `export default { mode: "production", target: "node", entry: "./plain.mjs", output: { filename: "plain.cjs" } };`,
      ),
    browser: () =>
      configured("webpack", `export default { mode: "production", target: "web", entry: "./browser.mjs" };`),
  },
  Rollup: {
    build: () => tool("rollup", "--config", "rollup.config.mjs"),
    forgotten: () => configured("rollup", rollup("plain.mjs", `preferBuiltins: true, exportConditions: ["node"]`)),
    browser: () => configured("rollup", rollup("browser.mjs", "browser: true")),
  },
};

function configured(name, config, ...args) {
  writeFileSync("own.config.mjs", config);
  return tool(name, ...args, "--config", "own.config.mjs");
}

const rollup = (input, resolving) => `
  import commonjs from "@rollup/plugin-commonjs";
  import resolve from "@rollup/plugin-node-resolve";
  export default {
    input: "${input}",
    output: { dir: "dist", format: "es", entryFileNames: "[name].mjs", inlineDynamicImports: true },
    plugins: [resolve({ ${resolving} }), commonjs()],
  };`;

/** The only JavaScript file that a bundler has put into dist/. */
function built() {
  const files = readdirSync("dist").filter((name) => /\.[cm]?js$/.test(name));
  assert.equal(files.length, 1, files.join(", "));
  return join("dist", files[0]);
}

for (const [name, { build, forgotten, browser }] of Object.entries(BUNDLERS)) {
  test(`${name}: a bundle by the documented configuration runs a command in a VM, and has the actor`, async () => {
    await build();
    assert.equal(await node([built()]), "user function\n");
  });

  test(`${name}: a bundle that holds the package, and is moved, names bundling`, async () => {
    await forgotten();
    const from = built();
    const to = join(elsewhere(), from.replace("dist/", ""));
    renameSync(from, to);
    // Node.js would also print the line that failed, which in a minified bundle is the whole file.
    const load = `import(${JSON.stringify(to)}).catch(({ message }) => { console.log(message); process.exit(1); })`;
    assertBundled(await failureOf(node(["--eval", load])));
  });

  test(`${name}: agent-vm/client is bundled for a browser`, async () => {
    await browser();
    const code = readFileSync(built(), "utf8");
    assert.match(code, /createClient/);
    assert.doesNotMatch(code, /bundled or moved|from ?["']node:|require\(["']node:/);
  });
}
