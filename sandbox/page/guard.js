// Protected cells: refuse, or ask first where the protection only warns.

import { app } from './app.js';
import { ask } from './dialogs.js';

const REFUSAL =
  'You are trying to edit a protected cell or object. Please contact the spreadsheet owner to remove protection if you need to edit.';
const WARNING = "You're editing part of this sheet that shouldn't be changed accidentally. Edit anyway?";
const QUIET_MS = 5 * 60 * 1000;
let quietUntil = 0;

const meets = ([top, left, bottom, right], [r0, c0, r1, c1]) => r0 < bottom && r1 >= top && c0 < right && c1 >= left;

/** Say what guards *areas* ([row0, col0, row1, col1], inclusive): 'no', 'warn' or ''. */
function guardOf(areas) {
  const met = app.sheet.protected.filter(({ area }) => areas.some((one) => meets(area, one)));
  if (met.some(({ mine }) => !mine)) return 'no';
  return met.some(({ warning }) => warning) && Date.now() > quietUntil ? 'warn' : '';
}

/** Say at once whether *areas* may be edited without a word. */
export const isFree = (areas) => guardOf(areas) === '';

/** Say whether *areas* may be edited, after asking where need be. */
export async function mayEdit(areas) {
  const guard = guardOf(areas);
  if (guard === '') return true;
  if (guard === 'no') {
    await ask({ title: "Can't edit protected cell", text: REFUSAL, buttons: 'OK' });
    return false;
  }
  const { button, ticked } = await ask({
    title: 'Heads up!', text: WARNING, buttons: 'OK_CANCEL', tick: "Don't show this again for 5 minutes",
  });
  if (button === 'OK' && ticked) quietUntil = Date.now() + QUIET_MS;
  return button === 'OK';
}
