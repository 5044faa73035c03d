/**
 * Settings: which API this spreadsheet talks to, and the key that says which spreadsheet it is.
 *
 * Both are document properties. Whoever may edit the spreadsheet can read them; the key is therefore good for this one
 * spreadsheet only, and a copy of the spreadsheet starts without it.
 */

/**
 * Read the connection.
 *
 * @return {?Connection} null until Settings were filled in
 */
function connection_() {
  const properties = PropertiesService.getDocumentProperties();
  const url = properties.getProperty('API_URL');
  const key = parseKey_(properties.getProperty('SHEET_KEY') || '');
  return url && key ? { url, key } : null;
}

/**
 * Menu: ask for address and key, keep them, try them.
 */
function settings() {
  const properties = PropertiesService.getDocumentProperties();
  const oldUrl = properties.getProperty('API_URL') || '';
  const oldKey = properties.getProperty('SHEET_KEY') || '';
  const url = ask_('Address of the API', oldUrl ? `Now: ${oldUrl}\nLeave empty to keep it.` : 'Such as https://example.com/api', oldUrl);
  if (url === null) return;
  const address = checkUrl_(url);
  if (!address) {
    insist_('That is not an address the script can use. It starts with https:// and has no spaces, question mark or #. Nothing was changed.');
    return;
  }
  const key = ask_('Key of this spreadsheet', oldKey ? 'Leave empty to keep the present key.' : 'It starts with ck_. Whoever runs the API makes one for each spreadsheet.', oldKey);
  if (key === null) return;
  const parsed = parseKey_(key);
  if (!parsed) {
    insist_('That is not a key. It looks like ck_, twelve characters, an underscore and 43 characters more; copy all of it. Nothing was changed.');
    return;
  }
  properties.setProperties({ API_URL: address, SHEET_KEY: key });
  insist_(tryConnection_({ url: address, key: parsed }));
}

/**
 * Ask one question.
 *
 * @param {string} title
 * @param {string} text
 * @param {string} present what an empty answer means
 * @return {?string} null when the person does not want to go on
 */
function ask_(title, text, present) {
  const ui = SpreadsheetApp.getUi();
  const response = ui.prompt(title, text, ui.ButtonSet.OK_CANCEL);
  return response.getSelectedButton() === ui.Button.OK ? response.getResponseText().trim() || present : null;
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

/**
 * Try the connection and say in plain words what came of it.
 *
 * @param {Connection} connection
 * @return {string}
 */
function tryConnection_(connection) {
  const health = fetch_(`${connection.url}/health`, { muteHttpExceptions: true });
  if (health.code !== 200 || !health.content || health.content.status !== 'ok') {
    return `Saved, but it does not work yet. ${health.code === 200 ? reasonOf_({ code: 404, content: null }) : reasonOf_(health)}`;
  }
  const workflows = callApi_(connection, 'get', '/v1/sheets/workflows', '');
  if (workflows.code !== 200) return `Saved, but it does not work yet: the API answers, but not to this key. ${reasonOf_(workflows)}`;
  return `Saved. The API answers (version ${health.content.version || 'unknown'}) and knows the key. Select rows and press ComfySheet > Generate selected rows.`;
}
