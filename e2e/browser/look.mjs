// Looks at Swagger UI as a person does: node look.mjs <base address> <chromium> [screenshot]. Prints a line of JSON for
// each thing that must hold: {"name", "fault"}, without a fault when it does.
import assert from 'node:assert/strict';
import { chromium } from 'playwright-core';

const [base, executablePath, screenshot] = process.argv.slice(2);
const patience = 30_000; // ends a wait that would never end; nothing is measured with it

const browser = await chromium.launch({ // with a new, empty profile
  executablePath,
  args: [
    '--headless', '--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update',
    '--disable-sync', '--no-first-run', '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1',
  ],
});
const context = await browser.newContext({ viewport: { width: 1280, height: 1000 }, colorScheme: 'light' });
context.setDefaultTimeout(patience);

const asked = [];
const complaints = [];
context.on('request', (request) => asked.push(request));
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

async function must(name, hold) {
  let fault;
  try {
    await hold();
  } catch (e) {
    fault = String(e.stack ?? e);
  }
  console.log(JSON.stringify({ name, fault }));
}

// operation opens an operation and gives its box.
async function operation(id) {
  const box = page.locator(`.opblock[id$="-${id}"]`);
  await box.waitFor();
  if (!(await box.getAttribute('class')).includes('is-open')) await box.locator('.opblock-summary-control').click();
  await box.getByRole('button', { name: 'Execute' }).waitFor();
  return box;
}

// execute presses Execute and gives the status, the body and the request as Swagger UI shows and sends them.
async function execute(box) {
  const [response] = await Promise.all([
    page.waitForResponse((r) => !r.url().includes('/docs/')),
    box.getByRole('button', { name: 'Execute' }).click(),
  ]);
  const live = box.locator('.live-responses-table .response');
  await live.waitFor();
  const status = (await live.locator('.response-col_status').innerText()).trim().split('\n')[0];
  const shown = await live.locator('.response-col_description').innerText();
  return { status, shown, request: response.request(), response };
}

let document_;
await must('Swagger UI shows every operation of the document', async () => {
  const answer = await page.goto(`${base}/docs`);
  assert.equal(answer.status(), 200);
  await page.locator('.opblock').first().waitFor();
  document_ = await (await context.request.get(`${base}/openapi.json`)).json();
  const ids = Object.values(document_.paths).flatMap((item) => Object.values(item).map((o) => o.operationId).filter(Boolean));
  for (const id of ids) assert.equal(await page.locator(`.opblock[id$="-${id}"]`).count(), 1, id);
  assert.equal(await page.locator('.opblock').count(), ids.length);
  assert.equal(await page.locator('.errors-wrapper').count(), 0, 'the document has no errors for Swagger UI');
});

await must('Swagger UI is authorized as the demo user', async () => {
  await page.locator('.authorize.locked, .btn.authorize.locked').first().waitFor();
});

if (screenshot) {
  await must('The screenshot is taken', () => page.screenshot({ path: screenshot, clip: { x: 0, y: 0, width: 1280, height: 1000 } }));
}

// Each operation, as it is prefilled with the examples of the document. Deleting comes last.
const steps = [
  ['createTask', '201'], ['listTasks', '200'], ['getTask', '200'], ['replaceTaskFields', '200'], ['updateTask', '200'],
  ['completeTask', '200'], ['getHealth', '200'], ['getReadiness', '200'], ['deleteTask', '204'],
];
await must('Every operation has a step', () => {
  const ids = Object.values(document_.paths).flatMap((item) => Object.values(item).map((o) => o.operationId).filter(Boolean));
  assert.deepEqual(steps.map(([id]) => id).sort(), ids.sort());
});

for (const [id, status] of steps) {
  await must(`Execute on ${id} shows ${status}`, async () => {
    const got = await execute(await operation(id));
    assert.equal(got.status, status, `${got.request.method()} ${got.request.url()}\n${got.shown}`);
    const authorized = 'authorization' in (await got.request.allHeaders());
    assert.equal(authorized, !id.startsWith('getHealth') && !id.startsWith('getReadiness'));
    if (id === 'createTask') assert.match(got.shown, /"title": "Prepare the quarterly report"/);
    if (id === 'listTasks') assert.match(got.shown, /"total": [1-9]/);
  });
}

await must('An error shows its problem document', async () => {
  const got = await execute(await operation('getTask')); // deleted above
  assert.equal(got.status, '404');
  assert.match(got.shown, /"detail": "Task not found or does not belong to this user"/);
  assert.match(got.shown, /"type": "\/problems\/task_not_found"/);
  const refused = complaints.findIndex((text) => /status of 404/.test(text)); // the browser's own line about it
  if (refused >= 0) complaints.splice(refused, 1);
});

await must('The page of a problem opens', async () => {
  const answer = await page.goto(`${base}/problems/task_not_found`);
  assert.equal(answer.status(), 200);
  assert.equal(await page.locator('h1').innerText(), 'Task not found');
  assert.match(await page.locator('body').innerText(), /404/);
});

await must('The front page leads to Swagger UI', async () => {
  await page.goto(`${base}/`);
  await page.locator('.opblock').first().waitFor();
  assert.equal(page.url(), `${base}/docs`);
});

await must('Nothing is asked of another host', () => {
  const others = asked.map((r) => r.url()).filter((url) => !url.startsWith(`${base}/`) && !/^(data|blob):/.test(url));
  assert.deepEqual(others, []);
  assert.ok(asked.length > 10);
});

await must('The console holds no complaint, and no policy is violated', () => assert.deepEqual(complaints, []));

await browser.close();
