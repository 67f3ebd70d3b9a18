"use strict";
// Markdown as GitHub shows it, as far as the tests of the documents go.

const { execFileSync } = require("node:child_process");
const fs = require("node:fs");
const path = require("node:path");

const { root } = require("../node-script");

/** The project's own documents, relative to its root. */
function documents() {
  const folders = ["", "docs", ...subfolders("examples"), ...subfolders("npm")];
  return folders.flatMap((folder) =>
    fs
      .readdirSync(path.join(root, folder))
      .filter((name) => name.endsWith(".md"))
      .map((name) => path.join(folder, name)),
  );
}

function subfolders(folder) {
  return fs
    .readdirSync(path.join(root, folder), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => path.join(folder, entry.name));
}

const read = (name) => fs.readFileSync(path.join(root, name), "utf8");

/** The fenced blocks of a document: `{ language, code, line }`. */
function blocks(text) {
  const found = [];
  let open;
  text.split("\n").forEach((line, index) => {
    const fence = /^```(\w*)/.exec(line);
    if (open && line === "```") {
      found.push({ ...open, code: open.code.join("\n") });
      open = undefined;
    } else if (open) open.code.push(line);
    else if (fence) open = { language: fence[1], code: [], line: index + 1 };
  });
  if (open) throw new Error(`the block of line ${open.line} has no end`);
  return found;
}

const withoutCode = (text) => text.replace(/^```[\s\S]*?^```$/gm, "").replace(/`[^`\n]*`/g, "code");

/** Where the links and pictures of a document lead. */
function links(text) {
  const inline = [...withoutCode(text).matchAll(/\]\(([^()\s]+)\)/g)].map(([, target]) => target);
  const named = [...withoutCode(text).matchAll(/^\[[^\]]+\]: (\S+)/gm)].map(([, target]) => target);
  return [...inline, ...named];
}

/** What its headings are called in addresses. */
function anchors(text) {
  return [...text.replace(/^```[\s\S]*?^```$/gm, "").matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, "")
      .replace(/\s/g, "-"),
  );
}

/** Whether a shell understands it; fails with what it says if not. */
function parseShell(code) {
  execFileSync("sh", ["-n"], { input: code, stdio: ["pipe", "ignore", "pipe"] });
}

module.exports = { anchors, blocks, documents, links, parseShell, read };
