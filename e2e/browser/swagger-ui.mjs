// Uses Swagger UI in a browser: node swagger-ui.mjs <Chromium's path> <base URL> [screenshot's path].
import assert from 'node:assert/strict';
import { args, launch } from './browser.mjs';

const [base, screenshot] = args;
const { browser, context, step, timeout } = await launch();

const requests = [];
const complaints = []; // of the browser: errors, warnings and violations of the content security policy
context.on('request', (request) => requests.push(request));
context.on('console', (message) => {
  if (message.type() === 'error' || message.type() === 'warning') complaints.push(`${message.type()}: ${message.text()}`);
});
context.on('weberror', (error) => complaints.push(String(error.error())));
await context.exposeFunction('complain', (text) => complaints.push(text));
await context.addInitScript(() => {
  document.addEventListener('securitypolicyviolation', (e) => {
    window.complain(`policy: ${e.violatedDirective} ${e.blockedURI} ${e.sourceFile}:${e.lineNumber}`);
  });
});
const page = await context.newPage();

// openOperation opens an operation and returns its element.
async function openOperation(id) {
  const operation = page.locator(`.opblock[id$="-${id}"]`);
  await operation.waitFor();
  if (!(await operation.getAttribute('class')).includes('is-open')) await operation.locator('.opblock-summary-control').click();
  await operation.getByRole('button', { name: 'Execute' }).waitFor();
  return operation;
}

// execute clicks an operation's Execute button and returns the status and the body that Swagger UI shows, and the request.
async function execute(operation) {
  const live = operation.locator('.live-responses-table .response');
  if (await live.count() > 0) { // of an earlier call, which would stay until the new response is shown
    await operation.getByRole('button', { name: 'Clear' }).click();
    await live.waitFor({ state: 'detached' });
  }
  const [request] = await Promise.all([
    page.waitForRequest((r) => r.url().startsWith(`${base}/api/`) || r.url().startsWith(`${base}/health`)),
    operation.getByRole('button', { name: 'Execute' }).click(),
  ]);
  await live.waitFor();
  const status = (await live.locator('.response-col_status').innerText()).trim().split('\n')[0];
  const body = await live.locator('.response-col_description').innerText();
  return { status, body, request };
}

let operationIds = [];
await step('Swagger UI shows every operation of the document', async () => {
  const response = await page.goto(`${base}/docs`);
  assert.equal(response.status(), 200);
  await page.locator('.opblock').first().waitFor();
  const document = await (await context.request.get(`${base}/openapi.json`, { timeout })).json();
  operationIds = Object.values(document.paths).flatMap((item) => Object.values(item).map((o) => o.operationId).filter(Boolean));
  for (const id of operationIds) await page.locator(`.opblock[id$="-${id}"]`).waitFor();
  assert.equal(await page.locator('.opblock').count(), operationIds.length);
  assert.equal(await page.locator('.errors-wrapper').count(), 0, 'Swagger UI finds no errors in the document');
});

await step('Swagger UI is authorized as the demo user', async () => {
  await page.locator('.authorize.locked, .btn.authorize.locked').first().waitFor();
});

if (screenshot) {
  await step('The screenshot is taken', () => page.screenshot({ path: screenshot, clip: { x: 0, y: 0, width: 1280, height: 1000 } }));
}

// Each operation is filled in with the examples of the document, which are the demo's task. An occurrence is skipped before
// it is completed, and deleted last.
const operations = [
  ['createTask', '201'], ['listTasks', '200'], ['getTask', '200'], ['skipOccurrence', '200'], ['listOccurrences', '200'],
  ['replaceTaskFields', '200'], ['updateTask', '200'], ['completeTask', '200'], ['completeTaskByPost', '200'],
  ['listTags', '200'], ['renameTag', '200'], ['deleteTag', '200'], ['getStats', '200'], ['getHealth', '200'],
  ['getReadiness', '200'], ['deleteTask', '204'],
];
await step('Every operation has a step', () => {
  assert.deepEqual(operations.map(([id]) => id).sort(), operationIds.sort());
});

for (const [id, status] of operations) {
  await step(`Execute on ${id} shows ${status}`, async () => {
    const operation = await openOperation(id);
    if (id === 'deleteTag') await operation.getByPlaceholder('name').fill('household'); // renamed before
    const got = await execute(operation);
    assert.equal(got.status, status, `${got.request.method()} ${got.request.url()}\n${got.body}`);
    const authorized = 'authorization' in (await got.request.allHeaders());
    assert.equal(authorized, !id.startsWith('getHealth') && !id.startsWith('getReadiness'));
    if (id === 'createTask') assert.match(got.body, /"title": "Prepare the quarterly report"/);
    if (id === 'listTasks') assert.match(got.body, /"total": 8\b/); // the demo's, and the one that was created
    if (id === 'createTask') assert.match(got.body, /"due_at": "2026-03-16T08:30:00\.000000Z"/);
    if (id === 'completeTask') assert.match(got.body, /"next_task_id": "[0-9a-f-]{36}"/);
    if (id === 'getTask') assert.match(got.body, /"occurrence_date": "2026-03-16"/);
    if (id === 'skipOccurrence') assert.match(got.body, /"occurrence_date": "2026-03-23"/);
    if (id === 'listOccurrences') assert.match(got.body, /"due_at": "2026-03-30T07:30:00\.000000Z"/);
    if (id === 'listTags') assert.match(got.body, /"name": "home"/);
    if (id === 'renameTag') assert.match(got.body, /"changed": 4/);
    if (id === 'deleteTag') assert.match(got.body, /"changed": 4/);
  });
}

await step('An error shows its problem document', async () => {
  const got = await execute(await openOperation('getTask')); // deleted above
  assert.equal(got.status, '404');
  assert.match(got.body, /"detail": "Task not found or does not belong to this user"/);
  assert.match(got.body, /"type": "\/problems\/task_not_found"/);
});

await step('The page of a problem opens', async () => {
  const response = await page.goto(`${base}/problems/task_not_found`);
  assert.equal(response.status(), 200);
  assert.equal(await page.locator('h1').innerText(), 'Task not found');
  assert.match(await page.locator('body').innerText(), /404/);
});

await step('The root leads to Swagger UI', async () => {
  await page.goto(`${base}/`);
  await page.locator('.opblock').first().waitFor();
  assert.equal(page.url(), `${base}/docs`);
});

await step('No request goes to another host', () => {
  const others = requests.map((r) => r.url()).filter((url) => !url.startsWith(`${base}/`) && !/^(data|blob):/.test(url));
  assert.deepEqual(others, []);
  assert.ok(requests.length > 10);
});

await step('The browser logs no error but the one of the 404, and no violation of the content security policy', () => {
  assert.deepEqual(complaints.filter((text) => !/status of 404/.test(text)), []);
  assert.ok(complaints.length <= 1);
});

await browser.close();
