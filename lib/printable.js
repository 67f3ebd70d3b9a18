"use strict";
// Text of others on a terminal or in a log: JSON.stringify leaves what some terminals take for the beginning of a command.

/**
 * JSON without DEL, the control characters from U+0080 to U+009F, and the line breaks U+2028 and U+2029: as \u escapes.
 * @param {string} json
 */
function printable(json) {
  return json.replace(
    /[\u007f-\u009f\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

module.exports = { printable };
