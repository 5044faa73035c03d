/**
 * What keeps a sheet in order: a warning before somebody types over what the service writes, marks by which renamed
 * columns are found, and a filter that covers everything, so that sorting moves whole rows.
 */

/** The columns that the service writes. */
const SERVICE_COLUMNS_ = ['preview', 'outputUrl', 'startedAt', 'finishedAt', 'error', 'jobId'];

/**
 * Let Sheets warn before somebody types over what the service writes. Only a warning: whoever presses the menu writes
 * there too.
 *
 * @param {SpreadsheetApp.Sheet} sheet
 * @param {Columns} columns
 */
function guardColumns_(sheet, columns) {
  const present = new Set(sheet.getProtections(SpreadsheetApp.ProtectionType.RANGE).map((one) => one.getDescription()));
  for (const name of SERVICE_COLUMNS_) {
    const description = `ComfySheet writes ${OUR_COLUMNS_[name][0]}`;
    if (!(name in columns.ours) || present.has(description)) continue;
    below_(sheet, columns.ours[name]).protect().setDescription(description).setWarningOnly(true);
  }
}

/**
 * Mark our columns, so that they are found when their header was renamed. Where a header says something else by now, the
 * header counts and its mark moves.
 *
 * @param {SpreadsheetApp.Sheet} sheet
 * @param {Columns} columns
 */
function markColumns_(sheet, columns) {
  /** @type {Set<string>} */
  const marked = new Set();
  for (const mark of columnMarks_(sheet)) {
    const name = String(mark.getValue());
    const column = mark.getLocation().getColumn();
    if (!(name in columns.ours)) continue;
    if (column && column.getColumn() - 1 === columns.ours[name] && !marked.has(name)) marked.add(name);
    else mark.remove();
  }
  for (const name of Object.keys(columns.ours)) {
    if (marked.has(name)) continue;
    const letter = columnName_(columns.ours[name]);
    sheet.getRange(`${letter}:${letter}`).addDeveloperMetadata(COLUMN_MARK_, name, SpreadsheetApp.DeveloperMetadataVisibility.DOCUMENT);
  }
}

/**
 * See that a filter covers all columns: sorting by it moves only what it covers, and a Job ID that stays behind would
 * bind its row's result to another row.
 *
 * @param {SpreadsheetApp.Sheet} sheet
 */
function setFilter_(sheet) {
  const width = sheet.getLastColumn();
  const filter = sheet.getFilter();
  if (filter) {
    const covered = filter.getRange();
    if (covered.getColumn() === 1 && covered.getLastColumn() >= width) return;
    for (let row = covered.getRow(); row <= sheet.getLastRow(); row++) {
      // A new filter would forget what this one filters by.
      if (sheet.isRowHiddenByFilter(row)) throw new ForPerson_('it hides rows and does not cover all columns. Clear it and set up this sheet again, else sorting tears rows apart');
    }
    filter.remove();
  }
  sheet.getRange(1, 1, sheet.getMaxRows(), width).createFilter();
}
