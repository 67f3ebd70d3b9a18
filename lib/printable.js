"use strict";
// Makes text from elsewhere safe for a terminal or a log: JSON.stringify keeps characters that some terminals
// interpret as the start of a control sequence.

/**
 * Replaces DEL, the control characters U+0080 to U+009F, and the line breaks U+2028 and U+2029 in JSON with \u
 * escapes.
 * @param {string} json
 */
function printable(json) {
  return json.replace(
    /[\u007f-\u009f\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

module.exports = { printable };
