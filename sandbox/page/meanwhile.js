// The grid is made anew when rows come or go, which takes a tenth of a second. What a person types, clicks or pastes in
// that time is done once the grid stands and has its selection again; else it would go into A1, or nowhere.

let kept = []; // what to do, first things first; null while the grid stands
let chosen = [];

export const isInTheMaking = () => kept !== null;

/** Give what was selected when the making began, or null while the grid stands. */
export const chosenBefore = () => (isInTheMaking() ? chosen : null);

/** From now on things are kept, and *ranges* count as selected. */
export function making(ranges) {
  kept ??= [];
  chosen = ranges;
}

/** The grid stands: do what was kept. */
export function made() {
  const acts = kept ?? [];
  kept = null;
  for (const act of acts) act();
}

/** Do *act* as soon as the grid stands. */
export function whenMade(act) {
  if (kept) kept.push(act);
  else act();
}

/** Keep a key for later: it is typed into the cell that an earlier one began to edit, or pressed where the focus is. */
export function keepKey(event) {
  event.preventDefault();
  event.stopPropagation();
  whenMade(() => {
    const focus = document.activeElement;
    if (focus.matches('#grid input') && event.key.length === 1) {
      focus.setRangeText(event.key, focus.selectionStart, focus.selectionEnd, 'end');
      focus.dispatchEvent(new InputEvent('input', { bubbles: true }));
    } else focus.dispatchEvent(new KeyboardEvent('keydown', event));
  });
}

/** Keep a click for later: it is done on what lies then where the mouse was pressed. */
export function keepClick(event) {
  event.preventDefault();
  event.stopPropagation();
  whenMade(() => {
    const under = document.elementFromPoint(event.clientX, event.clientY);
    for (const type of ['mousedown', 'mouseup', 'click']) under?.dispatchEvent(new MouseEvent(type, event));
  });
}
