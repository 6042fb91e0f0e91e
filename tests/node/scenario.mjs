// What every script here shares: it gets its settings as JSON on standard input, and prints what it saw as JSON.

import { readFileSync } from "node:fs";

export const settings = JSON.parse(readFileSync(0, "utf8"));

// Runs the scenario that the test names, one of those given.
export async function run(scenarios) {
  const seen = await scenarios[settings.scenario](settings);
  process.stdout.write(JSON.stringify(seen));
}

// Lets the model server's model `held` say the rest of its answer.
export async function release() {
  await fetch(`${settings.control}/release`, { method: "POST" });
}

// A request of the service's, without a client of anybody's.
export async function ask(method, path, body, key = settings.key) {
  const answer = await fetch(`${settings.url}${path}`, {
    method,
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    body: body && JSON.stringify(body),
  });
  const text = await answer.text();
  return { status: answer.status, body: text && JSON.parse(text) };
}
