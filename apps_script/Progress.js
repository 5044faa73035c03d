/**
 * What the sidebar asks for: one read of the active tab, and the API's news of at most a hundred rows that are under way.
 *
 * Counts and errors are the cells' own words, so the sidebar says what the sheet says.
 */

/** How many rows the sidebar shows of each kind. */
const SHOWN_JOBS_ = 30;
const SHOWN_ERRORS_ = 20;

/** How often to ask while there is nothing to ask the API. */
const IDLE_POLL_S_ = 30;

/**
 * Sidebar: what is going on.
 *
 * @return {Object<string, any>} see Sidebar.html
 */
function sidebarNews() {
  const kept = kept_();
  const connection = connectionOf_(kept);
  const sheet = SpreadsheetApp.getActiveSheet();
  const table = readTable_(sheet);
  const { counts, underWay, errors } = sortByStatus_(table);
  const news = {
    connected: connection !== null, message: '', tab: sheet.getName(), counts, jobs: [], errors, lost: 0, etaS: null,
    cost: { images: 0, gpuSeconds: 0, text: '' }, parked: null, auto: kept.auto, workers: null, waiting: null, pollS: IDLE_POLL_S_,
  };
  if (!('status' in table.columns.ours)) news.message = 'This tab has no Status column. ComfySheet > Set up this sheet adds it.';
  if (!connection) return { ...news, message: whyNotConnected_(kept) };
  try {
    const [keys = []] = inRequests_(underWay.map(({ key }) => key));
    const live = askApi_(connection, '/v1/sheets/progress', { job_keys: keys });
    rememberAuto_(kept.auto, live.auto);
    return { ...news, ...liveNews_(table, underWay, live), auto: typeof live.auto === 'boolean' ? live.auto : kept.auto };
  } catch (error) {
    if (!(error instanceof ForPerson_)) throw error;
    return { ...news, message: error.message, jobs: underWay.slice(0, SHOWN_JOBS_).map((row) => jobOf_(table, row, {})) };
  }
}

/**
 * @typedef {object} UnderWay
 * @property {string} key the Job ID
 * @property {number} row 1-based
 * @property {string} state queued or processing
 */

/**
 * Count the rows of a tab, and keep those to be shown.
 *
 * @param {Table} table
 * @return {{counts: Object<string, number>, underWay: UnderWay[], errors: Object<string, any>[]}} processing rows first
 */
function sortByStatus_(table) {
  /** @type {Object<string, number>} */
  const counts = { pending: 0, queued: 0, processing: 0, done: 0, error: 0, cancelled: 0 };
  /** @type {UnderWay[]} */
  const underWay = [];
  const errors = [];
  for (const row of allRows_(table)) {
    const status = statusOf_(table, row);
    if (status === '' && !readWish_(table.columns, table.values[row - 1], table.shown[row - 1])) continue;
    const word = status === '' ? 'pending' : status;
    if (!(word in counts)) continue;
    counts[word]++;
    const key = textOf_(table, row, 'jobId');
    if (UNDER_WAY_.includes(word) && key !== '') underWay.push({ key, row, state: word });
    if (word === 'error' && errors.length < SHOWN_ERRORS_) {
      errors.push({ key, row, title: titleOf_(table, row), sentence: textOf_(table, row, 'error') });
    }
  }
  underWay.sort((a, b) => Number(a.state === 'queued') - Number(b.state === 'queued') || a.row - b.row);
  return { counts, underWay, errors };
}

/**
 * Name a row for people.
 *
 * @param {Table} table
 * @param {number} row 1-based
 * @return {string}
 */
function titleOf_(table, row) {
  const text = textOf_(table, row, 'prompt') || textOf_(table, row, 'workflow') || `Row ${row}`;
  return text.length > 80 ? `${[...text].slice(0, 79).join('')}…` : text;
}

/**
 * Put together what the API says.
 *
 * @param {Table} table
 * @param {UnderWay[]} underWay
 * @param {Object<string, any>} live
 * @return {Object<string, any>}
 */
function liveNews_(table, underWay, live) {
  /** @type {Map<string, any>} */
  const byKey = new Map((live.jobs || []).map((/** @type {any} */ one) => [one.job_key, one]));
  const isUnknown = (/** @type {UnderWay} */ { key }) => byKey.has(key) && byKey.get(key).state === 'unknown';
  const unknown = underWay.filter(isUnknown);
  const isAlive = unknown.length > 0 ? liveRuns_() : () => false;
  const lost = unknown.filter(({ key }) => !isAlive(key)).length;
  const jobs = underWay
    .filter((row) => ['queued', 'running'].includes((byKey.get(row.key) || { state: row.state === 'queued' ? 'queued' : 'running' }).state))
    .map((row) => jobOf_(table, row, byKey.get(row.key) || {}))
    .sort((a, b) => Number(a.state === 'queued') - Number(b.state === 'queued') || (a.position || 0) - (b.position || 0));
  const etas = [...byKey.values()].map(({ eta_s: eta }) => eta).filter((eta) => typeof eta === 'number');
  return {
    jobs: jobs.slice(0, SHOWN_JOBS_),
    lost,
    etaS: etas.length > 0 ? Math.max(...etas) : null,
    cost: usageOf_(live.usage || {}),
    parked: live.parked || null,
    workers: numberOr_(live.workers),
    waiting: numberOr_(live.waiting),
    pollS: numberOr_(live.poll_s) || IDLE_POLL_S_,
  };
}

/**
 * Describe a row that is under way.
 *
 * @param {Table} table
 * @param {UnderWay} row
 * @param {any} job what the API says of it
 * @return {Object<string, any>}
 */
function jobOf_(table, { key, row, state }, job) {
  return {
    key,
    row,
    title: titleOf_(table, row),
    state: job.state === 'running' ? 'processing' : job.state === 'queued' ? 'queued' : state,
    fraction: numberOr_(job.fraction),
    node: job.node || '',
    step: numberOr_(job.step),
    steps: numberOr_(job.steps),
    position: numberOr_(job.position),
    etaS: numberOr_(job.eta_s),
  };
}

/**
 * Sidebar: show a row.
 *
 * @param {string} key its Job ID
 * @return {{found: boolean}}
 */
function sidebarGoTo(key) {
  const active = SpreadsheetApp.getActiveSheet();
  const others = SpreadsheetApp.getActiveSpreadsheet().getSheets().filter((sheet) => sheet.getSheetId() !== active.getSheetId());
  for (const sheet of [active, ...others]) {
    const { jobId, prompt } = readColumns_(sheet).ours;
    const height = sheet.getLastRow() - 1;
    if (!key || jobId === undefined || height < 1) continue;
    const at = sheet.getRange(2, jobId + 1, height, 1).getDisplayValues().findIndex(([cell]) => cell.trim() === key);
    if (at < 0) continue;
    sheet.getRange(at + 2, (prompt || 0) + 1).activate();
    return { found: true };
  }
  return { found: false };
}

/**
 * Give the rows with these Job IDs.
 *
 * @param {Table} table
 * @param {string[]} keys
 * @return {number[]} ascending
 */
function rowsOf_(table, keys) {
  const wanted = new Set(keys.filter((key) => key !== ''));
  return allRows_(table).filter((row) => wanted.has(textOf_(table, row, 'jobId')));
}

/**
 * Sidebar: stop these rows.
 *
 * @param {string[]} keys
 * @return {{message: string}}
 */
function sidebarCancel(keys) {
  return { message: cancelRows_((table) => rowsOf_(table, keys)) };
}

/**
 * Sidebar: start these failed rows again.
 *
 * @param {string[]} keys
 * @return {{message: string}}
 */
function sidebarRetry(keys) {
  const order = {
    candidates: (/** @type {Table} */ table) => rowsOf_(table, keys),
    wants: (/** @type {string} */ status) => FAILED_.includes(status),
    nothing: 'Nothing to retry: these rows are not failed any more.',
  };
  return { message: start_(order, true) };
}

/**
 * Sidebar: get results that did not arrive.
 *
 * @return {{message: string}}
 */
function sidebarFetch() {
  return { message: fetchMissing_() };
}
