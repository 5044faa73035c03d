// What is selected in the grid, and where its cells are.

import { $, app, cellName, field } from './app.js';
import { entered } from './cells.js';
import { noteOfActive } from './notes.js';
import { tellPlace } from './presence.js';

export const holder = () => document.querySelector('#grid .tabulator-tableholder');
export const focusGrid = () => holder()?.focus({ preventScroll: true });

/** Give the selected ranges as [row0, col0, row1, col1], inclusive. */
export function selectedRanges() {
  if (!app.table || !app.table.initialized || !app.rows.length) return [];
  const columns = app.table.modules.selectRange.getTableColumns().map((column) => column.getField());
  return app.table.getRanges().map((range) => {
    const last = app.rows.length - 1;
    const top = app.rows[Math.min(range.getTopEdge() ?? 0, last)].r;
    const bottom = app.rows[Math.min(range.getBottomEdge() ?? 0, last)].r;
    const fields = columns.slice(range.getLeftEdge(), range.getRightEdge() + 1).filter((name) => /^c\d+$/.test(name));
    const numbers = fields.map((name) => Number(name.slice(1)));
    // A selected row header stands for the whole row.
    const isRow = app.table.modules.selectRange.selecting === 'row' || !numbers.length;
    return isRow ? [top, 0, bottom, app.sheet.cols - 1] : [top, Math.min(...numbers), bottom, Math.max(...numbers)];
  });
}

/** Give the cell that typing goes into. */
export function activeCell() {
  const ranges = selectedRanges();
  if (!ranges.length) return null;
  const [row, column] = ranges.at(-1);
  return { row, column };
}

/** Give Tabulator's cell component, or null when the row or column is not shown. */
export function cellAt(row, column) {
  const found = app.table.getRow(row);
  return found ? found.getCell(field(column)) || null : null;
}

export const valueAt = (row, column) => app.sheet.byRow.get(row)?.[field(column)];

let saidActive = null;

/** Show what is selected in the bar above, and tell assistive technology and the others. */
export function selectionChanged() {
  const active = activeCell();
  if (!active) return;
  saidActive?.removeAttribute('id');
  const cell = cellAt(active.row, active.column);
  saidActive = cell && cell.getElement();
  if (saidActive) {
    saidActive.id = 'active-cell';
    holder().setAttribute('aria-activedescendant', 'active-cell');
  }
  noteOfActive();
  tellPlace(active);
  if (document.activeElement === $('formula')) return;
  $('where').value = cellName(active.row, active.column);
  $('formula').value = entered(valueAt(active.row, active.column));
}

/** Move the active cell, as the arrow keys do. */
export const step = (direction) => app.table.modules.selectRange.navigate(false, false, direction);

/** Select *ranges* ([row0, col0, row1, col1], inclusive) in place of what is selected. */
export function select(ranges) {
  const standard = app.table.getRanges();
  let kept = 0;
  for (const [r0, c0, r1, c1] of ranges) {
    const first = app.rows.find(({ r }) => r >= r0);
    const last = app.rows.findLast(({ r }) => r <= r1);
    if (!first || !last || first.r > last.r || c0 >= app.sheet.cols) continue;
    app.table.addRange();
    // At once: the bounds given to addRange would hold only after a timeout, and a key pressed until then goes into A1.
    app.table.getRanges().at(-1).setBounds(cellAt(first.r, c0), cellAt(last.r, Math.min(c1, app.sheet.cols - 1)));
    kept++;
  }
  if (kept) for (const range of standard) range.remove();
  return kept > 0;
}

/** Select everything. */
export const selectAll = () => select([[0, 0, app.sheet.rows - 1, app.sheet.cols - 1]]);
