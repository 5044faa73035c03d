/**
 * "Columns for workflow": add the columns of the parameters that a workflow has.
 */

/**
 * Show the dialog.
 */
function showColumns_() {
  const page = HtmlService.createHtmlOutputFromFile('Columns').setWidth(480).setHeight(560);
  SpreadsheetApp.getUi().showModalDialog(page, 'Columns for workflow');
}

/**
 * Dialog: which workflows there are, and what this tab lacks for each.
 *
 * @return {{workflows: {id: string, name: string, description: string, missing: string[], parameters: {header: string, type: string, hint: string}[]}[]}}
 */
function columnsState() {
  const catalog = readCatalog_(needConnection_());
  const columns = readColumns_(SpreadsheetApp.getActiveSheet());
  return {
    workflows: catalog.map((workflow) => ({
      id: workflow.id,
      name: workflow.name,
      description: workflow.description || '',
      missing: missingParameters_(workflow, columns),
      parameters: workflow.parameters.map((parameter) => ({
        header: titleOfParameter_(parameter),
        type: kindOf_(parameter),
        hint: hintOf_(parameter),
      })),
    })),
  };
}

/**
 * Dialog: add what this tab lacks for a workflow, at the right.
 *
 * @param {string} workflowId
 * @return {{message: string}}
 */
function columnsAdd(workflowId) {
  const catalog = readCatalog_(needConnection_());
  const workflow = catalog.find(({ id }) => id === workflowId);
  if (!workflow) throw new ForPerson_('There is no such workflow any more. Close this dialog and open it again.');
  const sheet = SpreadsheetApp.getActiveSheet();
  return underLock_(() => {
    const missing = missingParameters_(workflow, readColumns_(sheet));
    if (missing.length === 0) return { message: `This tab has all columns of ${workflow.name}.` };
    addHeaders_(sheet, missing);
    const faults = dressSheet_(sheet, catalog, []);
    return { message: [`Added ${missing.join(', ')}.`, ...faults].join(' ') };
  });
}
