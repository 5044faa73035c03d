// The sandbox's own panel: what may go wrong at Google's, to be switched on and off.

import { $, app, get, make, post } from './app.js';
import { problem } from './dialogs.js';
import { remove } from './frame.js';

/** Draw the switches as the server has them: [{name, label, hint, on}]. */
export async function loadSwitches() {
  const switches = await get(`/switches?sheet=${app.sheet?.id ?? ''}`);
  const boxes = switches.map(({ name }) => $(`switch-${name}`));
  if (boxes.every(Boolean)) return switches.forEach(({ on }, at) => (boxes[at].checked = on)); // as they are
  $('switches').replaceChildren(
    ...switches.map(({ name, label, hint, on }) => {
      const box = make('input', { type: 'checkbox', role: 'switch', id: `switch-${name}`, 'aria-describedby': `hint-${name}` });
      box.checked = on;
      box.addEventListener('change', async () => {
        const { error } = await post('/switches', { name, on: box.checked, sheet: app.sheet.id });
        if (error) {
          box.checked = !box.checked;
          await problem(error);
        }
      });
      const words = make('label', { for: box.id }, label);
      return make('li', {}, box, make('div', {}, words, make('small', { id: `hint-${name}` }, hint)));
    }),
    make('li', {}, make('button', { type: 'button', onclick: remove }, 'Delete this tab …')),
  );
}
