// Uses the client in browsers of three time zones: node zones.mjs <Chromium's path> <client's folder> <base URL> <token>.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { args, launch } from './browser.mjs';

const [client, base, token] = args;
const zones = ['America/Los_Angeles', 'Europe/Berlin', 'Pacific/Auckland'];
const { browser, context, step, timeout } = await launch();
await context.close();

// A page that lists tasks as a frontend does. It is served from the origin of the service.
const page = `<!doctype html><title>Tasks</title><link rel="icon" href="data:,"><ul></ul><script type="module">
import { createDocketClient, isOverdue, today } from './client.js';
const docket = createDocketClient({ baseUrl: '', getToken: () => fetch('./token').then((response) => response.text()) });
const list = document.querySelector('ul');
async function show() {
  const { data } = await docket.tasks.list({ sort: 'due', order: 'asc', due: 'any', tag: 'zones' });
  list.replaceChildren(...data.tasks.map((task) => {
    const item = document.createElement('li');
    const mark = isOverdue(task) ? ' overdue' : task.due_date === today() && !task.completed ? ' today' : '';
    const day = new Intl.DateTimeFormat('en-GB', { timeZone: 'UTC' }).format(new Date(task.due_date));
    item.append(task.title, ' ', day, ' ', task.due_time ?? '', mark);
    return item;
  }));
}
Object.assign(window, { docket, show, client: await import('./client.js') });
document.title = 'Ready';
</script>`;

let bundle;
await step('the client is bundled', async () => {
  const { build } = createRequire(join(client, 'package.json'))('esbuild');
  const { outputFiles } = await build({
    entryPoints: [join(client, 'src/index.ts')], absWorkingDir: client, bundle: true, format: 'esm', write: false, logLevel: 'silent',
  });
  bundle = outputFiles[0].text;
});

// open returns the page of a person in a zone, whose clock stands still at an instant if there is one.
async function open(timezoneId, instant) {
  const own = await browser.newContext({ timezoneId, locale: 'en-US' });
  own.setDefaultTimeout(timeout);
  const contents = {
    '/zones/page': { contentType: 'text/html', body: page },
    '/zones/client.js': { contentType: 'text/javascript', body: bundle },
    '/zones/token': { contentType: 'text/plain', body: token },
  };
  await own.route((url) => url.pathname in contents, (route) => route.fulfill(contents[new URL(route.request().url()).pathname]));
  const tab = await own.newPage();
  if (instant) await tab.clock.setFixedTime(instant);
  await tab.goto(`${base}/zones/page`);
  await tab.waitForFunction(() => document.title === 'Ready');
  return tab;
}

// inEach runs a function in the page of each zone and returns the results.
async function inEach(instant, run, argument) {
  const results = [];
  for (const zone of zones) {
    const tab = await open(zone, instant);
    assert.equal(await tab.evaluate(() => Intl.DateTimeFormat().resolvedOptions().timeZone), zone);
    results.push(await tab.evaluate(run, argument));
    await tab.context().close();
  }
  return results;
}

const show = async () => {
  await window.show();
  return Array.from(document.querySelectorAll('li'), (item) => item.textContent.trim());
};

await step('a day written in one zone is the same day in the others', async () => {
  for (const [number, zone] of zones.entries()) {
    const tab = await open(zone);
    await tab.evaluate(async ([number, zone]) => {
      const task = { tags: ['zones'], due_date: window.client.addDays('2026-03-08', number) };
      await window.docket.tasks.create({ ...task, title: `Day ${number}` });
      await window.docket.tasks.create({ ...task, title: `Time ${number}`, due_time: '22:30', time_zone: zone });
    }, [number, zone]);
    await tab.context().close();
  }
  const want = [
    'Time 0 08/03/2026 22:30', 'Day 0 08/03/2026', 'Time 1 09/03/2026 22:30', 'Day 1 09/03/2026',
    'Time 2 10/03/2026 22:30', 'Day 2 10/03/2026',
  ];
  for (const shown of await inEach('2026-03-01T12:00:00Z', show)) assert.deepEqual(shown, want);
});

// The tasks with a time are due at 2026-03-09T05:30Z, 2026-03-09T21:30Z and 2026-03-10T09:30Z.
await step('what is overdue and due today depends on the clock of each reader', async () => {
  const marks = async (instant) => (await inEach(instant, show)).map((items) => items.map((item) => item.match(/[a-z]+$/)?.[0] ?? ''));
  // 8 March, 19:00 in Los Angeles; 9 March, 03:00 in Berlin and 15:00 in Auckland.
  assert.deepEqual(await marks('2026-03-09T02:00:00Z'), [
    ['today', 'today', '', '', '', ''],
    ['', 'overdue', 'today', 'today', '', ''],
    ['', 'overdue', 'today', 'today', '', ''],
  ]);
  // 9 March, 15:00 in Los Angeles and 23:00 in Berlin; 10 March, 11:00 in Auckland.
  assert.deepEqual(await marks('2026-03-09T22:00:00Z'), [
    ['overdue', 'overdue', 'overdue', 'today', '', ''],
    ['overdue', 'overdue', 'overdue', 'today', '', ''],
    ['overdue', 'overdue', 'overdue', 'overdue', 'today', 'today'],
  ]);
});

await step('lists select what is overdue and due today by the clock of each reader', async () => {
  const select = async () => {
    const { addDays, now, startOfDay, today } = window.client;
    const titles = async (filters) => {
      const { data } = await window.docket.tasks.list({ sort: 'due', order: 'asc', tag: 'zones', ...filters });
      return data.tasks.map((task) => task.title).join();
    };
    const [day, tomorrow] = [today(), addDays(today(), 1)];
    return [
      await titles({ status: 'pending', due_before: now() }),
      await titles({ due_after: day, due_before: tomorrow }),
      await titles({ due_after: startOfDay(day), due_before: startOfDay(tomorrow) }),
    ];
  };
  assert.deepEqual(await inEach('2026-03-09T22:00:00Z', select), [
    ['Time 0,Day 0,Time 1', 'Time 1,Day 1', 'Time 1,Day 1'],
    ['Time 0,Day 0,Time 1', 'Time 1,Day 1', 'Time 0,Time 1,Day 1'],
    ['Time 0,Day 0,Time 1,Day 1', 'Time 2,Day 2', 'Time 1,Time 2,Day 2'],
  ]);
});

await step('the next occurrence follows today where the person is', async () => {
  const complete = async () => {
    const { addDays, today } = window.client;
    const before = today();
    const { data } = await window.docket.tasks.create({
      title: 'Water the plants', due_date: addDays(before, -9), recurrence_rule: 'FREQ=DAILY',
    });
    const completed = await window.docket.tasks.complete(data.id, true);
    const next = await window.docket.tasks.get(completed.data.next_task_id);
    return { next: next.data.due_date, days: [before, today()] }; // midnight may have passed
  };
  for (const { next, days } of await inEach(undefined, complete)) assert.ok(days.includes(next), `${next} is none of ${days}`);
});

await browser.close();
