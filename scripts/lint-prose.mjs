// Finds phrases that are hard to read, and says what to write instead. ARCHITECTURE.md ("Words") has the terms to use.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./step.mjs";

/** Regular expressions, matched at word boundaries in any case, and what to write instead. */
const BANNED = [
  ["tells? of|told of", "reports"],
  ["is told|are told|be told|was told|were told", "is called, gets the event, learns"],
  ["hears? of|heard of", "learns, gets"],
  ["(is|are) to be", "must be, will be"],
  ["nobody's", "belongs to no user, is not used"],
  [
    "an? [a-z-]+ of the (?:host|server|guest|kernel|owner|user|client|actor|caller)'s(?: own\\b|(?! [a-z]))",
    "a host directory",
  ],
  ["likewise", "repeat the fact"],
  ["he|his|him", "it, the user"],
  ["lies? in|lies? below|stands? in", "is in"],
  ["comes? by", "arrives with"],
  ["has no use for|have no use for", "does not need"],
  ["but for", "except"],
  ["anew", "again"],
  ["whoever", "name the noun"],
  ["folders?", "directory"],
  ["wants", "needs, asks for"],
  ["(?:would|may|must) say that", "means that"],
  ["(?:can|could|may|might|to) be had", "is available, is free"],
  ["as (?:\\w+ ){1,3}ha(?:s|ve) it", "as in"],
  ["with all below", "with everything"],
  ["(?:takes?|took) (?:its|their|his) time", "is slow"],
  ["(?:takes?|took) note", "records"],
  ["by turns|in vain|in the midst", "in turns, without success, in the middle"],
  ["gone over to", "compromised by"],
  ["mends?|mended|bears|bore|borne", "repairs, has, handles"],
  ["seldom|hence|lest", "rarely, so, so that not"],
  ["stands? (?:behind|beside|before|over)", "is after, is beside"],
  ["(?:somebody|anybody|nobody) else's", "another user's, another process's"],
];

/** Paths that are still to be rewritten. Do not add any. */
const NOT_YET = [];

/** Files without prose of ours, and records of what was. */
const SKIPPED =
  /(^|\/)(package-lock\.json|Cargo\.lock|CHANGELOG\.md|LICENSE-.*)$|\.(png|svg|snap)$|^docs\/bench\.json$|^scripts\/lint-prose\.mjs$/;

const patterns = BANNED.map(([phrase, instead]) => ({
  pattern: new RegExp(`\\b(?:${phrase})(?![a-z])`, "gi"),
  instead,
}));
const files = execFileSync("git", ["ls-files", "-z"], { cwd: root, encoding: "utf8" })
  .split("\0")
  .filter((file) => file !== "" && !SKIPPED.test(file) && !NOT_YET.some((path) => file.startsWith(path)));

let found = 0;
for (const file of files) {
  const lines = readFileSync(join(root, file), "utf8").split("\n");
  for (const [index, line] of lines.entries()) {
    for (const { pattern, instead } of patterns) {
      for (const [phrase] of line.matchAll(pattern)) {
        found++;
        console.error(`${file}:${index + 1}: "${phrase}": write ${instead}`);
      }
    }
  }
}
if (found > 0) {
  console.error(`${found} phrases to replace in ${files.length} files`);
  process.exit(1);
}
