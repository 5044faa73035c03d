/**
 * What people are told, and how.
 */

/** When this execution began; the time that a question stands open counts too. */
const BEGUN_MS_ = Date.now();

/** Something that a person must know; its message is a whole sentence, what happened and what to do. */
class ForPerson_ extends Error {
  /**
   * @param {string} message
   * @param {number} [code] the API's HTTP status, where it is the reason
   */
  constructor(message, code) {
    super(message);
    this.code = code;
  }
}

/**
 * Say whether the API does not take the key: asking again will not help.
 *
 * @param {number|undefined} code
 * @return {boolean}
 */
function isRefusal_(code) {
  return code === 401 || code === 403;
}

/**
 * Do what a menu item asks, and say what came of it.
 *
 * @param {() => string} work gives what to say in passing; '' = nothing
 */
function fromMenu_(work) {
  try {
    const message = work();
    if (message) tell_(message);
  } catch (error) {
    if (!(error instanceof ForPerson_)) throw error;
    insist_(error.message);
  }
}

/**
 * Tell the person something in passing. That it cannot be shown is no reason to stop.
 *
 * @param {string} message long ones stay longer
 */
function tell_(message) {
  try {
    SpreadsheetApp.getActiveSpreadsheet().toast(message, 'ComfySheet', message.length > 80 ? 20 : 8);
  } catch (error) {
    console.warn(`Not shown (${error.message}): ${message}`);
  }
}

/**
 * Tell the person something that must be read, and wait for OK.
 *
 * @param {string} message what happened and what to do
 */
function insist_(message) {
  const ui = SpreadsheetApp.getUi();
  ui.alert('ComfySheet', message, ui.ButtonSet.OK);
}

/**
 * Ask a question and wait.
 *
 * @param {string} question
 * @return {boolean} whether the answer is yes; a closed dialog is a no
 */
function agrees_(question) {
  const ui = SpreadsheetApp.getUi();
  return ui.alert('ComfySheet', question, ui.ButtonSet.YES_NO) === ui.Button.YES;
}

/**
 * Write a number with commas.
 *
 * @param {number} number
 * @return {string} such as 1,000
 */
function number_(number) {
  return String(number).replace(/\B(?=(\d{3})+$)/g, ',');
}

/**
 * Count things.
 *
 * @param {number} number
 * @param {string} one
 * @param {string} [many] one with an s when left out
 * @return {string} such as "1 row" or "1,000 rows"
 */
function count_(number, one, many) {
  return `${number_(number)} ${number === 1 ? one : many || `${one}s`}`;
}

/**
 * Make a sentence from elsewhere fit for a cell: short, and never a formula, whatever the cell's format.
 *
 * @param {string} sentence
 * @return {string} at most 200 characters
 */
function asText_(sentence) {
  const short = sentence.length > 190 ? `${sentence.slice(0, 189)}…` : sentence;
  return /^\s*[=+\-@']/.test(short) ? `Refused: ${short}` : short;
}
