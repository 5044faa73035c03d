/**
 * The connection: which API this spreadsheet talks to, and the key that says which spreadsheet it is.
 *
 * Both are document properties. Whoever may edit the spreadsheet can read them; the key is therefore good for this one
 * spreadsheet only. The properties also say which spreadsheet was connected: a copy that took them along is not.
 */

/**
 * @typedef {object} Kept
 * @property {string} url without a slash at its end; '' until it is known
 * @property {?SheetKey} key
 * @property {boolean} isCopy whether the key is another spreadsheet's
 * @property {string} serviceAccount whom to share the spreadsheet with; '' until it is known
 * @property {boolean} auto whether auto mode is on
 * @property {boolean} imagesAsked whether somebody decided about pictures from the net
 */

/**
 * Read what is kept.
 *
 * @return {Kept}
 */
function kept_() {
  const all = PropertiesService.getDocumentProperties().getProperties();
  const owner = all.SPREADSHEET_ID || '';
  return {
    url: DEPLOYED_API_URL_ || all.API_URL || '',
    key: parseKey_(all.SHEET_KEY || ''),
    isCopy: owner !== '' && owner !== SpreadsheetApp.getActiveSpreadsheet().getId(),
    serviceAccount: all.SERVICE_ACCOUNT || '',
    auto: all.AUTO === 'on',
    imagesAsked: Boolean(all.IMAGES),
  };
}

/**
 * Give the connection.
 *
 * @param {Kept} kept
 * @return {?Connection} null while there is none
 */
function connectionOf_({ url, key, isCopy, auto }) {
  return url && key && !isCopy ? { url, key, auto } : null;
}

/**
 * Give the connection, or say what is missing.
 *
 * @return {Connection}
 */
function needConnection_() {
  const kept = kept_();
  const connection = connectionOf_(kept);
  if (!connection) throw new ForPerson_(whyNotConnected_(kept));
  return connection;
}

/**
 * Say why there is no connection.
 *
 * @param {Kept} kept
 * @return {string}
 */
function whyNotConnected_({ isCopy }) {
  return isCopy
    ? 'This spreadsheet is a copy, and a copy is not connected: its rows would land in the original. Open ComfySheet > Settings and connect it with a code of its own.'
    : 'This spreadsheet is not connected yet. Open ComfySheet > Settings, enter the code that you were given and press Connect.';
}

/**
 * Remember whether auto mode is on when the API says so; it may have been switched elsewhere.
 *
 * @param {boolean} was what was known
 * @param {any} is what the API says
 */
function rememberAuto_(was, is) {
  if (typeof is === 'boolean' && is !== was) PropertiesService.getDocumentProperties().setProperty('AUTO', is ? 'on' : '');
}

/**
 * Check the address of the API.
 *
 * @param {string} text
 * @return {?string} without a slash at its end; null when it cannot be one. Plain http only reaches this machine itself.
 */
function checkUrl_(text) {
  const found = /^(https:\/\/[^\s/?#@]+|http:\/\/(?:localhost|127\.0\.0\.1|\[::1\])(?::\d+)?)(\/[^\s?#]*)?$/i.exec(text);
  return found && text.replace(/\/+$/, '');
}
