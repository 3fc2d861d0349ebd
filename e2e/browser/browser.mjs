// What the scripts of this folder share: a browser with a new, empty profile, and steps.
import { chromium, errors } from 'playwright-core';

const timeout = 5 * 60_000; // only ends steps that would hang

export const [executablePath, ...args] = process.argv.slice(2);

// launch starts the browser, which finds no host but 127.0.0.1 and those that the rules map to it.
export async function launch(rules = []) {
  const browser = await chromium.launch({
    executablePath,
    timeout,
    args: [
      '--headless', '--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update',
      '--disable-sync', '--no-first-run', `--host-resolver-rules=${[...rules, 'MAP * ~NOTFOUND', 'EXCLUDE 127.0.0.1'].join(',')}`,
    ],
  });
  const context = await browser.newContext({ viewport: { width: 1280, height: 1000 }, colorScheme: 'light' });
  context.setDefaultTimeout(timeout);

  // step runs a step and prints its result, {"name", "fault"}, without a fault when the step succeeded. After a timeout
  // it ends the process, as every later step would also time out.
  async function step(name, run) {
    let error;
    try {
      await run();
    } catch (e) {
      error = e;
    }
    console.log(JSON.stringify({ name, fault: error && String(error.stack ?? error) }));
    if (error instanceof errors.TimeoutError) {
      await browser.close();
      process.exit(1);
    }
  }
  return { browser, context, step, timeout };
}
