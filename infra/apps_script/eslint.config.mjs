// What Apps Script's parser or runtime does not have is refused here, and only here. Run through infra/sheet_check.py
// with the folder to judge as the working directory.
//
// Source of the facts: GEMINI.md of googleworkspace/apps-script-samples.

import js from '@eslint/js';
import globals from 'globals';
import { ABSENT } from './absent.mjs';
import { inlineScripts } from './html.mjs';
import { readProject } from './project.mjs';
import { rules } from './rules.mjs';

const SERVICES = [
  'CacheService', 'HtmlService', 'LockService', 'Logger', 'PropertiesService', 'ScriptApp', 'Session', 'SpreadsheetApp',
  'UrlFetchApp', 'Utilities', 'console',
];

const forbid = (message, ...selectors) => selectors.map((selector) => ({ selector, message }));

const UNPARSED = [
  ...forbid('Apps Script does not parse private #names; end the name in an underscore.', 'PrivateIdentifier'),
  ...forbid(
    'Apps Script does not parse static fields; use a constant beside the class.',
    'PropertyDefinition[static=true]',
  ),
  ...forbid('Apps Script does not parse static blocks.', 'StaticBlock'),
  ...forbid('Apps Script has no modules; all files share one global scope.', 'ImportExpression'),
];

// What came from elsewhere (an error text, a prompt) would become markup.
const MARKUP = [
  ...forbid(
    'Text from elsewhere would become markup; use textContent and createElement.',
    'AssignmentExpression[left.property.name=/^(inner|outer)HTML$/]',
    "CallExpression[callee.property.name='insertAdjacentHTML']",
    "CallExpression[callee.object.name='document'][callee.property.name=/^write(ln)?$/]",
  ),
];

const project = readProject(process.cwd());
const readonly = (names) => Object.fromEntries(names.map((name) => [name, 'readonly']));
const plugins = { sheet: { rules: rules(project), processors: { html: inlineScripts } } };
const unused = ['error', { vars: 'local', args: 'after-used', caughtErrors: 'none' }];

export default [
  { linterOptions: { reportUnusedDisableDirectives: 'error' } },
  {
    files: ['*.js'],
    languageOptions: {
      sourceType: 'script',
      ecmaVersion: 2022,
      globals: readonly([...SERVICES, ...ABSENT.map(({ name }) => name)]),
    },
    plugins,
    rules: {
      ...js.configs.recommended.rules,
      'no-restricted-globals': ['error', ...ABSENT],
      'no-restricted-syntax': ['error', ...UNPARSED],
      'no-unused-vars': unused,
      'no-unused-private-class-members': 'off', // there may be none, see UNPARSED
      'no-empty-static-block': 'off',
      'no-redeclare': ['error', { builtinGlobals: false }],
      'no-empty': ['error', { allowEmptyCatch: true }],
      'no-var': 'error',
      'prefer-const': 'error',
      'eqeqeq': 'error',
      'sheet/load-order': 'error',
      'sheet/one-name': 'error',
      'sheet/used': 'error',
      'sheet/menu-target': 'error',
    },
  },
  // Every file sees the names of all the others.
  ...project.files.map((file) => ({
    files: [file.name],
    languageOptions: { globals: readonly(project.namesBeside(file)) },
  })),
  { files: ['*.html'], plugins, processor: 'sheet/html' },
  {
    files: ['*.html/*.js'],
    languageOptions: { sourceType: 'script', ecmaVersion: 2022, globals: { ...globals.browser, google: 'readonly' } },
    plugins,
    rules: {
      ...js.configs.recommended.rules,
      'no-restricted-syntax': ['error', ...MARKUP],
      'no-unused-vars': unused,
      'no-var': 'error',
      'prefer-const': 'error',
      'eqeqeq': 'error',
      'sheet/server-function': 'error',
    },
  },
];
