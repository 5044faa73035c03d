/**
 * The menu: where everything starts.
 *
 * @OnlyCurrentDoc
 */

/**
 * Put the ComfySheet menu beside Help. A simple trigger: it may not touch anything that needs a permission.
 */
function onOpen() {
  SpreadsheetApp.getUi()
    .createMenu('ComfySheet')
    .addItem('Generate selected rows', 'generateSelectedRows')
    .addItem('Generate all pending', 'generateAllPending')
    .addSeparator()
    .addItem('Cancel selected', 'cancelSelected')
    .addItem('Retry failed', 'retryFailed')
    .addItem('Fetch missing results', 'fetchMissingResults')
    .addSeparator()
    .addItem('Show progress', 'showProgress')
    .addItem('Set up this sheet', 'setUpThisSheet')
    .addItem('Add workflow…', 'addWorkflow')
    .addItem('Settings', 'settings')
    .addToUi();
}

/**
 * Menu: start the selected rows.
 */
function generateSelectedRows() {
  fromMenu_(() => start_({
    candidates: (table) => selectedRows_(table),
    wants: () => true,
    nothing: 'Nothing to generate: select rows below the header that have a prompt, a workflow or parameters.',
  }));
}

/**
 * Menu: start every row of this tab that was not started yet, and go on where a long run was cut short.
 */
function generateAllPending() {
  fromMenu_(() => start_({
    candidates: allRows_,
    wants: (status) => status === '' || status === 'pending',
    nothing: 'Nothing is pending on this tab: no row has a blank or pending Status and a prompt, a workflow or parameters.',
  }));
}

/**
 * Menu: start failed and cancelled rows again; the selected ones if there are any, else all of this tab.
 */
function retryFailed() {
  fromMenu_(() => start_({
    candidates: (table) => selectedOrAll_(table, (row) => FAILED_.includes(statusOf_(table, row))),
    wants: (status) => FAILED_.includes(status),
    nothing: 'Nothing to retry: no row of this tab has Status error or cancelled.',
  }));
}

/**
 * Menu: stop the selected rows.
 */
function cancelSelected() {
  fromMenu_(() => cancelRows_(selectedRows_));
}

/**
 * Menu: get results that did not arrive.
 */
function fetchMissingResults() {
  fromMenu_(fetchMissing_);
}

/**
 * Menu: show how the rows of this tab are getting on.
 */
function showProgress() {
  SpreadsheetApp.getUi().showSidebar(HtmlService.createHtmlOutputFromFile('Sidebar').setTitle('ComfySheet'));
}

/**
 * Menu: make this tab ready.
 */
function setUpThisSheet() {
  fromMenu_(setUp_);
}

/**
 * Menu: add a workflow that was exported from ComfyUI.
 */
function addWorkflow() {
  fromMenu_(showAddWorkflow_);
}

/**
 * Menu: show which API this spreadsheet talks to.
 */
function settings() {
  const page = HtmlService.createHtmlOutputFromFile('Settings').setWidth(480).setHeight(560);
  SpreadsheetApp.getUi().showModalDialog(page, 'ComfySheet settings');
}
