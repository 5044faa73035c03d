// The grid: make it from the shown tab, keep it up to date, and know what is selected in it.

/* global Tabulator */
import { $, app, field, get, letters } from './app.js';
import { columnOf, drawCell } from './cells.js';
import { editCell, isEditing, editedRow, mayBegin } from './editor.js';
import { isHiddenByView } from './filters.js';
import { showTabs, showAround } from './frame.js';
import { showFrozen } from './frozen.js';
import { openCellMenu, openColumnMenu, openRowMenu } from './context.js';
import { showOthers } from './presence.js';
import { focusGrid, holder, select, selectedRanges, selectionChanged } from './selection.js';

const DEFAULT_WIDTH = 96;
let stale = false; // something changed the structure while a cell was edited
let loading = Promise.resolve();
let wanted = null; // the tab that a person wants to see

// ---- making ----------------------------------------------------------------------------------------------------

/** Index the tab's cells by row; rows that are hidden are known too. */
function takeSheet(sheet) {
  sheet.byRow = new Map();
  for (let r = 0; r < sheet.rows; r++) sheet.byRow.set(r, { r });
  for (const [r, c, cell] of sheet.cells) sheet.byRow.get(r)[field(c)] = cell;
  sheet.hiddenRows = new Set(sheet.hidden);
  app.sheet = sheet;
}

function visibleRows() {
  const { byRow, hiddenRows } = app.sheet;
  return [...byRow.values()].filter(({ r }) => !hiddenRows.has(r) && !isHiddenByView(r));
}

function makeTable() {
  if (app.table) app.table.destroy();
  const { cols, widths } = app.sheet;
  const hidden = new Set(app.sheet.hidden_cols);
  app.rows = visibleRows();
  const columns = Array.from({ length: cols }, (_, c) => ({
    title: letters(c),
    field: field(c),
    width: widths[c] || DEFAULT_WIDTH,
    visible: !hidden.has(c),
    headerSort: false,
    formatter: drawCell,
    editor: editCell,
    editable: mayBegin,
  }));
  const table = new Tabulator('#grid', {
    data: app.rows,
    index: 'r',
    columns,
    height: '100%',
    layout: 'fitData',
    selectableRange: true,
    selectableRangeRows: true,
    selectableRangeColumns: true,
    selectableRangeClearCells: false,
    selectableRangeAutoFocus: false, // a grid that is made anew must not take the focus from a dialog
    editTriggerEvent: 'dblclick',
    rowHeader: {
      field: 'r',
      formatter: (cell) => String(cell.getValue() + 1),
      width: 46,
      resizable: false,
      headerSort: false,
      frozen: true,
      cssClass: 'tabulator-row-header',
    },
    rowFormatter: dressRow,
    resizableColumnFit: false,
  });
  app.table = table;
  sparePaint(table);
  table.on('rangeChanged', selectionChanged);
  table.on('rangeAdded', selectionChanged);
  table.on('tableBuilt', () => {
    nameParts();
    selectionChanged();
    showFrozen();
  });
  table.on('scrollVertical', showFrozen);
  table.on('scrollHorizontal', showFrozen);
  table.on('columnResized', showFrozen);
  table.on('rowContext', (event, row) => {
    if (!event.target.closest('.tabulator-row-header')) return;
    event.preventDefault();
    openRowMenu(event, row.getData().r);
  });
  table.on('cellContext', (event, cell) => {
    if (!cell.getField() || cell.getField() === 'r') return;
    event.preventDefault();
    openCellMenu(event);
  });
  table.on('headerContext', (event, column) => {
    if (!/^c\d+$/.test(column.getField() || '')) return;
    event.preventDefault();
    openColumnMenu(event, columnOf(column));
  });
  createNow(table);
}

/**
 * Tabulator begins in a timer of its own. Somebody who types or clicks until then would have no grid, and no selection:
 * from the old grid's end to the new one's selection nothing may come between.
 */
function createNow(table) {
  const create = table._create.bind(table);
  table._create = () => {}; // what the timer finds to do
  create();
}

/**
 * Tabulator paints the selection on every row that exists, and so makes the elements of all of them: seconds with ten
 * thousand rows. Paint those that are seen; what scrolls into view is painted then.
 */
function sparePaint(table) {
  const ranges = table.modules.selectRange;
  const paint = ranges.layoutElement.bind(ranges);
  ranges.layoutElement = () => table.initialized && paint(true);
  let waiting = 0;
  table.on('scrollVertical', () => {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(() => app.table === table && ranges.layoutElement());
  });
}

/**
 * Give the grid's parts the names and roles that a screen reader needs. The part that has the focus is the grid;
 * the letters above are for the eye, the address of the cell is told by the box above.
 */
function nameParts() {
  $('grid').setAttribute('role', 'presentation');
  const header = document.querySelector('#grid .tabulator-header');
  header.setAttribute('aria-hidden', 'true');
  header.setAttribute('tabindex', '-1');
  const parts = {
    role: 'grid',
    'aria-label': app.sheet.title,
    'aria-rowcount': app.sheet.rows,
    'aria-colcount': app.sheet.cols + 1,
    'aria-multiselectable': 'true',
    'aria-describedby': 'grid-help',
  };
  for (const [name, value] of Object.entries(parts)) holder().setAttribute(name, String(value));
}

/** A row with a picture is tall; the first row is the header. */
function dressRow(row) {
  const data = row.getData();
  const element = row.getElement();
  const height = app.sheet.heights[data.r];
  const tall = !height && Object.values(data).some((value) => value && value.i);
  element.classList.toggle('tall', tall);
  element.classList.toggle('sized', Boolean(height));
  if (height) element.style.setProperty('--row-height', `${height}px`);
  element.classList.toggle('first-row', data.r === 0);
}

// ---- going somewhere -------------------------------------------------------------------------------------------

/** Show a tab, scroll to the first of *ranges* and select them all. */
export async function goTo(id, ranges) {
  await show(id);
  if (!select(ranges)) return;
  const [row, column] = ranges[0];
  const shownRow = app.rows.find(({ r }) => r >= row);
  await app.table.scrollToRow(shownRow.r, 'center', false).catch(() => {});
  await app.table.scrollToColumn(field(Math.min(column, app.sheet.cols - 1)), 'middle', false).catch(() => {});
  app.table.modules.selectRange.layoutElement();
  selectionChanged();
}

// ---- news ------------------------------------------------------------------------------------------------------

/** Take in changed cells: {sheet, cells: [[row, column, cell]], rules, looks}. */
export function applyCells({ sheet: id, cells, rules, looks }) {
  if (!app.sheet || id !== app.sheet.id) return;
  const { sheet, table } = app;
  Object.assign(sheet.rules, rules);
  Object.assign(sheet.looks, looks);
  if (cells.some(([r, c]) => r >= sheet.rows || c >= sheet.cols)) return void load();
  const rows = new Map();
  for (const [r, c, cell] of cells) {
    const data = sheet.byRow.get(r);
    if (cell) data[field(c)] = cell;
    else delete data[field(c)];
    if (!rows.has(r)) rows.set(r, { r });
    rows.get(r)[field(c)] = cell;
  }
  const there = [...rows.values()].filter(({ r }) => table.getRow(r)); // hidden rows are not
  const drawn = there.length ? table.updateData(there) : Promise.resolve(); // it refuses an empty list
  drawn
    .then(() => {
      for (const { r } of there) {
        const row = table.getRow(r);
        if (row && r !== editedRow()) row.reformat(); // it would end the editing
      }
      if (app.table === table) {
        selectionChanged();
        showFrozen();
      }
    })
    .catch(() => app.table !== table && load()); // the grid was made anew meanwhile
  if (cells.some(([, , cell]) => (cell?.e || '').startsWith('=IMAGE('))) app.book.wants_images = true;
  showAround();
}

/** What the grid is built from; while it stays the same only cells are drawn anew. */
const shape = ({ id, rows, cols, frozen, widths, heights, hidden, hidden_cols, conditional, filter, protected: guards, criteria, views }) =>
  JSON.stringify([id, rows, cols, frozen, widths, heights, hidden, hidden_cols, conditional, filter, guards, criteria, views]);

/** Give the cells in which *after* differs from *before*, as an event has them. */
function changedCells(before, after) {
  const places = (state) => new Map(state.map(([r, c, cell]) => [`${r},${c}`, cell]));
  const old = new Map();
  for (const [r, data] of before.byRow) {
    for (const [name, cell] of Object.entries(data)) if (name !== 'r' && cell) old.set(`${r},${name.slice(1)}`, cell);
  }
  const now = places(after.cells);
  return [...new Set([...old.keys(), ...now.keys()])]
    .filter((place) => JSON.stringify(old.get(place)) !== JSON.stringify(now.get(place)))
    .map((place) => [...place.split(',').map(Number), now.get(place) ?? null]);
}

/** Show another tab. */
export function show(id) {
  wanted = id;
  return load();
}

/** Fetch and show all, one after the other: a grid in the making has no selection that could be kept. */
export const load = () => (loading = loading.then(loadNow, loadNow));

/** Build the grid anew from what is known, e.g. because a filter view was chosen. */
export const rebuild = () => (loading = loading.then(() => buildNow(), () => buildNow()));

async function loadNow() {
  const id = wanted ?? app.sheet?.id ?? '';
  const fresh = await get(`/state?sheet=${id}&user=${encodeURIComponent(app.user)}`);
  const before = app.sheet;
  const isSame = app.table && before && before.id === fresh.sheet.id;
  const sameGrid = isSame && shape(fresh.sheet) === shape(before);
  stale = isEditing() && isSame && !sameGrid;
  if (stale) return; // once the editing is over
  app.book = fresh;
  wanted = fresh.sheet.id;
  document.title = `${fresh.title} – ComfySheet sandbox`;
  if (sameGrid) {
    const { sheet } = fresh;
    applyCells({ sheet: sheet.id, cells: changedCells(before, sheet), rules: sheet.rules, looks: sheet.looks });
    before.title = sheet.title;
    before.data_rows = sheet.data_rows;
  } else {
    if (!isSame) app.view = null;
    await buildNow(fresh.sheet, isSame);
  }
  showTabs();
  showAround();
}

async function buildNow(sheet = app.sheet, isSame = true) {
  const chosen = app.table && isSame ? selectedRanges() : [];
  const at = isSame ? holder() : null;
  const place = at ? [at.scrollTop, at.scrollLeft] : [0, 0];
  const hadFocus = at && at.contains(document.activeElement);
  takeSheet(sheet);
  makeTable();
  await new Promise((built) => app.table.on('tableBuilt', built)); // no timer is waited for, see createNow
  [holder().scrollTop, holder().scrollLeft] = place;
  if (isSame) select(chosen); // a person who chose rows must not find others chosen
  if (hadFocus) focusGrid();
  selectionChanged();
  showOthers();
}

/** Load what had to wait for the end of an edit. */
export function editingEnded() {
  if (stale) load();
}
