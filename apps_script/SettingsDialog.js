/**
 * What the Settings dialog asks for. The key itself never leaves the script: the dialog sees its id.
 */

/** How often to look whether the service has run an errand, and for how long. */
const ERRAND_PAUSE_MS_ = 1500;
const ERRAND_WAIT_MS_ = 30000;

/**
 * @typedef {object} SettingsState
 * @property {boolean} connected
 * @property {boolean} isCopy whether this is a copy of a spreadsheet that is connected
 * @property {string} url
 * @property {boolean} fixedUrl whether the address was set at deployment
 * @property {string} keyId
 * @property {string} client
 * @property {string} serviceAccount
 * @property {boolean} auto
 * @property {boolean} imagesAsked
 * @property {?Usage} usage
 * @property {?{rowsPerRequest: number, queuedMax: ?number}} limits null for a number: there is none
 * @property {?number} workers
 * @property {?{reason: string, since: string}} parked
 * @property {boolean} refused whether the API does not take the key: only connecting again helps
 * @property {string} trouble why the API could not be asked; '' when it could
 * @property {string} version
 */

/**
 * @typedef {object} Usage
 * @property {number} images
 * @property {number} gpuSeconds
 * @property {string} text
 */

/**
 * Dialog: what there is.
 *
 * @return {SettingsState}
 */
function settingsState() {
  const kept = kept_();
  const connection = connectionOf_(kept);
  const { url, isCopy, serviceAccount, auto, imagesAsked } = kept;
  /** @type {SettingsState} */
  const state = {
    connected: connection !== null, isCopy, url, fixedUrl: DEPLOYED_API_URL_ !== '', keyId: '', client: '', serviceAccount, auto,
    imagesAsked, usage: null, limits: null, workers: null, parked: null, refused: false, trouble: '', version: '',
  };
  if (!connection) return state;
  state.keyId = connection.key.id;
  try {
    const news = askApi_(connection, '/v1/sheets/connection', {});
    rememberAuto_(auto, news.auto);
    const limits = news.limits && { rowsPerRequest: news.limits.rows_per_request, queuedMax: numberOr_(news.limits.queued_max) };
    return {
      ...state,
      client: news.client || '',
      serviceAccount: news.service_account || serviceAccount,
      auto: typeof news.auto === 'boolean' ? news.auto : auto,
      usage: usageOf_(news.usage),
      limits: limits || null,
      workers: numberOr_(news.workers),
      parked: news.parked || null,
      version: news.version || '',
    };
  } catch (error) {
    if (!(error instanceof ForPerson_)) throw error;
    return { ...state, refused: isRefusal_(error.code), trouble: error.message };
  }
}

/**
 * Word what was used.
 *
 * @param {any} usage as the API says it
 * @return {?Usage}
 */
function usageOf_(usage) {
  if (!usage) return null;
  const images = Number(usage.images) || 0;
  const gpuSeconds = Number(usage.gpu_s) || 0;
  const time = gpuSeconds < 90 ? `${Math.round(gpuSeconds)} s` : `${number_(Math.round(gpuSeconds / 60))} min`;
  const cost = usage.cost ? `, ${usage.cost}` : '';
  return { images, gpuSeconds, text: `${count_(images, 'image')}, ${time} of GPU time${cost}` };
}

/**
 * Take a number that may be missing.
 *
 * @param {any} value
 * @return {?number}
 */
function numberOr_(value) {
  return typeof value === 'number' ? value : null;
}

/**
 * Dialog: connect with a one-time code, or with a key.
 *
 * @param {string} url ignored when the address was set at deployment
 * @param {string} code cc_... or ck_...
 * @return {SettingsState & {message: string}}
 */
function settingsConnect(url, code) {
  const address = checkUrl_(DEPLOYED_API_URL_ || String(url || '').trim());
  if (!address) throw new ForPerson_('That is not an address the script can use. It starts with https:// and has no spaces, question mark or #. Nothing was changed.');
  const word = String(code || '').trim();
  if (word.startsWith('cc_')) {
    const { key, serviceAccount } = pair_(address, word);
    if (!parseKey_(key)) throw new ForPerson_('The service gave a key that this script cannot read. The script may be too old: ask whoever runs the service for the new one.');
    keepConnection_(address, key, serviceAccount);
    return { ...settingsState(), message: 'Connected. Select rows and press ComfySheet > Generate selected rows.' };
  }
  if (!parseKey_(word)) throw new ForPerson_('That is neither a code (it starts with cc_) nor a key (ck_, twelve characters, an underscore and 43 characters more). Copy all of it. Nothing was changed.');
  tryKey_(address, word);
  keepConnection_(address, word, '');
  const state = settingsState();
  if (state.serviceAccount) PropertiesService.getDocumentProperties().setProperty('SERVICE_ACCOUNT', state.serviceAccount);
  const message = state.trouble ? `Saved, but it does not work yet. ${state.trouble}` : 'Connected. Select rows and press ComfySheet > Generate selected rows.';
  return { ...state, message };
}

/**
 * See that the API does not refuse a key, before it takes the place of one that works. No answer is no refusal.
 *
 * @param {string} url
 * @param {string} text
 */
function tryKey_(url, text) {
  const key = parseKey_(text);
  if (!key) return;
  const body = JSON.stringify({ spreadsheet_id: SpreadsheetApp.getActiveSpreadsheet().getId() });
  const answer = callApi_({ url, key, auto: false }, 'post', '/v1/sheets/connection', body);
  if (!isRefusal_(answer.code)) return;
  const said = answer.content && answer.content.error && answer.content.error.message;
  throw new ForPerson_(`${said || 'The API refused this key.'} Nothing was changed.`);
}

/**
 * Keep a connection.
 *
 * @param {string} url
 * @param {string} key
 * @param {string} serviceAccount
 */
function keepConnection_(url, key, serviceAccount) {
  PropertiesService.getDocumentProperties().setProperties({
    API_URL: url,
    SHEET_KEY: key,
    SPREADSHEET_ID: SpreadsheetApp.getActiveSpreadsheet().getId(),
    SERVICE_ACCOUNT: serviceAccount,
    AUTO: '',
  });
}

/**
 * Dialog: try whether everything works.
 *
 * @return {{ok: boolean, message: string}}
 */
function settingsTest() {
  const connection = needConnection_();
  const health = fetch_(`${connection.url}/health`, { muteHttpExceptions: true });
  if (health.code !== 200 || !health.content || health.content.status !== 'ok') {
    return { ok: false, message: reasonOf_(health.code === 200 ? { code: 404, content: null } : health) };
  }
  try {
    const { state, message } = runErrand_(connection, 'check', false);
    return { ok: state === 'done', message };
  } catch (error) {
    if (!(error instanceof ForPerson_)) throw error;
    return { ok: false, message: error.message };
  }
}

/**
 * Let the service do something with this spreadsheet through its own account, and wait for it.
 *
 * @param {Connection} connection
 * @param {string} what 'check' or 'prepare'
 * @param {boolean} allowImages
 * @return {{state: string, message: string}} state: done or failed
 */
function runErrand_(connection, what, allowImages) {
  const sheetId = SpreadsheetApp.getActiveSheet().getSheetId();
  const { id } = askApi_(connection, '/v1/sheets/errands', { sheet_id: sheetId, what, allow_images: allowImages });
  for (let waited = 0; waited < ERRAND_WAIT_MS_; waited += ERRAND_PAUSE_MS_) {
    Utilities.sleep(ERRAND_PAUSE_MS_);
    const { state, message } = askApi_(connection, '/v1/sheets/errands/look', { id });
    if (state === 'done' || state === 'failed') return { state, message: message || '' };
  }
  return { state: 'failed', message: 'The service did not answer within 30 seconds. Try again in a minute.' };
}

/**
 * Dialog: switch auto mode on or off.
 *
 * @param {boolean} on
 * @return {{on: boolean, message: string}}
 */
function settingsAuto(on) {
  const connection = needConnection_();
  // A run that began without the lease must not meet the service in the same rows.
  if (on && livingRuns_().size > 0) {
    throw new ForPerson_('Rows of this spreadsheet are being started just now. Switch auto mode on in a minute.');
  }
  const answer = askApi_(connection, '/v1/sheets/auto', { sheet_id: SpreadsheetApp.getActiveSheet().getSheetId(), on: Boolean(on) });
  PropertiesService.getDocumentProperties().setProperty('AUTO', answer.on ? 'on' : '');
  return {
    on: Boolean(answer.on),
    message: answer.on
      ? 'Auto mode is on for this tab: a row whose Status is set to pending, or whose Run box is ticked, starts within a minute.'
      : 'Auto mode is off: rows start from the menu only.',
  };
}

/**
 * Dialog: let IMAGE() fetch pictures in this spreadsheet.
 *
 * @return {{message: string}}
 */
function settingsAllowImages() {
  const { state, message } = runErrand_(needConnection_(), 'prepare', true);
  if (state !== 'done') throw new ForPerson_(message);
  rememberImages_('yes');
  return { message };
}

/**
 * Remember what was decided about pictures.
 *
 * @param {string} answer 'yes' or 'no'
 */
function rememberImages_(answer) {
  PropertiesService.getDocumentProperties().setProperty('IMAGES', answer);
}

/**
 * Dialog: forget the connection. The address stays.
 *
 * @return {SettingsState}
 */
function settingsDisconnect() {
  const kept = kept_();
  const connection = connectionOf_(kept);
  if (connection && kept.auto) endAuto_(connection);
  const properties = PropertiesService.getDocumentProperties();
  for (const name of ['SHEET_KEY', 'SPREADSHEET_ID', 'SERVICE_ACCOUNT', 'AUTO']) properties.deleteProperty(name);
  return settingsState();
}

/**
 * Switch auto mode off before the key is forgotten: without it nobody here could.
 *
 * @param {Connection} connection
 */
function endAuto_(connection) {
  try {
    askApi_(connection, '/v1/sheets/auto', { sheet_id: SpreadsheetApp.getActiveSheet().getSheetId(), on: false });
  } catch (error) {
    if (!(error instanceof ForPerson_)) throw error;
    throw new ForPerson_(`Auto mode could not be switched off, so the connection was kept. ${error.message}`);
  }
}
