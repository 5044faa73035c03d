// Evaluate the small formulas of conditional formats and rules: references, comparisons, &, AND, OR, NOT, ISBLANK ….
// What is not known here is an Unknown error; the caller then takes the rule as not met.

const TOKEN = /\s*(?:(\d+(?:\.\d+)?)|"((?:[^"]|"")*)"|(\$?[A-Za-z]{1,3}\$?\d+)|([A-Za-z_][A-Za-z0-9_.]*)|(<>|<=|>=|[=<>&+\-*/(),;]))/y;

export class Unknown extends Error {}

function tokensOf(text) {
  const tokens = [];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < text.length && text.slice(TOKEN.lastIndex).trim()) {
    const found = TOKEN.exec(text);
    if (!found) throw new Unknown(text);
    const [, number, words, reference, name, sign] = found;
    if (number !== undefined) tokens.push({ value: Number(number) });
    else if (words !== undefined) tokens.push({ value: words.replaceAll('""', '"') });
    else if (reference !== undefined) tokens.push({ reference });
    else if (name !== undefined) tokens.push({ name: name.toUpperCase() });
    else tokens.push({ sign });
  }
  return tokens;
}

/** Read a cell's text as the value that it shows: a number, a boolean, else the text. */
export function valueOf(text) {
  if (text === 'TRUE' || text === 'FALSE') return text === 'TRUE';
  const plain = text.replaceAll(',', '');
  return plain.trim() !== '' && Number.isFinite(Number(plain)) ? Number(plain) : text;
}

const same = (value) => (typeof value === 'string' ? value.toLowerCase() : value);
const truth = (value) => value === true || (typeof value === 'number' && value !== 0);

function compare(sign, left, right) {
  let [a, b] = [same(left), same(right)];
  if (a === '' && typeof b === 'number') a = 0;
  if (b === '' && typeof a === 'number') b = 0;
  if (sign === '=') return a === b;
  if (sign === '<>') return a !== b;
  if (typeof a !== typeof b) return { number: 0, string: 1, boolean: 2 }[typeof a] < { number: 0, string: 1, boolean: 2 }[typeof b] === (sign[0] === '<');
  if (sign === '<') return a < b;
  if (sign === '>') return a > b;
  return sign === '<=' ? a <= b : a >= b;
}

const FUNCTIONS = {
  AND: (...all) => all.every(truth),
  OR: (...all) => all.some(truth),
  NOT: (one) => !truth(one),
  ISBLANK: (one) => one === '',
  ISNUMBER: (one) => typeof one === 'number',
  ISTEXT: (one) => typeof one === 'string' && one !== '',
  LEN: (one) => String(one).length,
  LOWER: (one) => String(one).toLowerCase(),
  UPPER: (one) => String(one).toUpperCase(),
  TRIM: (one) => String(one).trim(),
  REGEXMATCH: (text, pattern) => new RegExp(pattern).test(String(text)),
  IF: (test, yes, no = false) => (truth(test) ? yes : no),
  TRUE: () => true,
  FALSE: () => false,
};

/** Evaluate *formula* (with its "="); *read(row, column)* gives a cell's text; *down*, *right*: how far from its origin. */
export function evaluate(formula, read, down = 0, right = 0) {
  const tokens = tokensOf(formula.replace(/^=/, ''));
  let at = 0;
  const sees = (...signs) => tokens[at] && signs.includes(tokens[at].sign);

  function refer(reference) {
    const [, fixedColumn, name, fixedRow, number] = /^(\$?)([A-Za-z]+)(\$?)(\d+)$/.exec(reference);
    const column = [...name.toUpperCase()].reduce((sum, letter) => sum * 26 + letter.charCodeAt(0) - 64, 0) - 1;
    return valueOf(read(Number(number) - 1 + (fixedRow ? 0 : down), column + (fixedColumn ? 0 : right)));
  }
  function part() {
    const token = tokens[at++];
    if (!token) throw new Unknown(formula);
    if ('value' in token) return token.value;
    if (token.reference) return refer(token.reference);
    if (token.sign === '-') return -part();
    if (token.sign === '(') {
      const inner = comparison();
      if (!sees(')')) throw new Unknown(formula);
      at++;
      return inner;
    }
    if (token.name === 'TRUE' || token.name === 'FALSE') if (!sees('(')) return token.name === 'TRUE';
    if (!token.name || !FUNCTIONS[token.name] || !sees('(')) throw new Unknown(formula);
    at++;
    const given = [];
    while (!sees(')')) {
      given.push(comparison());
      if (sees(',', ';')) at++;
      else if (!sees(')')) throw new Unknown(formula);
    }
    at++;
    return FUNCTIONS[token.name](...given);
  }
  function product() {
    let left = part();
    while (sees('*', '/')) left = tokens[at++].sign === '*' ? left * part() : left / part();
    return left;
  }
  function sum() {
    let left = product();
    while (sees('+', '-')) left = tokens[at++].sign === '+' ? left + product() : left - product();
    return left;
  }
  function joined() {
    let left = sum();
    while (sees('&') && ++at) left = String(left) + String(sum());
    return left;
  }
  function comparison() {
    let left = joined();
    while (sees('=', '<>', '<', '>', '<=', '>=')) {
      const { sign } = tokens[at++];
      left = compare(sign, left, joined());
    }
    return left;
  }

  const result = comparison();
  if (at < tokens.length) throw new Unknown(formula);
  return result;
}
