// Uses examples/nextjs in a browser: node nextjs.mjs <Chromium's path> <app's URL> <person> [blocked].
//
// The app's host name leads to 127.0.0.1 and is no secure context, as when a phone opens a page of a computer in the same
// network. With "blocked", the service does not allow the origin of the app.
import assert from 'node:assert/strict';
import { args, launch } from './browser.mjs';

const [app, person, blocked] = args;
const { browser, context, step } = await launch([`MAP ${new URL(app).hostname} 127.0.0.1`]);
const complaints = []; // errors and warnings of the browser
context.on('console', (message) => {
  if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text());
});
context.on('weberror', (error) => complaints.push(String(error.error())));
const page = await context.newPage();

const button = (name) => page.getByRole('button', { name, exact: true });
const alert = page.locator('main [role=alert], form [role=alert]');
const item = (title) => page.getByRole('listitem').filter({ has: page.getByText(title, { exact: true }) });

async function signUp(name) {
  await page.getByPlaceholder('Name').fill(name);
  await page.getByPlaceholder('Email').fill(`${name.toLowerCase()}@example.com`);
  await page.getByPlaceholder('Password').fill('correct horse battery staple');
  await button('Create account').click();
  await page.getByRole('heading', { name: `Tasks of ${name}` }).waitFor();
}

async function add(title) {
  await page.getByPlaceholder('New task').fill(title);
  await button('Add').click();
}

await step('somebody signs up', async () => {
  const response = await page.goto(app);
  assert.equal(response.status(), 200);
  assert.equal(await page.evaluate(() => isSecureContext), false);
  await signUp(person);
});

if (blocked) {
  await step('an origin that the service does not allow is a message for the user, and a hint for the developer', async () => {
    await add('Milk');
    await alert.filter({ hasText: 'There is no connection. Please try again.' }).waitFor();
    const hint = complaints.find((text) => text.includes('DocketNetworkError'));
    assert.ok(hint?.includes(`(CORS): its FRONTEND_URL must contain ${app}`), complaints.join('\n'));
  });
  await browser.close();
  process.exit();
}

await step('a task is added without crypto.randomUUID', async () => {
  assert.equal(await page.evaluate(() => typeof crypto.randomUUID), 'undefined');
  await add('Milk');
  await item('Milk').waitFor();
  await add('Bread');
  await item('Bread').waitFor();
});

await step('a task is renamed', async () => {
  page.once('dialog', (dialog) => dialog.accept('Oat milk'));
  await item('Milk').getByRole('button', { name: 'Rename' }).click();
  await item('Oat milk').waitFor();
});

await step('a rename does not overwrite a change of another page', async () => {
  const other = await context.newPage();
  await other.goto(app);
  page.once('dialog', async (dialog) => {
    other.once('dialog', (otherDialog) => otherDialog.accept('Rice milk'));
    await other.getByRole('listitem').filter({ hasText: 'Oat milk' }).getByRole('button', { name: 'Rename' }).click();
    await other.getByText('Rice milk', { exact: true }).waitFor();
    await dialog.accept('Soy milk');
  });
  await item('Oat milk').getByRole('button', { name: 'Rename' }).click();
  await alert.filter({ hasText: 'The task has changed in the meantime. Please try again.' }).waitFor();
  await item('Rice milk').waitFor();
  await other.close();
});

await step('a blank title is refused with a sentence for people', async () => {
  await add(' ');
  await alert.waitFor();
  assert.doesNotMatch(await alert.innerText(), /U\+0000|white space at both ends/);
});

await step('a completed task leaves the list, also of the server', async () => {
  await item('Bread').getByRole('button', { name: 'Done' }).click();
  await item('Bread').waitFor({ state: 'detached' });
  await page.reload();
  await item('Rice milk').waitFor();
  assert.equal(await page.getByRole('listitem').count(), 1);
});

await step('the next person signs up on the same page and sees no task of the one before', async () => {
  await button('Sign out').click();
  await signUp('Bob');
  assert.equal(await page.getByRole('listitem').count(), 0);
  await add('Bread of Bob');
  await item('Bread of Bob').waitFor();
  assert.equal(await page.getByRole('listitem').count(), 1);
});

await step('a wrong password is refused, and the right one signs in', async () => {
  await button('Sign out').click();
  await button('I have an account').click();
  await page.getByPlaceholder('Email').fill(`${person.toLowerCase()}@example.com`);
  await page.getByPlaceholder('Password').fill('wrong horse battery staple');
  await button('Sign in').click();
  await alert.filter({ hasText: 'Invalid email or password' }).waitFor();
  await page.getByPlaceholder('Password').fill('correct horse battery staple');
  await button('Sign in').click();
  await item('Rice milk').waitFor();
  assert.equal(await page.getByRole('listitem').count(), 1);
});

await step('the browser logs no error but the refusals', () => {
  assert.deepEqual(complaints.filter((text) => !/status of (401|412|422)/.test(text)), []);
});

await browser.close();
