// The rules find what they are for: a copy of the document gets one fault for each rule, and each must be reported.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

const here = import.meta.dirname;
const env = {
  ...process.env,
  REDOCLY_TELEMETRY: 'off',
  REDOCLY_SUPPRESS_UPDATE_NOTICE: 'true',
  REDOCLY_SUPPRESS_NOTIFICATIONS: 'true',
};

// Each fault is a change of the document, with the linter and the rule that must find it. The text that it replaces stands
// once in the document, or once after another text.
const faults = [
  ['redocly', 'response-contains-header', 'a response without X-Request-Id', inside('    Forbidden:\n', '      headers:\n        X-Request-Id:\n          $ref: \'#/components/headers/X-Request-Id\'\n', '')],
  ['redocly', 'operation-4xx-problem-details-rfc7807', 'an error that is no problem document', inside('    NotAcceptable:\n', 'application/problem+json', 'application/json')],
  ['redocly', 'response-contains-property', 'a problem without a code', inside('    Problem:\n', '        code:\n', '        kode:\n')],
  ['redocly', 'response-mime-type', 'another media type', inside('      operationId: getHealth\n', 'application/json', 'text/plain')],
  ['redocly', 'operation-description', 'an operation without a description', inside('      operationId: getTask\n', '      description: Gives one task of the owner\'s.\n', '')],
  ['redocly', 'parameter-description', 'a parameter without a description', inside('    CompletedFilter:\n', '      description: Only tasks with this value. Together with a `status` that contradicts it, 400.\n', '')],
  ['redocly', 'tag-description', 'a tag without a description', inside('  - name: Tasks\n', '    description: What an owner has to do.\n', '')],
  ['redocly', 'no-http-verbs-in-paths', 'a verb in a path', inside('paths:\n', '  /health/ready:', '  /health/get-ready:')],
  ['redocly', 'paths-kebab-case', 'a path that is not in kebab-case', inside('paths:\n', '  /health:\n', '  /Health_Check:\n')],
  ['redocly', 'no-unused-components', 'a component that nothing uses', inside('  schemas:\n', '    UserId:\n', '    Unused: {type: boolean, description: Nothing.}\n    UserId:\n')],
  ['redocly', 'no-invalid-media-type-examples', 'an example that is not as its schema says', inside('    TaskListEmpty:\n', 'limit: 100', 'limit: 1001')],
  ['spectral', 'string-says-its-least-length', 'a string without a least length', inside('    TaskId:\n', '      minLength: 36\n', '')],
  ['spectral', 'body-is-described', 'a body without a description', inside('      operationId: createTask\n', '        description: The new task; only `title` is needed.\n', '')],
  ['spectral', 'owasp:api4:2023-string-limit', 'a string of any length', inside('    Description:\n', '      maxLength: 1000\n', '')],
  ['spectral', 'owasp:api4:2023-string-restricted', 'a string of any form', inside('    ETag:\n', '        pattern: ^"[A-Za-z0-9.-]+"$\n', '')],
  ['spectral', 'owasp:api4:2023-array-limit', 'an array of any length', inside('    TaskList:\n', '          maxItems: 1000\n', '')],
  ['spectral', 'owasp:api4:2023-integer-format', 'an integer of any size', inside('    Limit:\n', '        format: int32\n', '')],
  ['spectral', 'owasp:api2:2023-write-restricted', 'a write without a token', inside('      operationId: deleteTask\n', '      tags: [Tasks]\n', '      tags: [Tasks]\n      security: []\n')],
  ['spectral', 'owasp:api8:2023-define-error-responses-401', 'an operation without 401', inside('      operationId: completeTask\n', '        \'401\':\n          $ref: \'#/components/responses/Unauthorized\'\n', '')],
];

function inside(start, old, next) {
  return (text) => {
    assert.equal(text.split(`\n${start}`).length, 2, `${start} stands once in the document`);
    const at = text.indexOf(old, text.indexOf(`\n${start}`));
    assert.notEqual(at, -1, `after ${start} there is ${old}`);
    return text.slice(0, at) + next + text.slice(at + old.length);
  };
}

// world is a copy of the repository as far as the linters see it, so that the exceptions hold in it too.
function world(t) {
  const root = mkdtempSync(join(tmpdir(), 'docket-lint-'));
  t.after(() => rmSync(root, { recursive: true }));
  const dir = join(root, 'tools/openapi');
  mkdirSync(dir, { recursive: true });
  for (const name of ['redocly.yaml', '.spectral.yaml']) copyFileSync(join(here, name), join(dir, name));
  symlinkSync(join(here, 'node_modules'), join(dir, 'node_modules'));
  return { dir, document: join(root, 'openapi.yaml') };
}

// reported gives the rules that a linter reports.
function reported(linter, { dir }) {
  const args = linter === 'redocly'
    ? ['lint', '--config', 'redocly.yaml', '--format', 'json', '--max-problems', '10000', '../../openapi.yaml']
    : ['lint', '--fail-severity', 'hint', '--ruleset', '.spectral.yaml', '--format', 'json', '../../openapi.yaml'];
  const run = spawnSync(join(dir, 'node_modules/.bin', linter), args, { cwd: dir, env, encoding: 'utf8', maxBuffer: 1 << 26 });
  assert.equal(run.error, undefined);
  const found = JSON.parse(run.stdout.slice(0, run.stdout.lastIndexOf(linter === 'redocly' ? '}' : ']') + 1));
  return new Set(linter === 'redocly' ? found.problems.map((p) => p.ruleId) : found.map((p) => p.code));
}

test('every rule finds the fault that it is for, in a copy that has one fault for each', async (t) => {
  const whole = readFileSync(join(here, '../../openapi.yaml'), 'utf8');
  for (const linter of ['redocly', 'spectral']) {
    const mine = faults.filter(([by]) => by === linter);
    const copy = world(t);
    writeFileSync(copy.document, mine.reduce((text, [, , , change]) => change(text), whole));
    const rules = reported(linter, copy);
    for (const [, rule, what] of mine) {
      await t.test(`${linter}: ${what}`, () => assert.ok(rules.has(rule), `${rule} reports it; reported: ${[...rules]}`));
    }
  }
});
