/**
 * Columns are found by their header, in any order and any case, never by their place.
 */

/**
 * Our columns: the header that the set-up writes, then the aliases that are understood too.
 *
 * @type {Object<string, string[]>}
 */
const OUR_COLUMNS_ = {
  prompt: ['Prompt', 'positive prompt', 'positive', 'text'],
  workflow: ['Workflow', 'workflow id', 'template'],
  seed: ['Seed'],
  status: ['Status', 'state'],
  preview: ['Preview', 'thumbnail', 'picture'],
  outputUrl: ['Output URL', 'output', 'output link', 'result', 'result url'],
  startedAt: ['Started at', 'started', 'start time'],
  finishedAt: ['Finished at', 'finished', 'completed at', 'end time'],
  error: ['Error', 'error message', 'message'],
  jobId: ['Job ID', 'job', 'jobid'],
};

/** Which of our columns are inputs all the same: the person writes them. */
const OUR_INPUTS_ = ['prompt', 'seed'];

/**
 * @typedef {object} Columns
 * @property {Object<string, number>} ours 0-based place of each of our columns that the sheet has
 * @property {{header: string, at: number}[]} inputs the columns whose cells are sent, left to right
 */

/**
 * Fold a header to what is compared.
 *
 * @param {*} header
 * @return {string} lower case, runs of spaces, underscores and hyphens as one space
 */
function foldHeader_(header) {
  return String(header).replace(/[\s_-]+/g, ' ').trim().toLowerCase();
}

/**
 * Find out what each column is. Of two headers for the same column of ours the left one counts, as it does in the API;
 * the other one is neither ours nor an input.
 *
 * @param {string[]} headers the shown text of row 1
 * @return {Columns}
 */
function findColumns_(headers) {
  /** @type {Map<string, string>} */
  const nameOf = new Map();
  for (const name of Object.keys(OUR_COLUMNS_)) {
    for (const word of OUR_COLUMNS_[name]) nameOf.set(foldHeader_(word), name);
  }
  /** @type {Columns} */
  const columns = { ours: {}, inputs: [] };
  headers.forEach((header, at) => {
    const name = nameOf.get(foldHeader_(header));
    const first = name !== undefined && !(name in columns.ours);
    if (first) columns.ours[name] = at;
    const isInput = name === undefined ? header.trim() !== '' : first && OUR_INPUTS_.includes(name);
    if (isInput) columns.inputs.push({ header: header.trim(), at });
  });
  return columns;
}

/**
 * Read row 1 of a sheet as it is now.
 *
 * @param {SpreadsheetApp.Sheet} sheet
 * @return {Columns}
 */
function readColumns_(sheet) {
  const width = sheet.getLastColumn();
  return findColumns_(width === 0 ? [] : sheet.getRange(1, 1, 1, width).getDisplayValues()[0]);
}

/**
 * Name what submitting cannot do without and the sheet does not have.
 *
 * @param {Columns} columns
 * @return {string[]} headers
 */
function missingColumns_(columns) {
  return ['status', 'jobId'].filter((name) => !(name in columns.ours)).map((name) => OUR_COLUMNS_[name][0]);
}
