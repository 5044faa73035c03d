// Type into a cell in place; cells with a list of choices offer it below.

import { app, make, post } from './app.js';
import { checkWords, choicesOf, columnOf, entered, isCheckbox, isDropdown, rowOf } from './cells.js';
import { ask } from './dialogs.js';
import { editingEnded } from './grid.js';
import { isFree, mayEdit } from './guard.js';
import { hideNote } from './notes.js';
import { activeCell, cellAt, focusGrid, selectedRanges, step, valueAt } from './selection.js';

let editing = null; // {row, column} of the cell that is edited in place
let firstKeys = null; // what was typed on the cell before the editor was there
let cleared = null; // the cell whose warning was just answered with OK
let isAsking = false;

export const isEditing = () => editing !== null;
export const editedRow = () => editing?.row ?? null;

/** Write cells, and show Google's dialog when the server refuses. Gives whether it was done. */
export async function type(cells) {
  if (!cells.length) return true;
  const { error } = await post('/edit', { sheet: app.sheet.id, cells });
  if (error) await ask({ title: 'There was a problem', text: error, buttons: 'OK' });
  return !error;
}

/** Write cells after the guard of protected ones has been asked. */
export async function typeGuarded(cells) {
  if (!(await mayEdit(cells.map(([r, c]) => [r, c, r, c])))) return false;
  return type(cells);
}

/** Say whether a cell is edited by typing; Tabulator asks for every cell that it draws. */
export const mayBegin = (cell) => /^c\d+$/.test(cell.getField()) && !isCheckbox(cell.getValue());

/** Ask before a protected cell is edited, and then begin; gives whether it may begin at once. */
function isCleared(row, column) {
  const place = `${row},${column}`;
  if (cleared === place || isFree([[row, column, row, column]])) return true;
  if (isAsking) return false;
  isAsking = true;
  const keys = firstKeys;
  mayEdit([[row, column, row, column]]).then((may) => {
    isAsking = false;
    focusGrid();
    if (!may) return;
    cleared = place;
    begin(keys);
    cleared = null;
  });
  return false;
}

/** Begin to edit the active cell; *keys* replace what is in it. */
export function begin(keys = null) {
  const active = activeCell();
  const cell = active && cellAt(active.row, active.column);
  if (!cell) return;
  firstKeys = keys;
  cell.edit();
  firstKeys = null;
}

/** Tick or untick every selected checkbox, as Space does. Gives whether there was one. */
export function toggleChecks(only = null) {
  const places = [];
  const ranges = only ? [[only.row, only.column, only.row, only.column]] : selectedRanges();
  for (const [r0, c0, r1, c1] of ranges) {
    for (const { r } of app.rows) {
      if (r < r0 || r > r1) continue;
      for (let c = c0; c <= c1; c++) if (isCheckbox(valueAt(r, c))) places.push([r, c]);
    }
  }
  if (!places.length) return false;
  const isOn = ([r, c]) => valueAt(r, c)?.t === checkWords(valueAt(r, c))[0];
  const tick = !isOn(places[0]);
  typeGuarded(places.map(([r, c]) => [r, c, checkWords(valueAt(r, c))[tick ? 0 : 1]]));
  return true;
}

/** Edit a cell in place, for Tabulator: Enter and Tab keep, Escape does not. */
export function editCell(cell, onRendered, success, cancel) {
  const [row, column, value] = [rowOf(cell), columnOf(cell), cell.getValue()];
  if (!isCleared(row, column)) {
    cancel(); // else Tabulator believes that the cell is being edited
    return false;
  }
  const input = make('input', { autocomplete: 'off', spellcheck: 'false', 'aria-label': 'Content of the cell' });
  const keys = firstKeys;
  input.value = keys ?? entered(value);
  editing = { row, column };
  hideNote();
  cell.getElement().classList.add('editing');
  const list = isDropdown(value) ? offerChoices(input, cell.getElement(), choicesOf(value), value.t || '') : null;
  onRendered(() => {
    input.focus({ preventScroll: true });
    if (keys === null) input.select();
    list?.open(keys === null ? null : keys);
  });
  let isOver = false;
  const end = async (keep, words = input.value) => {
    if (isOver) return;
    isOver = true;
    editing = null;
    list?.close();
    cell.getElement().classList.remove('editing');
    cancel();
    if (keep && words !== entered(value)) await type([[row, column, words]]);
    editingEnded();
  };
  if (list) list.onPick = (words) => end(true, words).then(focusGrid);
  input.addEventListener('blur', () => end(true));
  input.addEventListener('keydown', (event) => {
    event.stopPropagation();
    if (list?.keydown(event)) return;
    if (event.isComposing) return;
    if (event.key === 'Enter' || event.key === 'Tab') {
      event.preventDefault();
      end(true);
      if (event.key === 'Enter') step(event.shiftKey ? 'up' : 'down');
      else step(event.shiftKey ? 'left' : 'right');
    } else if (event.key === 'Escape') {
      end(false);
      focusGrid();
    }
  });
  return input;
}

/** Offer *choices* in a list below *input*, which becomes a combobox. */
function offerChoices(input, below, choices, present) {
  const box = make('ul', { class: 'choices', role: 'listbox', id: 'choices', 'aria-label': 'Choices' });
  const list = { onPick: () => {}, open, close, keydown };
  let chosen = -1;
  input.setAttribute('role', 'combobox');
  input.setAttribute('aria-autocomplete', 'list');
  input.setAttribute('aria-controls', 'choices');
  input.addEventListener('input', () => show(input.value));

  function show(part) {
    const found = part === null ? choices : choices.filter((one) => one.toLowerCase().includes(part.toLowerCase()));
    chosen = part === null ? found.indexOf(present) : found.length && part ? 0 : -1;
    box.replaceChildren(
      ...found.map((words, at) => {
        const pick = (event) => {
          event.preventDefault(); // the input keeps the focus
          list.onPick(words);
        };
        return make('li', { role: 'option', id: `choice-${at}`, onmousedown: pick }, words);
      }),
    );
    mark();
    box.hidden = !found.length;
    input.setAttribute('aria-expanded', String(!box.hidden));
    if (!box.hidden) place();
  }
  function place() {
    const { left, bottom, top, width } = below.getBoundingClientRect();
    box.style.minWidth = `${width}px`;
    box.style.left = `${Math.max(4, Math.min(left, innerWidth - box.offsetWidth - 8))}px`;
    const fits = bottom + box.offsetHeight < innerHeight;
    box.style.top = `${fits ? bottom : Math.max(4, top - box.offsetHeight)}px`;
  }
  function mark() {
    [...box.children].forEach((option, at) => option.setAttribute('aria-selected', String(at === chosen)));
    const option = box.children[chosen];
    if (option) {
      input.setAttribute('aria-activedescendant', option.id);
      option.scrollIntoView({ block: 'nearest' });
    } else input.removeAttribute('aria-activedescendant');
  }
  function open(part) {
    document.body.append(box);
    show(part);
  }
  function close() {
    box.remove();
  }
  function keydown(event) {
    if (event.key === 'ArrowDown' || event.key === 'ArrowUp') {
      event.preventDefault();
      if (box.hidden) return show(null) ?? true;
      const count = box.children.length;
      chosen = (chosen + (event.key === 'ArrowDown' ? 1 : count - (chosen < 0 ? 0 : 1))) % count;
      mark();
      return true;
    }
    if (event.key === 'Enter' && !box.hidden && box.children[chosen]) {
      event.preventDefault();
      list.onPick(box.children[chosen].textContent);
      return true;
    }
    return false;
  }
  return list;
}
