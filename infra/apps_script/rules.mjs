// Rules that need to know all files, or when code runs.

const isFunction = (node) => /Function/.test(node.type);

/** Give the function or class of this file that a name stands for, if it stands for one. */
function bodyOf(reference) {
  const definition = reference.resolved && reference.resolved.defs[0];
  if (!definition) return null;
  if (definition.type === 'FunctionName' || definition.type === 'ClassName') return definition.node;
  const value = definition.type === 'Variable' && definition.node.init;
  return value && (isFunction(value) || value.type === 'ClassExpression') ? value : null;
}

/** Say whether what stands here is run by the call around it: as the called or as an argument. */
function isCalled(node) {
  const { parent } = node;
  return Boolean(parent) && (parent.type === 'CallExpression' || parent.type === 'NewExpression' || parent.type === 'TaggedTemplateExpression');
}

/**
 * Find what runs while the file loads: the top level, and every function of this file that is called there.
 *
 * @param {function(object): void} take is handed each reference that is read then
 */
function whileLoading(scopeManager, take) {
  const seen = new Set();
  const visit = (scope) => {
    if (seen.has(scope)) return;
    seen.add(scope);
    for (const reference of scope.references) {
      take(reference);
      const body = isCalled(reference.identifier) ? bodyOf(reference) : null;
      if (body) enter(body);
    }
    for (const child of scope.childScopes) {
      const held = child.type === 'function' && !isCalled(child.block);
      const later = child.type === 'class-field-initializer';
      if (!held && !later) visit(child);
    }
  };
  const enter = (node) => {
    for (const scope of scopeManager.scopes) {
      const inside = scope.block === node || (/Class/.test(node.type) && scope.block.range[0] >= node.range[0] && scope.block.range[1] <= node.range[1]);
      if (inside) visit(scope);
    }
  };
  visit(scopeManager.globalScope);
}

export function rules(project) {
  return {
    'load-order': {
      create: (context) => ({
        'Program:exit'() {
          const mine = (reference) => reference.resolved && reference.resolved.defs.length > 0;
          whileLoading(context.sourceCode.scopeManager, (reference) => {
            const { name } = reference.identifier;
            const [file] = project.filesOf(name);
            if (mine(reference) || file === undefined) return;
            const message = `This runs while the files load and needs ${name} of ${file}, which may not be there yet; do it in a function.`;
            context.report({ node: reference.identifier, message });
          });
        },
      }),
    },
    'one-name': {
      create: (context) => ({
        'Program:exit'() {
          const here = context.filename.split(/[\\/]/).pop();
          for (const variable of context.sourceCode.scopeManager.globalScope.variables) {
            const others = project.filesOf(variable.name).filter((file) => file !== here);
            if (variable.defs.length === 0 || others.length === 0) continue;
            const message = `${variable.name} is defined in ${others.join(' and ')} too; all files share one global scope.`;
            context.report({ node: variable.defs[0].name, message });
          }
        },
      }),
    },
    'used': {
      create: (context) => ({
        'Program:exit'() {
          for (const variable of context.sourceCode.scopeManager.globalScope.variables) {
            if (variable.defs.length === 0 || !variable.name.endsWith('_') || project.countOf(variable.name) > 1) continue;
            context.report({ node: variable.defs[0].name, message: `${variable.name} is private and used nowhere.` });
          }
        },
      }),
    },
    'menu-target': {
      create: (context) => ({
        "CallExpression[callee.property.name='addItem']"(node) {
          const target = node.arguments[1];
          if (!target || target.type !== 'Literal' || project.functions.has(target.value)) return;
          context.report({ node: target, message: `There is no function ${target.value} for this menu item.` });
        },
      }),
    },
    'server-function': {
      create: (context) => ({
        CallExpression(node) {
          const name = calledOnServer(node.callee);
          if (name === null) return;
          if (!project.functions.has(name)) {
            context.report({ node: node.callee.property, message: `There is no function ${name} in apps_script/*.js.` });
          } else if (name.endsWith('_')) {
            context.report({ node: node.callee.property, message: `${name} is private: google.script.run cannot call it.` });
          }
        },
      }),
    },
  };
}

const HANDLERS = new Set(['withSuccessHandler', 'withFailureHandler', 'withUserObject']);

/** Give the name that `google.script.run[.withX(…)].name` calls; null when it is something else or not known. */
function calledOnServer(callee) {
  if (callee.type !== 'MemberExpression' || callee.computed || HANDLERS.has(callee.property.name)) return null;
  let node = callee.object;
  while (node.type === 'CallExpression' && node.callee.type === 'MemberExpression' && HANDLERS.has(node.callee.property.name)) node = node.callee.object;
  const path = [];
  for (; node.type === 'MemberExpression' && !node.computed; node = node.object) path.unshift(node.property.name);
  return node.type === 'Identifier' && node.name === 'google' && path.join('.') === 'script.run' ? callee.property.name : null;
}
