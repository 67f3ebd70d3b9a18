// A model that follows a script, in place of one behind an API. It gets the whole conversation and answers with one command for
// its shell, or with a last word. Like a real one it makes a mistake on the way, and learns of it by what the shell answers.

const edit = (body) => `cat > median.js <<'END'
"use strict";

/** The middle one of some numbers; of an even count, the mean of the two in the middle. */
function median(numbers) {
${body}
}

module.exports = { median };
END`;

const endless = `  const sorted = [...numbers];
  for (let done = false; !done;) sorted.sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];`;

const right = `  const sorted = numbers.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;`;

const script = [
  () => ({ text: "I look at what there is.", command: "cat median.js" }),
  (result) => ({
    text: result.includes("numbers.sort()")
      ? "It sorts numbers as text. I see what the checks say."
      : "I run the checks.",
    command: "check() { node check.js; }; check",
    seconds: 30,
  }),
  () => ({ text: "I sort them as numbers.", command: edit(endless) }),
  () => ({ text: "Again.", command: "check", seconds: 2 }),
  (result) => ({
    text: result.includes("took too long") ? "My loop never ends." : "It fails still.",
    command: edit(right),
  }),
  () => ({ text: "Once more.", command: "check", seconds: 30 }),
  (result) => ({ text: result.includes("all checks passed") ? "Fixed: all checks pass." : "I give up." }),
];

export async function model(messages) {
  const turn = messages.filter(({ role }) => role === "assistant").length;
  return script[turn](messages.at(-1).content);
}
