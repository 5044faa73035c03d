// Comforts of the results page; without it the page is complete, and reloads itself while the job is under way.
(() => {
  const PARTS = ['state', 'now', 'figures', 'facts'];
  const REFRESH_MS = 5000;
  const LONGEST_MS = 60000;

  const byId = (id) => document.getElementById(id);

  // Times are written in UTC; show them on the reader's own clock.
  const clock = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });
  const localise = (root) => {
    for (const time of root.querySelectorAll('time')) {
      time.title = time.textContent;
      time.textContent = clock.format(new Date(time.dateTime));
    }
  };

  const say = (words) => { byId('said').textContent = words; };

  const copy = async (button) => {
    const value = byId(button.dataset.copies);
    try {
      await navigator.clipboard.writeText(value.textContent);
      button.textContent = 'Copied';
      say(`${button.dataset.what} copied`);
    } catch {
      getSelection().selectAllChildren(value);
      say(`${button.dataset.what} selected; press the keys that copy`);
    }
    setTimeout(() => { button.textContent = 'Copy'; }, 2000);
  };

  for (const button of document.querySelectorAll('button[data-copies]')) {
    button.hidden = false;
    button.addEventListener('click', () => copy(button));
  }

  // Files are kept for a time only; a broken picture would not say so.
  const tellGone = (shown) => {
    const words = document.createElement('p');
    words.textContent = 'This file cannot be shown: this browser does not know its form, or it is no longer kept.';
    const frame = shown.closest('.frame');
    frame.className = 'frame file';
    frame.replaceChildren(words);
  };

  const SHOWN = '.frame img, .frame video, .frame audio';
  document.addEventListener('error', (event) => {
    if (event.target instanceof Element && event.target.matches(SHOWN)) tellGone(event.target);
  }, true);
  for (const image of document.querySelectorAll('.frame img')) {
    if (image.complete && image.naturalWidth === 0 && image.loading !== 'lazy') tellGone(image);
  }

  // Only what is new is replaced: the reader keeps place and focus, and hears a new sentence only.
  const sent = new Map();
  const keep = () => PARTS.forEach((id) => { if (byId(id)) sent.set(id, byId(id).innerHTML); });

  let pauseMs = REFRESH_MS;
  const look = async () => {
    let went = true;
    try {
      if (!document.hidden) {
        const answer = await fetch(location.href, { cache: 'no-store' });
        const fresh = new DOMParser().parseFromString(await answer.text(), 'text/html');
        if (answer.status === 404 || (answer.ok && !fresh.getElementById('live'))) {
          location.reload();
          return;
        }
        for (const id of answer.ok ? PARTS : []) {
          const part = fresh.getElementById(id);
          if (part && byId(id) && part.innerHTML !== sent.get(id)) {
            sent.set(id, part.innerHTML);
            byId(id).replaceChildren(...part.childNodes);
            localise(byId(id));
          }
        }
        if (answer.ok) document.title = fresh.title;
        went = answer.ok;
      }
    } catch {
      // The network is away for a moment; the page stays as it is.
      went = false;
    }
    pauseMs = went ? REFRESH_MS : Math.min(pauseMs * 2, LONGEST_MS);
    setTimeout(look, pauseMs);
  };

  keep();
  localise(document);
  if (byId('live')) setTimeout(look, REFRESH_MS);
})();
