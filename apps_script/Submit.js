/**
 * Bring marked rows to the API, and write back what did not work.
 */

/** Rows in one request; the API takes 100. */
const MAX_ROWS_ = 50;

/** UTF-8 bytes of one request; the API takes a little more. */
const MAX_BODY_BYTES_ = 200000;

/** When to stop sending: Google ends a script after 6 minutes without a word, and its rows would stay "queued". */
const LAST_SEND_MS_ = 270000;

/**
 * @typedef {object} Verdict
 * @property {string} key the Job ID
 * @property {number} row where the row was when it was read, for messages
 * @property {*} status what Status is to hold
 * @property {string} sentence what Error is to hold
 */

/**
 * @typedef {object} Outcome
 * @property {number} queued how many rows the API took
 * @property {Verdict[]} refused rows that can never work as they are
 * @property {Verdict[]} failed rows that did not reach the API
 */

/**
 * Send the rows in as few requests as fit.
 *
 * @param {Connection} connection
 * @param {SpreadsheetApp.Sheet} sheet
 * @param {Batch} batch
 * @return {Outcome}
 */
function submit_(connection, sheet, batch) {
  /** @type {Outcome} */
  const outcome = { queued: 0, refused: [], failed: [] };
  const end = Date.now() + LAST_SEND_MS_;
  const { sendable, faulty } = sortOut_(batch.rows);
  outcome.refused.push(...faulty);
  let trouble = '';
  for (const chunk of chunksOf_(sendable, headOf_(sheet))) {
    if (trouble === '' && Date.now() > end) trouble = 'There was no time left to send this row. Generate it again.';
    if (trouble === '') {
      trouble = sendChunk_(connection, chunk, outcome);
    } else {
      outcome.failed.push(...chunk.rows.map((row) => failed_(row, trouble)));
    }
  }
  return outcome;
}

/**
 * Split the rows into those that can be sent and those that would fail for certain.
 *
 * @param {Row[]} rows
 * @return {{sendable: {row: Row, text: string}[], faulty: Verdict[]}} text is the row's JSON
 */
function sortOut_(rows) {
  const sendable = [];
  const faulty = [];
  for (const row of rows) {
    const { key, wish } = row;
    const text = JSON.stringify({ job_key: key, row: row.row, workflow: wish.workflow, inputs: wish.inputs });
    const tooLong = utf8Length_(text) > MAX_BODY_BYTES_ / 2 ? 'The row holds too much text for one request (100 KB). Shorten it, then generate again.' : null;
    const fault = faultOf_(wish) || tooLong;
    if (fault) faulty.push(refused_(row, fault));
    else sendable.push({ row, text });
  }
  return { sendable, faulty };
}

/**
 * Give the part of a request that is the same for every chunk.
 *
 * @param {SpreadsheetApp.Sheet} sheet
 * @return {string} a JSON object without its closing brace
 */
function headOf_(sheet) {
  const head = {
    spreadsheet_id: SpreadsheetApp.getActiveSpreadsheet().getId(),
    sheet_id: sheet.getSheetId(),
  };
  return JSON.stringify(head).slice(0, -1);
}

/**
 * Pack rows into request bodies.
 *
 * @param {{row: Row, text: string}[]} sendable
 * @param {string} head
 * @return {{rows: Row[], body: string}[]}
 */
function chunksOf_(sendable, head) {
  /** @type {{rows: Row[], texts: string[], size: number}[]} */
  const chunks = [];
  for (const { row, text } of sendable) {
    const size = utf8Length_(text) + 1;
    let chunk = chunks[chunks.length - 1];
    if (!chunk || chunk.rows.length === MAX_ROWS_ || chunk.size + size > MAX_BODY_BYTES_) {
      chunk = { rows: [], texts: [], size: utf8Length_(head) + 12 };
      chunks.push(chunk);
    }
    chunk.rows.push(row);
    chunk.texts.push(text);
    chunk.size += size;
  }
  return chunks.map(({ rows, texts }) => ({ rows, body: `${head},"rows":[${texts.join(',')}]}` }));
}

/**
 * Send one request and note what became of its rows.
 *
 * @param {Connection} connection
 * @param {{rows: Row[], body: string}} chunk
 * @param {Outcome} outcome takes the news
 * @return {string} why the next chunks need not be tried, or ''
 */
function sendChunk_(connection, chunk, outcome) {
  const complete = (/** @type {Answer} */ { content }) =>
    content !== null && Array.isArray(content.results) && chunk.rows.every((row) => content.results.some((/** @type {{job_key: string}} */ one) => one.job_key === row.key));
  const answer = callApiPatiently_(connection, 'post', '/v1/sheets/jobs', chunk.body, complete);
  if (answer.code !== 200 || answer.content === null || !complete(answer)) {
    const reason = reasonOf_(answer);
    outcome.failed.push(...chunk.rows.map((row) => failed_(row, reason)));
    return answer.code === 400 || answer.code === 413 ? '' : reason; // those two are about this body only
  }
  const results = new Map(answer.content.results.map((/** @type {{job_key: string}} */ one) => [one.job_key, one]));
  for (const row of chunk.rows) {
    const { result, message } = results.get(row.key);
    if (result === 'rejected') outcome.refused.push(refused_(row, message || 'The API refused this row without saying why.'));
    else outcome.queued++;
  }
  return '';
}

/**
 * @param {Row} row
 * @param {string} sentence
 * @return {Verdict} the row can never work as it is
 */
function refused_(row, sentence) {
  return { key: row.key, row: row.row, status: 'error', sentence };
}

/**
 * @param {Row} row
 * @param {string} sentence
 * @return {Verdict} the row is as it was before; its new Job ID stays, in case the request arrived all the same
 */
function failed_(row, sentence) {
  return { key: row.key, row: row.row, status: row.before, sentence };
}

/**
 * Write verdicts into their rows, wherever those are by now: found by Job ID, and only where Status is still our own
 * "queued".
 *
 * @param {SpreadsheetApp.Sheet} sheet
 * @param {Verdict[]} verdicts
 */
function settle_(sheet, verdicts) {
  if (verdicts.length === 0) return;
  const { jobId, status, error } = readColumns_(sheet).ours;
  const height = sheet.getLastRow() - 1;
  if (jobId === undefined || status === undefined || height < 1) return;
  const byKey = new Map(verdicts.map((verdict) => [verdict.key, verdict]));
  const keys = sheet.getRange(2, jobId + 1, height, 1).getDisplayValues();
  const states = sheet.getRange(2, status + 1, height, 1).getDisplayValues();
  const found = keys.flatMap(([key], at) => {
    const verdict = byKey.get(key);
    return verdict && states[at][0] === 'queued' ? [{ row: at + 2, verdict }] : [];
  });
  writeColumn_(sheet, status, found.map(({ row, verdict }) => ({ row, value: verdict.status })));
  if (error === undefined) return;
  writeColumn_(sheet, error, found.map(({ row, verdict }) => ({ row, value: asText_(verdict.sentence) })), '@');
  SpreadsheetApp.flush();
}

/**
 * Make a sentence from elsewhere fit for a cell: it can never become a formula, whatever the cell's format.
 *
 * @param {string} sentence
 * @return {string} at most 500 characters
 */
function asText_(sentence) {
  const short = sentence.length > 500 ? `${sentence.slice(0, 499)}…` : sentence;
  return /^\s*[=+\-@']/.test(short) ? `Refused: ${short}` : short;
}

/**
 * Count the bytes a text takes in UTF-8.
 *
 * @param {string} text
 * @return {number}
 */
function utf8Length_(text) {
  let size = 0;
  for (const character of text) {
    const code = character.codePointAt(0) || 0;
    size += code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
  }
  return size;
}
