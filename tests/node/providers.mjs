// The AI SDK's own functions, with the providers that take a base URL.

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { createOpenResponses } from "@ai-sdk/open-responses";
import { generateText, isStepCount, jsonSchema, streamText, tool } from "ai";

import { run, settings } from "./scenario.mjs";

const openai = createOpenAICompatible({ name: "undercroft", baseURL: `${settings.url}/v1`, apiKey: settings.key, includeUsage: true });
const open = createOpenResponses({ name: "undercroft", url: `${settings.url}/v1/responses`, apiKey: settings.key });

async function streamed(model, options) {
  const answer = streamText({ model, maxRetries: 0, ...options });
  const parts = [];
  for await (const part of answer.stream) parts.push(part.type);
  return { parts, text: await answer.text, reason: await answer.finishReason, usage: await answer.usage };
}

const tools = {
  weather: tool({
    description: "The weather.",
    inputSchema: jsonSchema({ type: "object", properties: { asked: { type: "string" } } }),
    execute: async ({ asked }) => `blue, for ${asked}`,
  }),
};

async function all(model) {
  const prompt = "Hello there";
  const whole = await generateText({ model: model("echo"), prompt, maxRetries: 0 });
  const calls = await generateText({ model: model("functions"), prompt, tools, stopWhen: isStepCount(3), maxRetries: 0 });
  const turns = [
    { role: "user", content: "One?" },
    { role: "assistant", content: "One." },
    { role: "user", content: "Two?" },
  ];
  const refused = await generateText({ model: model("400"), prompt, maxRetries: 0 }).catch((error) => error);
  return {
    text: whole.text,
    stream: await streamed(model("echo"), { system: "Be brief.", messages: turns }),
    steps: calls.steps.map(({ toolResults }) => toolResults.map(({ output }) => output)),
    tools: calls.text,
    refused: { name: refused.name, status: refused.statusCode },
  };
}

await run({
  compatible: () => all((name) => openai(name)),
  open_responses: () => all((name) => open(name)),
});
