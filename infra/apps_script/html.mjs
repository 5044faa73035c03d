// Inline scripts of an HTML file as one program: everything around them is blanked, so lines and columns stay.

const SCRIPT = /(<script\b([^>]*)>)([\s\S]*?)(<\/script\s*>)/gi;
const blank = (text) => text.replace(/[^\n]/g, ' ');

/** Say whether the browser would run what stands between these tags. */
function isScript(attributes) {
  const type = /\btype\s*=\s*["']?([^"'\s>]*)/i.exec(attributes);
  return !type || /^(text\/javascript|module|)$/i.test(type[1]);
}

export function scriptsOf(html) {
  let text = '';
  let end = 0;
  for (const found of html.matchAll(SCRIPT)) {
    const [whole, open, attributes, code, close] = found;
    const kept = isScript(attributes) ? code : blank(code);
    text += blank(html.slice(end, found.index)) + blank(open) + kept + blank(close);
    end = found.index + whole.length;
  }
  return text + blank(html.slice(end));
}

export const inlineScripts = {
  meta: { name: 'inline-scripts', version: '1' },
  preprocess: (text) => [{ text: scriptsOf(text), filename: 'script.js' }],
  postprocess: (messages) => messages.flat(),
  supportsAutofix: false,
};
