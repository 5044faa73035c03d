/**
 * "Add workflow…": have a manifest proposed for a workflow that was exported from ComfyUI, and add it.
 */

/**
 * @typedef {object} ProposedWorkflow
 * @property {string} id that is free
 * @property {Object<string, any>} manifest
 * @property {{name: string, header: string, kind: string, hint: string, preset: string}[]} parameters
 * @property {string[]} notes what was guessed and why
 * @property {string[]} faults what keeps it from being added
 */

/**
 * Show the dialog.
 *
 * @return {string} nothing
 */
function showAddWorkflow_() {
  needConnection_();
  const page = HtmlService.createHtmlOutputFromFile('AddWorkflow').setWidth(520).setHeight(600);
  SpreadsheetApp.getUi().showModalDialog(page, 'Add a workflow');
  return '';
}

/**
 * Dialog: propose what rows may set of an exported workflow.
 *
 * @param {string} graph the exported file's text, as it is: read here as JSON, a seed would lose digits
 * @param {string} name '' for what the workflow suggests
 * @return {ProposedWorkflow}
 */
function addWorkflowInfer(graph, name) {
  const { id, manifest, parameters, notes, faults } = askApi_(needConnection_(), '/v1/sheets/workflows/infer', { graph, name });
  return {
    id,
    manifest,
    parameters: parameters.map((/** @type {Parameter} */ parameter) => ({
      name: parameter.name,
      header: titleOfParameter_(parameter),
      kind: kindOf_(parameter),
      hint: hintOf_({ ...parameter, default: undefined, required: false }),
      preset: parameter.default === undefined || parameter.default === null ? '' : String(parameter.default),
    })),
    notes,
    faults,
  };
}

/**
 * Dialog: add a workflow for everybody who shares this spreadsheet's connection, and renew this tab's dropdowns.
 *
 * @param {string} id
 * @param {Object<string, any>} manifest
 * @param {string} graph
 * @param {boolean} replace whether it may take the place of one that was added before
 * @return {{taken: boolean, message: string, missing: string[]}} taken: there is one already, and nothing was changed
 */
function addWorkflowAdd(id, manifest, graph, replace) {
  const connection = needConnection_();
  let added;
  try {
    added = askApi_(connection, '/v1/sheets/workflows', { id, manifest, graph, replace });
  } catch (error) {
    if (!(error instanceof ForPerson_) || error.code !== TAKEN_) throw error;
    return { taken: true, message: `${error.message} Press Replace to put this one in its place, or choose another id.`, missing: [] };
  }
  const { workflow } = added;
  const { faults, missing } = renewLists_(connection, workflow);
  const done = `${replace ? 'Replaced' : 'Added'}. Rows whose Workflow cell says ${workflow.id} use it now.`;
  return { taken: false, message: [done, ...faults].join(' '), missing };
}

/** What the API answers when a client has a workflow of this id. */
const TAKEN_ = 409;

/**
 * Renew the dropdowns of this tab. What goes wrong here does not undo what was added.
 *
 * @param {Connection} connection
 * @param {Workflow} workflow that was just added
 * @return {{faults: string[], missing: string[]}} what did not work, and the columns that the workflow lacks
 */
function renewLists_(connection, workflow) {
  const sheet = SpreadsheetApp.getActiveSheet();
  try {
    const catalog = readCatalog_(connection);
    return underLock_(() => ({ faults: dressSheet_(sheet, catalog, []), missing: missingParameters_(workflow, readColumns_(sheet)) }));
  } catch (error) {
    if (!(error instanceof ForPerson_)) throw error;
    return { faults: [`The list of workflows was not renewed: ${error.message}`], missing: [] };
  }
}
