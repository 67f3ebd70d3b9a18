"use strict";
// The pages of the documentation site are the project's documents, and their links lead to pages, pictures or the
// repository. `npm run site` builds the site from them, and `npm run site:check` checks it in a browser.
const { execFileSync } = require("node:child_process");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");

const { anchors, blocks, documents, links, read } = require("../fixture/markdown");
const { root } = require("../fixture/project");

const { repository } = require("../../package.json");
const github = repository.url.replace(/^git\+|\.git$/g, "");

const directory = fs.mkdtempSync(path.join(os.tmpdir(), "agent-vm-pages-"));
execFileSync(process.execPath, [path.join(root, "site/pages.mjs"), directory]);
afterAll(() => fs.rmSync(directory, { recursive: true }));

const pages = fs.readdirSync(directory).filter((name) => name.endsWith(".md"));
const text = (name) => fs.readFileSync(path.join(directory, name), "utf8");

test("every document of docs/ is a page", () => {
  const names = documents().filter((name) => name.startsWith("docs/"));
  expect(names.length).toBeGreaterThan(10);
  expect(pages).toEqual(expect.arrayContaining(names.map((name) => path.basename(name))));
});

test.each(pages)("the links of the page %s lead somewhere", (page) => {
  const broken = links(text(page)).filter((target) => {
    if (target.startsWith(`${github}/blob/main/`)) {
      return !fs.existsSync(path.join(root, target.slice(`${github}/blob/main/`.length).split("#")[0]));
    }
    if (/^[a-z]+:/.test(target) || target === "/reference/") return false;
    const [file, anchor] = target.split("#");
    if (!fs.existsSync(path.join(directory, file || page))) return true;
    return anchor !== undefined && !anchors(text(file || page)).includes(anchor);
  });
  expect(broken).toEqual([]);
});

test("no page leads to the repository for what is a page", () => {
  const documented = pages
    .flatMap((page) => links(text(page)))
    .filter((target) => /blob\/main\/docs\/\w+\.md/.test(target));
  expect(documented).toEqual([]);
});

test("code is on a page as in its document", () => {
  const code = (source) => blocks(source).map((block) => block.code);
  expect(code(text("index.md"))).toEqual(code(read("README.md")));
  expect(code(text("recipes.md"))).toEqual(code(read("docs/recipes.md")));
});
