// Toasts, alerts and prompts.

import { $, make } from './app.js';

/** Show a message that goes by itself; negative *seconds*: until it is closed. */
export function toast(message, title, seconds) {
  const box = make('div', { class: 'toast' }, make('strong', {}, title || 'ComfySheet'), message);
  const close = make('button', { type: 'button', class: 'close', 'aria-label': 'Dismiss', onclick: () => box.remove() }, '×');
  box.append(close);
  $('toasts').append(box);
  if (!(seconds < 0)) setTimeout(() => box.remove(), (seconds || 5) * 1000);
}

const BUTTONS = { OK: ['OK'], OK_CANCEL: ['OK', 'CANCEL'], YES_NO: ['YES', 'NO'], YES_NO_CANCEL: ['YES', 'NO', 'CANCEL'] };
const WORDS = { OK: 'OK', CANCEL: 'Cancel', YES: 'Yes', NO: 'No' };
let waiting = Promise.resolve();

/** Show an alert or a prompt, one after another; give {button, text, ticked}. Escape closes. */
export function ask({ kind, title, text, buttons, value = '', id, tick }) {
  const turn = waiting.then(() => new Promise((done) => open({ kind, title, text, buttons, value, id, tick }, done)));
  waiting = turn;
  return turn;
}

function open({ kind, title, text, buttons, value, id, tick }, done) {
  const dialog = $('dialog');
  const input = $('dialog-input');
  const before = document.activeElement;
  $('dialog-title').textContent = title || 'ComfySheet';
  $('dialog-text').textContent = text;
  input.hidden = kind !== 'prompt';
  input.value = value;
  $('dialog-tick-line').hidden = !tick;
  $('dialog-tick-words').textContent = tick || '';
  $('dialog-tick').checked = false;
  dialog.dataset.id = id ?? '';
  $('dialog-buttons').replaceChildren(
    ...(BUTTONS[buttons] || BUTTONS.OK).map((name) => make('button', { value: name }, WORDS[name])),
  );
  dialog.returnValue = 'CLOSE';
  const closed = () => {
    if (before?.isConnected) before.focus({ preventScroll: true });
    done({ button: dialog.returnValue || 'CLOSE', text: input.value, ticked: $('dialog-tick').checked });
  };
  dialog.addEventListener('close', closed, { once: true });
  dialog.showModal();
  (kind === 'prompt' ? input : $('dialog-buttons').firstChild).focus();
}

/** Close the question *id*: somebody answered it in another window. */
export function close(id) {
  if ($('dialog').open && $('dialog').dataset.id === String(id)) $('dialog').close('CLOSE');
}

/** Say in a dialog that something did not work. */
export const problem = (text) => ask({ title: 'There was a problem', text, buttons: 'OK' });
