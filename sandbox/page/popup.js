// A menu that pops up at a place: roles, arrow keys, Escape, focus back to where it was.

import { make } from './app.js';

let open = null; // {box, back}

/** Close the menu that is open, if any. */
export function closePopup(giveBack = true) {
  if (!open) return;
  const { box, back } = open;
  open = null;
  box.remove();
  if (giveBack && back?.isConnected) back.focus({ preventScroll: true });
}

/** Show *box* at x, y (viewport), wholly inside the window; a click elsewhere or Escape closes it. */
export function pop(box, x, y, back = document.activeElement) {
  closePopup(false);
  document.body.append(box);
  open = { box, back };
  box.style.left = `${Math.max(4, Math.min(x, innerWidth - box.offsetWidth - 8))}px`;
  box.style.top = `${Math.max(4, Math.min(y, innerHeight - box.offsetHeight - 8))}px`;
  box.addEventListener('keydown', (event) => {
    event.stopPropagation();
    if (event.key === 'Escape') {
      event.preventDefault();
      closePopup();
    }
  });
}

document.addEventListener('pointerdown', (event) => open && !open.box.contains(event.target) && closePopup(false), true);

/** Fill *list* with *items*: {label, act, disabled, checked} or null for a line. */
export function fillMenu(list, items, done) {
  list.replaceChildren(
    ...items.map((item) => {
      if (!item) return make('hr', { role: 'separator' });
      const { label, act, disabled = false, checked } = item;
      const role = checked === undefined ? 'menuitem' : 'menuitemradio';
      const button = make('button', { type: 'button', role, tabindex: '-1', disabled }, label);
      if (checked !== undefined) button.setAttribute('aria-checked', String(checked));
      button.addEventListener('click', () => {
        done();
        act();
      });
      return button;
    }),
  );
}

/** Move the focus in a menu by arrow keys, Home and End. */
export function menuKeys(list, event) {
  const buttons = [...list.querySelectorAll('button:not(:disabled)')];
  const at = buttons.indexOf(document.activeElement);
  const to = { ArrowDown: (at + 1) % buttons.length, ArrowUp: (at + buttons.length - (at < 0 ? 0 : 1)) % buttons.length, Home: 0, End: buttons.length - 1 }[event.key];
  if (to === undefined) return false;
  event.preventDefault();
  buttons[to].focus();
  return true;
}

/** Open a menu of *items* at the place of *event*. */
export function openMenu(event, items, name) {
  const list = make('div', { class: 'popup', role: 'menu', 'aria-label': name });
  fillMenu(list, items, () => closePopup());
  list.addEventListener('keydown', (pressed) => menuKeys(list, pressed));
  list.addEventListener('contextmenu', (pressed) => pressed.preventDefault());
  pop(list, event.clientX, event.clientY);
  list.querySelector('button:not(:disabled)')?.focus();
}
