/**
 * A run: one execution that sends rows. All its rows get Job IDs with the same first eight characters, and while it
 * lives a document property of that name says so.
 *
 * Why: a long run leaves rows as "pending" until their turn comes, and a second click must not take those for rows that
 * nobody started. Their Job ID says whose they are, and the property says whether that run is still alive; a run that
 * Google ended without a word stops counting after RUN_LIFE_MS_. Nothing wrong can come of an error here: a row goes out
 * only while its Job ID is the run's own (see Submit.js), and whoever takes a row gives it a new one, both under the
 * document lock. The property only keeps two people from taking rows out of each other's hands.
 *
 * It also says of a "queued" row that the API does not know that its request may be under way just now.
 */

/** How long a run counts as alive after its last sign; it gives one with every request. */
const RUN_LIFE_MS_ = 180000;

/** How many characters of a Job ID say which run it is of. */
const RUN_LENGTH_ = 8;

/**
 * Begin a run. One UUID is enough for all its rows: the last digits count them.
 *
 * @return {string} a UUID
 */
function beginRun_() {
  const run = Utilities.getUuid();
  signOfLife_(run);
  return run;
}

/**
 * Make the Job ID of a row.
 *
 * @param {string} run
 * @param {number} count which row of the run it is
 * @return {string} a UUID
 */
function jobIdOf_(run, count) {
  return run.slice(0, -5) + count.toString(16).padStart(5, '0');
}

/**
 * Say that the run is alive.
 *
 * @param {string} run
 */
function signOfLife_(run) {
  PropertiesService.getDocumentProperties().setProperty(runProperty_(run), String(Date.now() + RUN_LIFE_MS_));
}

/**
 * End a run.
 *
 * @param {string} run
 */
function endRun_(run) {
  PropertiesService.getDocumentProperties().deleteProperty(runProperty_(run));
}

/**
 * Name the property of a run.
 *
 * @param {string} jobId of the run or of one of its rows
 * @return {string}
 */
function runProperty_(jobId) {
  return `RUN_${jobId.slice(0, RUN_LENGTH_)}`;
}

/**
 * Find the runs that are alive, and forget the others.
 *
 * @return {Set<string>} their properties
 */
function livingRuns_() {
  const properties = PropertiesService.getDocumentProperties();
  const all = properties.getProperties();
  /** @type {Set<string>} */
  const alive = new Set();
  for (const name of Object.keys(all).filter((one) => one.startsWith('RUN_'))) {
    if (Number(all[name]) > Date.now()) alive.add(name);
    else properties.deleteProperty(name);
  }
  return alive;
}

/**
 * Make ready to say which Job IDs are of a run that is alive.
 *
 * @return {(jobId: string) => boolean}
 */
function liveRuns_() {
  const alive = livingRuns_();
  return (jobId) => alive.has(runProperty_(jobId));
}

/**
 * Make ready to say which rows are pending only because a run has not come to them yet.
 *
 * @param {Table} table
 * @return {(row: number) => boolean}
 */
function beingSent_(table) {
  const waits = (/** @type {number} */ row) => statusOf_(table, row) === 'pending' && textOf_(table, row, 'jobId') !== '';
  if (!allRows_(table).some(waits)) return () => false;
  const isAlive = liveRuns_();
  return (row) => waits(row) && isAlive(textOf_(table, row, 'jobId'));
}
