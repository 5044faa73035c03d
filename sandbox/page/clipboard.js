// Cut, copy, paste and delete; inside the page with formats, from elsewhere as typed text.

import { app, field, post } from './app.js';
import { entered } from './cells.js';
import { problem, toast } from './dialogs.js';
import { type } from './editor.js';
import { mayEdit } from './guard.js';
import { shown } from './looks.js';
import { activeCell, selectedRanges, select } from './selection.js';

let held = null; // {sheet, area, cut, text}

/** Give the tab-separated text of a range, as other programs read it. */
function textOf([r0, c0, r1, c1]) {
  const lines = [];
  for (const data of app.rows) {
    if (data.r < r0 || data.r > r1) continue;
    const cells = [];
    for (let c = c0; c <= c1; c++) cells.push(shown(data[field(c)]).replace(/[\t\n]/g, ' '));
    lines.push(cells.join('\t').replace(/\t+$/, ''));
  }
  return lines.join('\n');
}

/** Hold the selected range; gives its text, or null when nothing can be held. */
export function hold(cut) {
  const ranges = selectedRanges();
  if (ranges.length !== 1) {
    toast("This can't be done on a multiple range selection.", cut ? 'Cut' : 'Copy');
    return null;
  }
  held = { sheet: app.sheet.id, area: ranges[0], cut, text: textOf(ranges[0]) };
  document.body.dataset.held = cut ? 'cut' : 'copy';
  return held.text;
}

export const hasHeld = () => held !== null;

/** Forget what was cut or copied, as Escape does. */
export function letGo() {
  held = null;
  delete document.body.dataset.held;
}

/** Paste at the selection: what this page holds, or *text* from elsewhere. */
export async function paste(text = null) {
  const active = activeCell();
  if (!active) return;
  if (held && (text === null || text.replace(/\r/g, '').trimEnd() === held.text.trimEnd())) return pasteHeld(active);
  if (text) return pasteText(active, text);
}

async function pasteHeld({ row, column }) {
  const { sheet, area, cut } = held;
  const height = area[2] - area[0];
  const width = area[3] - area[1];
  const target = selectedRanges().at(-1);
  const wide = [row, column, Math.max(row + height, target[2]), Math.max(column + width, target[3])];
  if (!(await mayEdit([wide]))) return;
  const what = { do: 'paste', from_sheet: sheet, from: area, area: target, cut };
  const { error } = await post('/structure', { sheet: app.sheet.id, ...what });
  if (error) return problem(error);
  if (cut) letGo();
  select([[row, column, row + height, column + width]]);
}

async function pasteText({ row, column }, text) {
  const lines = text.replace(/\r/g, '').replace(/\n$/, '').split('\n').map((line) => line.split('\t'));
  const cells = lines.flatMap((line, down) => line.map((words, right) => [row + down, column + right, words]));
  const bottom = row + lines.length - 1;
  const right = column + Math.max(...lines.map((line) => line.length)) - 1;
  if (!(await mayEdit([[row, column, bottom, right]]))) return;
  if (await type(cells)) select([[row, column, bottom, right]]);
}

/** Empty the selected cells that have something in them. */
export async function clearSelected() {
  const ranges = selectedRanges();
  const cells = [];
  for (const [r0, c0, r1, c1] of ranges) {
    for (const data of app.rows) {
      if (data.r < r0 || data.r > r1) continue;
      for (let c = c0; c <= c1; c++) if (entered(data[field(c)])) cells.push([data.r, c, '']);
    }
  }
  if (cells.length && (await mayEdit(cells.map(([r, c]) => [r, c, r, c])))) await type(cells);
}

/** Copy by a menu, where the browser sends no event of its own. */
export async function holdByMenu(cut) {
  const text = hold(cut);
  if (text !== null) await navigator.clipboard?.writeText(text).catch(() => {});
}
