// The keyboard and the mouse in the grid, as Sheets has them.

import { $, app } from './app.js';
import { entered, isDropdown } from './cells.js';
import { clearSelected, hold, letGo, paste } from './clipboard.js';
import { openMenuAtActive } from './context.js';
import { begin, isEditing, toggleChecks, typeGuarded } from './editor.js';
import { openFilter } from './filters.js';
import { goTo } from './grid.js';
import { undo } from './menus.js';
import { hideNote, noteOfActive } from './notes.js';
import { activeCell, focusGrid, holder, select, selectAll, selectionChanged, step, valueAt } from './selection.js';

/** Say whether keys belong to the grid: it has the focus, or nothing has. */
function gridHasKeys() {
  const focus = document.activeElement;
  if (!app.table?.initialized || isEditing() || document.querySelector('dialog[open]:modal')) return false;
  return !focus || focus === document.body || ($('grid').contains(focus) && !/^(INPUT|TEXTAREA|SELECT)$/.test(focus.tagName)) || focus.closest?.('.check');
}

/** F6 goes round the parts of the page; Tab stays in the grid, as in Sheets. */
function nextPart(back) {
  const parts = [
    () => $('menus').querySelector('button'),
    () => $('formula'),
    holder,
    () => ($('sidebar').hidden ? null : $('sidebar-close')),
    () => $('tabs').querySelector('[aria-selected="true"]'),
  ].map((find) => find()).filter(Boolean);
  const regions = ['menus', 'bar', 'grid', 'sidebar', 'tabs'].map($);
  const inside = parts.findIndex((part) => regions.some((region) => region?.contains(part) && region.contains(document.activeElement)));
  const next = parts[(inside + (back ? -1 : 1) + parts.length) % parts.length];
  next.focus({ preventScroll: true });
}

function onKey(event) {
  if (event.defaultPrevented || event.isComposing) return;
  if (event.key === 'F6') {
    event.preventDefault();
    return nextPart(event.shiftKey);
  }
  if (!gridHasKeys()) return;
  const hasControl = event.ctrlKey || event.metaKey;
  const key = event.key.length === 1 && hasControl ? `Ctrl+${event.key.toLowerCase()}` : event.key;
  const active = activeCell();
  const acts = {
    'Ctrl+z': () => undo(event.shiftKey),
    'Ctrl+y': () => undo(true),
    'Ctrl+a': selectAll,
    Home: () => goTo(app.sheet.id, [[hasControl ? 0 : active.row, 0, hasControl ? 0 : active.row, 0]]),
    Delete: clearSelected,
    Backspace: clearSelected,
    Escape: () => {
      letGo();
      hideNote();
    },
    F2: () => begin(),
    Enter: () => (event.shiftKey ? step('up') : begin()),
    Tab: () => step(event.shiftKey ? 'left' : 'right'),
    ContextMenu: openMenuAtActive,
  };
  const act = acts[key];
  if (key === 'F10' && event.shiftKey) openMenuAtActive();
  else if (key === 'ArrowDown' && event.altKey && active && isDropdown(valueAt(active.row, active.column))) begin();
  else if (key === ' ' && toggleChecks()) noteOfActive();
  else if (act) act();
  else if (event.key.length === 1 && !hasControl && !event.altKey) begin(event.key);
  else return;
  event.preventDefault();
  event.stopPropagation();
}

function onPress(event) {
  const cell = event.target.closest('.tabulator-cell[tabulator-field^="c"]');
  if (!cell) return;
  const row = Number(cell.closest('.tabulator-row').querySelector('.tabulator-row-header').textContent) - 1;
  const column = Number(cell.getAttribute('tabulator-field').slice(1));
  if (event.target.closest('.funnel')) return openFilter(event.target.closest('.funnel'), column);
  if (event.target.closest('.arrow')) return void setTimeout(begin); // after Tabulator took the focus for the click
  if (event.target.matches('.check input')) {
    event.preventDefault(); // the cell is drawn anew when the server has it
    if (!event.shiftKey && !event.ctrlKey && !event.metaKey) toggleChecks({ row, column });
    focusGrid();
  }
}

/** Wire the clipboard's events. */
function listenToClipboard() {
  for (const name of ['copy', 'cut']) {
    document.addEventListener(name, (event) => {
      if (!gridHasKeys()) return;
      const text = hold(name === 'cut');
      if (text === null) return;
      event.clipboardData.setData('text/plain', text);
      event.preventDefault();
    });
  }
  document.addEventListener('paste', (event) => {
    if (!gridHasKeys()) return;
    event.preventDefault();
    paste(event.clipboardData.getData('text/plain'));
  });
}

function wireFormulaBar() {
  let target = null;
  $('formula').addEventListener('focus', () => (target = activeCell()));
  $('formula').addEventListener('keydown', async (event) => {
    event.stopPropagation();
    if (event.key === 'Enter') {
      const { row, column } = target || activeCell();
      const words = $('formula').value;
      focusGrid();
      if (words !== entered(valueAt(row, column))) await typeGuarded([[row, column, words]]);
      selectionChanged();
    } else if (event.key === 'Escape') {
      focusGrid();
      selectionChanged();
    }
  });
}

/** Wire the box that says where one is: an address typed there goes there. */
function wireName() {
  $('where').addEventListener('keydown', (event) => {
    event.stopPropagation();
    if (event.key !== 'Enter') return;
    const found = /^([A-Za-z]{1,2})(\d+)(?::([A-Za-z]{1,2})(\d+))?$/.exec($('where').value.trim());
    if (found) {
      const column = (name) => [...name.toUpperCase()].reduce((sum, one) => sum * 26 + one.charCodeAt(0) - 64, 0) - 1;
      const [r0, c0] = [Number(found[2]) - 1, column(found[1])];
      select([[r0, c0, found[4] ? Number(found[4]) - 1 : r0, found[3] ? column(found[3]) : c0]]);
      app.table.scrollToRow(r0, 'center', false).catch(() => {});
    }
    focusGrid();
    selectionChanged();
  });
}

/** Wire keyboard and mouse. */
export function wire() {
  // Before Tabulator's own listeners: it would begin to edit on Enter by itself.
  document.addEventListener('keydown', onKey, true);
  $('grid').addEventListener('click', onPress);
  $('grid').addEventListener('contextmenu', (event) => {
    if (event.target === holder() || event.target.closest('.tabulator-tableholder') === event.target) {
      event.preventDefault();
      openMenuAtActive();
    }
  });
  listenToClipboard();
  wireFormulaBar();
  wireName();
}

