"use strict";
// Every link from a document to a file or heading of the project has a target.
const fs = require("node:fs");
const path = require("node:path");

const { anchors, documents, links, read } = require("../fixture/markdown");
const { root } = require("../fixture/project");

test.each(documents())("the links of %s lead somewhere", (name) => {
  const broken = links(read(name)).filter((target) => {
    if (/^[a-z]+:/.test(target)) return !URL.canParse(target);
    const [file, anchor] = target.split("#");
    const to = file === "" ? name : path.join(path.dirname(name), decodeURI(file));
    if (!fs.existsSync(path.join(root, to))) return true;
    return anchor !== undefined && !anchors(read(to)).includes(anchor);
  });
  expect(broken).toEqual([]);
});

test("README has at most 900 words", () => {
  expect(read("README.md").trim().split(/\s+/).length).toBeLessThanOrEqual(900);
});

test("the guide names every call of a VM", () => {
  const { AgentVm } = require("../..");
  const statics = Object.getOwnPropertyNames(AgentVm).filter((name) => typeof AgentVm[name] === "function");
  const members = Object.getOwnPropertyNames(AgentVm.prototype).filter((name) => name !== "constructor");
  expect(members.length).toBeGreaterThan(30);
  const guide = read("docs/guide.md");
  const missing = [...members, ...statics.map((name) => `AgentVm.${name}`)].filter(
    (name) => !guide.includes(`\`${name}\``) && !guide.includes(`\`${name}(`),
  );
  expect(missing).toEqual([]);
});

test("README leads to every other document of the project", () => {
  const reached = new Set(["README.md"]);
  for (const name of reached) {
    for (const target of links(read(name))) {
      const to = path.join(path.dirname(name), target.split("#")[0]);
      if (!/^[a-z]+:/.test(target) && to.endsWith(".md")) reached.add(to);
    }
  }
  const own = documents().filter((name) => !name.startsWith("npm/"));
  expect(own.filter((name) => !reached.has(name))).toEqual([]);
});
