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
    .addSeparator()
    .addItem('Set up this sheet', 'setUpThisSheet')
    .addItem('Settings', 'settings')
    .addToUi();
}

/**
 * Tell the person something in passing.
 *
 * @param {string} message
 * @param {number} [seconds] how long it stays; long sentences need more
 */
function tell_(message, seconds) {
  SpreadsheetApp.getActiveSpreadsheet().toast(message, 'ComfySheet', seconds || 8);
}

/**
 * Tell the person something that must be read, and wait for OK.
 *
 * @param {string} message what happened and what to do
 */
function insist_(message) {
  const ui = SpreadsheetApp.getUi();
  ui.alert('ComfySheet', message, ui.ButtonSet.OK);
}
