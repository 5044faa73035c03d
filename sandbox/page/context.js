// What the context menus of cells, rows and columns do.

import { app, letters, post } from './app.js';
import { clearSelected, hasHeld, holdByMenu, paste } from './clipboard.js';
import { problem } from './dialogs.js';
import { mayEdit } from './guard.js';
import { hasFilter, openFilterAt, toggleFilter } from './filters.js';
import { openMenu } from './popup.js';
import { activeCell, cellAt, selectedRanges } from './selection.js';

/** Change the structure; *areas* are what a protection would guard. */
export async function restructure(what, areas = []) {
  if (areas.length && !(await mayEdit(areas))) return;
  const { error } = await post('/structure', { sheet: app.sheet.id, ...what });
  if (error) await problem(error);
}

const many = (n, one) => (n === 1 ? `1 ${one}` : `${n} ${one}s`);
const span = (first, n, name) => (n === 1 ? `${name(first)}` : `${name(first)} – ${name(first + n - 1)}`);
const rowName = (row) => String(row + 1);

/** Give [first, how many] of the selected rows or columns around *at*, which alone is taken when it is not selected. */
function block(at, start, end) {
  const range = selectedRanges().find((one) => one[start] <= at && at <= one[end]);
  return range ? [range[start], range[end] - range[start] + 1] : [at, 1];
}

/** Give the items that change rows. */
export function rowItems(at) {
  const [first, n] = block(at, 0, 2);
  const last = app.sheet.cols - 1;
  const area = [first, 0, first + n - 1, last];
  return [
    { label: `Insert ${many(n, 'row')} above`, act: () => restructure({ do: 'insert_rows', at: first, n, like: 'after' }) },
    { label: `Insert ${many(n, 'row')} below`, act: () => restructure({ do: 'insert_rows', at: first + n, n, like: 'before' }) },
    { label: n === 1 ? 'Delete row' : `Delete rows ${span(first, n, rowName)}`, act: () => restructure({ do: 'delete_rows', at: first, n }, [area]) },
    null,
    { label: n === 1 ? 'Move row up' : 'Move rows up', disabled: first === 0, act: () => restructure({ do: 'move_rows', at: first, n, to: first - 1 }) },
    { label: n === 1 ? 'Move row down' : 'Move rows down', act: () => restructure({ do: 'move_rows', at: first, n, to: first + n + 1 }) },
    { label: n === 1 ? 'Hide row' : `Hide rows ${span(first, n, rowName)}`, act: () => restructure({ do: 'hide_rows', at: first, n }) },
    ...(hiddenNear(first, n) ? [{ label: 'Unhide rows', act: () => restructure({ do: 'show_rows', at: Math.max(0, first - 1), n: n + 2 }) }] : []),
  ];
}

/** Say whether rows are hidden right above, in or below the block. */
function hiddenNear(first, n) {
  for (let row = Math.max(0, first - 1); row <= first + n; row++) if (app.sheet.hiddenRows.has(row)) return true;
  return false;
}

/** Give the items that change columns. */
export function columnItems(at) {
  const [first, n] = block(at, 1, 3);
  const area = [0, first, app.sheet.rows - 1, first + n - 1];
  return [
    { label: 'Sort sheet A to Z', act: () => restructure({ do: 'sort', at, ascending: true }) },
    { label: 'Sort sheet Z to A', act: () => restructure({ do: 'sort', at, ascending: false }) },
    null,
    { label: `Insert ${many(n, 'column')} left`, act: () => restructure({ do: 'insert_cols', at: first, n, like: 'after' }) },
    { label: `Insert ${many(n, 'column')} right`, act: () => restructure({ do: 'insert_cols', at: first + n, n, like: 'before' }) },
    { label: n === 1 ? 'Move column left' : 'Move columns left', disabled: first === 0, act: () => restructure({ do: 'move_cols', at: first, n, to: first - 1 }) },
    { label: n === 1 ? 'Move column right' : 'Move columns right', act: () => restructure({ do: 'move_cols', at: first, n, to: first + n + 1 }) },
    { label: n === 1 ? 'Delete column' : `Delete columns ${span(first, n, letters)}`, act: () => restructure({ do: 'delete_cols', at: first, n }, [area]) },
  ];
}

/** Give the items that change cells. */
export function cellItems() {
  const area = selectedRanges().at(-1);
  const shift = (deed, way) => () => restructure({ do: deed, area, shift: way }, [area]);
  return [
    { label: 'Cut', act: () => holdByMenu(true) },
    { label: 'Copy', act: () => holdByMenu(false) },
    { label: 'Paste', disabled: !hasHeld(), act: () => paste() },
    { label: 'Delete values', act: clearSelected },
    null,
    { label: 'Insert cells and shift right', act: shift('insert_cells', 'right') },
    { label: 'Insert cells and shift down', act: shift('insert_cells', 'down') },
    { label: 'Delete cells and shift left', act: shift('delete_cells', 'left') },
    { label: 'Delete cells and shift up', act: shift('delete_cells', 'up') },
    null,
    ...rowItems(area[0]).slice(0, 3),
    null,
    { label: hasFilter() ? 'Remove filter' : 'Create a filter', act: toggleFilter },
    ...(hasFilter() ? [{ label: 'Filter by this column …', act: () => openFilterAt(area[1]) }] : []),
  ];
}

export const openRowMenu = (event, at) => openMenu(event, rowItems(at), 'Row');
export const openColumnMenu = (event, at) => openMenu(event, columnItems(at), 'Column');
export const openCellMenu = (event) => openMenu(event, cellItems(), 'Cell');

/** Open the menu of the active cell at its place, for the keyboard. */
export function openMenuAtActive() {
  const active = activeCell();
  const element = active && cellAt(active.row, active.column)?.getElement();
  if (!element) return;
  const { left, bottom } = element.getBoundingClientRect();
  openCellMenu({ clientX: left + 8, clientY: bottom });
}
