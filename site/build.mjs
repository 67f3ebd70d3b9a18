// Builds the documentation site: the documents as pages, TypeDoc's reference of every public name, and a search over
// both. Its packages are installed in this directory, from the lock file here.
import { rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { reference, tool } from "./reference.mjs";
import { writePages } from "./pages.mjs";
import { out, pages } from "./places.mjs";
import { step } from "../scripts/step.mjs";

const here = dirname(fileURLToPath(import.meta.url));

rmSync(join(pages, ".."), { recursive: true, force: true });
writePages(pages);
const plugins = ["--plugin", "typedoc-plugin-markdown", "--plugin", "typedoc-vitepress-theme", "--docsRoot", pages];
reference(join(pages, "reference"), plugins);
step(process.execPath, [tool("vitepress/bin/vitepress.js"), "build", here]);
console.log(`The site is in ${out}; npm run site:check looks at it in a browser.`);
