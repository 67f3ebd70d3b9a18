// A model that follows a script, in place of one behind an API. It gets the whole conversation and answers with one
// tool call, or with a final message. Like a real model it makes a mistake and corrects it after seeing a tool's
// result.

const edit = (body) => ({
  name: "write_file",
  input: {
    path: "median.js",
    content: `"use strict";

/** The median of some numbers; for an even count, the mean of the two in the middle. */
function median(numbers) {
${body}
}

module.exports = { median };
`,
  },
});

const endless = `  const sorted = [...numbers];
  for (let done = false; !done;) sorted.sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];`;

const right = `  const sorted = numbers.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;`;

const script = [
  () => ({ text: "I look at what there is.", tool: { name: "read_file", input: { path: "median.js" } } }),
  (result) => ({
    text: result.includes("numbers.sort()")
      ? "It sorts numbers as text. I see what the checks say."
      : "I run the checks.",
    tool: { name: "run", input: { command: "node check.js", seconds: 30 } },
  }),
  () => ({ text: "I sort them as numbers.", tool: edit(endless) }),
  () => ({ text: "Again.", tool: { name: "run", input: { command: "node check.js", seconds: 2 } } }),
  (result) => ({
    text: result.includes("took too long") ? "My loop never ends." : "It fails still.",
    tool: edit(right),
  }),
  () => ({ text: "Once more.", tool: { name: "run", input: { command: "node check.js", seconds: 30 } } }),
  (result) => ({ text: result.includes("all checks passed") ? "Fixed: all checks pass." : "I give up." }),
];

export async function model(messages) {
  const turn = messages.filter(({ role }) => role === "assistant").length;
  return script[turn](messages.at(-1).content);
}
