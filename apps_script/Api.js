/**
 * Talk to the API.
 */

/** How long to wait before the second and the third try. */
const RETRY_AFTER_MS_ = [1000, 4000];

/**
 * @typedef {object} Connection
 * @property {string} url without a slash at its end
 * @property {SheetKey} key
 * @property {boolean} auto whether auto mode is on, as far as this spreadsheet knows
 */

/**
 * @typedef {object} Answer
 * @property {number} code HTTP status; 0 = no answer at all
 * @property {?Object<string, any>} content the JSON object of the answer, null when it is none
 */

/**
 * Send one signed request.
 *
 * @param {Connection} connection
 * @param {string} method 'get' or 'post'
 * @param {string} path from '/' on
 * @param {string} body '' for none
 * @return {Answer}
 */
function callApi_(connection, method, path, body) {
  const bytes = bytesOf_(body);
  /** @type {Object<string, any>} */
  const options = {
    method,
    headers: signedHeaders_(connection.key, bytes, Utilities.getUuid(), Math.floor(Date.now() / 1000)),
    muteHttpExceptions: true,
    followRedirects: false, // a redirect would carry the signature to another host
  };
  if (bytes.length > 0) Object.assign(options, { contentType: 'application/json', payload: bytes });
  return fetch_(connection.url + path, options);
}

/**
 * Send a request whose repetition is harmless, up to three times: no answer, 5xx and 429 may pass.
 *
 * @param {Connection} connection
 * @param {string} method
 * @param {string} path
 * @param {string} body
 * @param {(answer: Answer) => boolean} settled says whether an answer with code 200 can be used
 * @return {Answer} the last one
 */
function callApiPatiently_(connection, method, path, body, settled) {
  let answer = callApi_(connection, method, path, body);
  for (const wait of RETRY_AFTER_MS_) {
    if (answer.code === 200 ? settled(answer) : answer.code >= 400 && answer.code < 500 && answer.code !== 429) break;
    Utilities.sleep(wait);
    answer = callApi_(connection, method, path, body);
  }
  return answer;
}

/**
 * Ask the API something about this spreadsheet.
 *
 * @param {Connection} connection
 * @param {string} path
 * @param {Object<string, any>} fields of the body, besides spreadsheet_id
 * @return {Object<string, any>} the answer; throws a sentence for the person when there is none
 */
function askApi_(connection, path, fields) {
  const body = JSON.stringify({ spreadsheet_id: SpreadsheetApp.getActiveSpreadsheet().getId(), ...fields });
  const answer = callApiPatiently_(connection, 'post', path, body, ({ content }) => content !== null);
  if (answer.code !== 200 || answer.content === null) throw new ForPerson_(reasonOf_(answer), answer.code);
  return answer.content;
}

/** What a Job ID may be; the API refuses a request that names anything else. */
const JOB_ID_ = /^[A-Za-z0-9_.:-]{1,128}$/;

/**
 * Split keys into requests. What somebody typed as a Job ID and can be none is not asked for: the API would refuse them all.
 *
 * @param {string[]} keys
 * @return {string[][]} of at most MAX_ROWS_ each
 */
function inRequests_(keys) {
  const able = keys.filter((key) => JOB_ID_.test(key));
  return Array.from({ length: Math.ceil(able.length / MAX_ROWS_) }, (_, at) => able.slice(at * MAX_ROWS_, (at + 1) * MAX_ROWS_));
}

/**
 * Fetch, and never throw: no answer is an answer with code 0.
 *
 * @param {string} url
 * @param {Object<string, any>} options
 * @return {Answer}
 */
function fetch_(url, options) {
  let response;
  try {
    response = UrlFetchApp.fetch(url, options);
  } catch (error) {
    console.warn(`No answer: ${error.message}`);
    return { code: 0, content: null };
  }
  let content = null;
  try {
    content = JSON.parse(response.getContentText());
  } catch (error) {
    console.warn(`The answer with code ${response.getResponseCode()} is no JSON.`);
  }
  return { code: response.getResponseCode(), content: content instanceof Object ? content : null };
}

/**
 * Say why a whole request came to nothing and what to do about it.
 *
 * @param {Answer} answer
 * @return {string}
 */
function reasonOf_(answer) {
  const { code, content } = answer;
  const said = content && content.error && typeof content.error.message === 'string' ? content.error.message : '';
  if (code === 0) return 'The API did not answer. Try again in a minute; if it stays so, check the address in ComfySheet > Settings.';
  if (isRefusal_(code)) {
    return `${said || 'The API refused the key of this spreadsheet.'} Connect again in ComfySheet > Settings.`;
  }
  if (code === 429) return `${said || 'The API has too much to do.'} Try again in a minute.`;
  if (code === 404) return 'There is no ComfySheet API at that address. Check it in ComfySheet > Settings.';
  if (code >= 400 && code < 500) return said || `The API refused the request (code ${code}). Tell whoever runs it.`;
  return `The API has a fault (code ${code}). Try again in a minute; if it stays so, tell whoever runs it.`;
}
