// Stands in for google.script: records calls and answers from window.replies, function by function.
// A reply is {give: value}, {fail: message} or {hold: true}; the last one of a function is used again and again.
(() => {
  const start = JSON.parse('START');
  window.replies = start;
  window.calls = [];
  window.held = [];
  window.closes = 0;
  const fresh = (value) => (value === undefined ? undefined : JSON.parse(JSON.stringify(value)));
  const runner = (done, failed) => new Proxy({}, {
    get: (_target, name) => {
      if (name === 'withSuccessHandler') return (handler) => runner(handler, failed);
      if (name === 'withFailureHandler') return (handler) => runner(done, handler);
      return (...args) => {
        window.calls.push([name, ...fresh(args)]);
        const line = window.replies[name];
        if (!line) throw new Error(`no reply for ${String(name)}`);
        const reply = line.length > 1 ? line.shift() : line[0];
        const answer = (said) => ('fail' in said ? failed(new Error(said.fail)) : done(fresh(said.give)));
        if (reply.hold) window.held.push(answer);
        else queueMicrotask(() => answer(reply));
      };
    },
  });
  window.google = { script: { run: runner(() => {}, () => {}), host: { close: () => { window.closes += 1; } } } };
  let hidden = false;
  Object.defineProperty(document, 'hidden', { get: () => hidden });
  window.hide = (value) => {
    hidden = value;
    document.dispatchEvent(new Event('visibilitychange'));
  };
})();
